"""Groups of scene sizes: how they are typed, and that they leave none out."""

import re
from typing import TypeAlias

from atma18.quoting import shown

Groups: TypeAlias = tuple[tuple[int, int | None], ...]
"""Smallest and largest scene size of each group; None has no upper bound."""


def scene_size_groups(text: str) -> Groups:
    """Read groups such as `1-2,3+` or `1+`.

    Raises:
        ValueError: If the text has another form.
    """
    groups: list[tuple[int, int | None]] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)|(\+))?", part.strip())
        if match is None:
            raise ValueError(f"expected groups of scene sizes like 1-2,3+, found {shown(text)}")
        first = int(match[1])
        groups.append((first, None if match[3] else int(match[2] or first)))
    return tuple(groups)


def groups_as_text(groups: Groups) -> str:
    """Write groups as `scene_size_groups` reads them."""
    return ",".join(
        f"{first}+" if last is None else str(first) if first == last else f"{first}-{last}" for first, last in groups
    )


def check_groups(groups: Groups) -> None:
    """Refuse groups that leave a scene size out, or have it twice."""
    next_size: int | None = 1
    for smallest, largest in groups:
        if smallest != next_size or (largest is not None and largest < smallest):
            break
        next_size = None if largest is None else largest + 1
    else:
        if groups and next_size is None:
            return
    raise ValueError(
        f"expected groups of scene sizes from 1, ascending, without gaps, the last one open, found {groups}"
    )
