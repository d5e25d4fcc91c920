"""The cache itself: entries that are whole or not there."""

import logging
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from atma18.cache.locks import Holding, holders, is_free, lock_of, locked
from atma18.cache.settings import PLACE, default_limit_bytes, default_root

_log = logging.getLogger(__name__)

FOLDS = "folds"
"""A kind that never makes room: made again after an upgrade of a library, folds could come out otherwise."""

PRECISION = "precision"
"""A kind that never makes room: measured again, a choice could come out otherwise."""

CHECKPOINTS = "checkpoints"
"""A kind that is of use only until somebody has gone on from it."""

OUTBOX = "outbox"
"""A kind that never makes room: results that a store did not take yet."""

_HELD = ".held"
_MAKING = ".making-"


@dataclass(frozen=True)
class Entry:
    """Something whole that the cache keeps."""

    kind: str
    key: str
    size_bytes: int
    used_s: float
    """When it was last asked for, in seconds since 1970."""
    holder: int | None
    """The number of a process that holds it."""


def unused_since(entries: Iterable[Entry], time_s: float) -> list[Entry]:
    """Return the entries that nobody holds nor has asked for since then; some kinds are always of use."""
    return [entry for entry in entries if _may_go(entry) and entry.used_s < time_s]


def surplus(entries: Iterable[Entry], limit_bytes: int) -> list[Entry]:
    """Return the entries to remove so that the rest fits, least recently used first; what must stay, stays."""
    ordered = sorted(entries, key=lambda entry: entry.used_s)
    too_much = sum(entry.size_bytes for entry in ordered) - limit_bytes
    chosen: list[Entry] = []
    for entry in filter(_may_go, ordered):
        if too_much <= 0:
            break
        chosen.append(entry)
        too_much -= entry.size_bytes
    return chosen


def _may_go(entry: Entry) -> bool:
    return entry.holder is None and entry.kind not in (FOLDS, PRECISION, OUTBOX)


