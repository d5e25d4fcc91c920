"""Where things that can be made again are kept: by content, complete or absent, safe to share between processes."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock


def default_root(environment: Mapping[str, str]) -> Path:
    """Return the cache folder: `ATMA18_CACHE`, else `atma18` in the user's own cache folder."""
    if chosen := environment.get("ATMA18_CACHE"):
        return Path(chosen).expanduser().absolute()
    users = environment.get("XDG_CACHE_HOME")
    return (Path(users) if users else Path.home() / ".cache") / "atma18"


@dataclass(frozen=True)
class Cache:
    """Entries `<root>/<kind>/<key>`, each a file or a folder that exists only once it is whole."""

    root: Path

    @classmethod
    def open(cls, root: Path | None = None) -> "Cache":
        """Open the cache at `root`, or where the environment puts it; it is private to the user."""
        root = default_root(os.environ) if root is None else root.absolute()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return cls(root)

    def place(self, kind: str, key: str) -> Path:
        """Return where an entry is, or would be."""
        return self.root / kind / key

    def get(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return the entry, making it first if it is not there.

        Args:
            kind: the folder of the entry.
            key: what the entry is a function of, usually a digest.
            make: writes the entry, a file or a folder, at the path that it is given.
        """
        place = self.place(kind, key)
        with self._only_one(kind, key):
            if not place.exists():
                with self.scratch(kind) as scratch:
                    make(scratch)
                    scratch.rename(place)
        return place

    def keep(self, scratch: Path, kind: str, key: str) -> Path:
        """Give a finished scratch entry its name; an entry that has the name already is the same and stays."""
        place = self.place(kind, key)
        with self._only_one(kind, key):
            if not place.exists():
                scratch.rename(place)
        return place

    @contextmanager
    def scratch(self, kind: str) -> Iterator[Path]:
        """Yield a path beside the entries of a kind; what is still there at the end is removed."""
        path = self.root / kind / f".making-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield path
        finally:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def _only_one(self, kind: str, key: str) -> Iterator[None]:
        (self.root / kind).mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / kind / f".{key}.lock"):
            yield
