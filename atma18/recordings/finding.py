"""The files below a folder, at any depth, through links too: recordings often lie on another disk."""

import os
from collections.abc import Iterator
from pathlib import Path


def files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files that match a pattern such as `oxts/timestamps.txt`, sorted; a folder is entered once."""
    entered = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()  # a link that leads back
            continue
        entered.add(real)
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(place) / name).match(pattern))