@dataclass(frozen=True)
class Cache:
    """Entries `<root>/<kind>/<key>`, each a file or a folder that exists only once it is whole.

    What was asked for is held as long as the object lives, and its process.
    """

    root: Path
    limit_bytes: int | None = None
    """How large the cache may grow before the least recently used entries go; None for no limit."""

    @classmethod
    def open(cls, root: Path | None = None) -> "Cache":
        """Open the cache at `root`, or where the environment puts it; a new one is private to the user.

        Of a folder that was there before only what the cache makes in it is private.

        Raises:
            ValueError: If no folder can be there, or the limit that the environment sets is no number above 0.
        """
        root = default_root(os.environ) if root is None else root.absolute()
        try:
            _make(root)
        except OSError as error:
            raise ValueError(f"{root}: expected a folder for the cache ({error}): set {PLACE} to another") from error
        return cls(root, default_limit_bytes(os.environ))

    def place(self, kind: str, key: str) -> Path:
        """Return where an entry is, or would be."""
        return self.root / kind / key

    def get(self, kind: str, key: str, make: Callable[[Path], object]) -> Path:
        """Return the entry, making it first if it is not there; nobody removes it while this object lives.

        Args:
            kind: the folder of the entry.
            key: what the entry is a function of, usually a digest.
            make: writes the entry, a file or a folder, at the path that it is given.
        """
        place = self.place(kind, key)
        with self._only_one(kind, key):
            self._holding.add(f"{kind}/{key}")
            if _is_whole(place):
                return place
            if place.exists():
                _log.warning(f"{place}: damaged from outside, made again")
                _delete(place)
            with self.scratch(kind) as scratch:
                make(scratch)
                _size_note(place).write_text(str(_size_bytes(scratch)))
                scratch.rename(place)
        self._make_room()
        return place

    def keep(self, scratch: Path, kind: str, key: str) -> Path:
        """Give a finished scratch entry its name; an entry that has the name already is the same and stays."""
        return self.get(kind, key, lambda path: shutil.move(scratch, path))

    @contextmanager
    def workplace(self, kind: str, key: str) -> Iterator[Path | None]:
        """Yield the folder of an entry that grows, to this process alone; None if another process has it.

        What is in it stays when the process dies, until somebody calls `forget`.
        """
        place, alone = self.place(kind, key), FileLock(lock_of(self.place(kind, key)))
        _make_private(place.parent)
        try:
            alone.acquire(timeout=0)
        except Timeout:
            yield None
            return
        try:
            os.utime(lock_of(place))  # the entry is of use now
            place.mkdir(exist_ok=True)
            yield place
        finally:
            alone.release()

    def forget(self, kind: str, key: str) -> None:
        """Remove an entry that may be wrong, whoever holds it."""
        with self._only_one(kind, key):
            _delete(self.place(kind, key))
            _size_note(self.place(kind, key)).unlink(missing_ok=True)

    @contextmanager
    def scratch(self, kind: str) -> Iterator[Path]:
        """Yield a path beside the entries of a kind; what is still there at the end is removed."""
        path = self.root / kind / f"{_MAKING}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        _make_private(path.parent)
        for left in self.leftovers(kind):
            self.discard(left)
        with locked(lock_of(path)):
            try:
                yield path
            finally:
                _delete(path)
                lock_of(path).unlink()

    def entries(self) -> list[Entry]:
        """Return every whole entry, least recently used first."""
        held_by = holders(self.root / _HELD)
        found = [
            Entry(
                kind=path.parent.name,
                key=path.name,
                size_bytes=_size_bytes(path),
                used_s=lock_of(path).stat().st_mtime if lock_of(path).exists() else path.stat().st_mtime,
                holder=held_by.get(f"{path.parent.name}/{path.name}"),
            )
            for path in self.root.glob("[!.]*/[!.]*")
        ]
        return sorted(found, key=lambda entry: entry.used_s)

    def leftovers(self, kind: str = "*") -> list[Path]:
        """Return what was being made by processes that are gone."""
        locks = self.root.glob(f"{kind}/.{_MAKING}*.lock")
        return [lock.with_name(lock.name[1 : -len(".lock")]) for lock in locks if is_free(lock)]

    def discard(self, leftover: Path) -> None:
        """Remove what a killed process left; somebody else may be removing it too."""
        _delete(leftover)
        lock_of(leftover).unlink(missing_ok=True)

    def remove(self, entry: Entry) -> bool:
        """Remove an entry unless a process holds it or is just asking for it; say whether it went."""
        place = self.place(entry.kind, entry.key)
        try:
            with locked(lock_of(place), timeout_s=0):
                if f"{entry.kind}/{entry.key}" in holders(self.root / _HELD) or not place.exists():
                    return False
                with self.scratch(entry.kind) as scratch:  # gone at once, and wholly, even if we are killed now
                    place.rename(scratch)
                _size_note(place).unlink(missing_ok=True)
                lock_of(place).unlink()
        except Timeout:
            return False
        return True

    def _make_room(self) -> None:
        if self.limit_bytes is None:
            return
        for entry in surplus(self.entries(), self.limit_bytes):
            self.remove(entry)

    @contextmanager
    def _only_one(self, kind: str, key: str) -> Iterator[None]:
        lock = lock_of(self.place(kind, key))
        _make_private(lock.parent)
        with locked(lock, waiting_for=f"{kind}/{key}"):
            os.utime(lock)  # the entry is of use now
            try:
                yield
            finally:
                if not self.place(kind, key).exists():
                    lock.unlink()

    @cached_property
    def _holding(self) -> Holding:
        _make_private(self.root / _HELD)
        holders(self.root / _HELD)  # clears away the lists of processes that are gone
        return Holding(self.root / _HELD)


def _make(folder: Path) -> None:
    """Make a folder, and those above it that are not there, private to the user."""
    for missing in reversed([found for found in (folder, *folder.parents) if not found.is_dir()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _make_private(folder: Path) -> None:
    """See that a folder is there and private to the user, however it was before."""
    _make(folder)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        try:
            folder.chmod(0o700)
        except PermissionError as error:
            raise ValueError(f"{folder}: expected the user's own folder ({error}): set {PLACE} to another") from error


def _size_note(place: Path) -> Path:
    return place.with_name(f".{place.name}.size")


def _is_whole(place: Path) -> bool:
    """Say whether an entry is there as it was made, as far as its size can tell."""
    note = _size_note(place)
    return place.exists() and note.exists() and note.read_text() == str(_size_bytes(place))


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
