"""The cache: its entries are complete or absent."""

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
"""A kind that is never evicted: after an upgrade of a library, folds made again could differ."""

CHECKPOINTS = "checkpoints"
"""A kind whose entries are needed only until a training has resumed from them."""

OUTBOX = "outbox"
"""A kind that is never evicted: results that are not uploaded yet."""

_HELD = ".held"
_MAKING = ".making-"


@dataclass(frozen=True)
class Entry:
    """A complete entry of the cache."""

    kind: str
    key: str
    size_bytes: int
    used_s: float
    """The time of its last use, in seconds since 1970."""
    holder: int | None
    """The ID of a process that uses it."""


def unused_since(entries: Iterable[Entry], time_s: float) -> list[Entry]:
    """Return the entries that are not in use and were not used since a time; some kinds are never evicted."""
    return [entry for entry in entries if _may_go(entry) and entry.used_s < time_s]


def surplus(entries: Iterable[Entry], limit_bytes: int) -> list[Entry]:
    """Return the entries to remove so that the rest fits the limit, least recently used first."""
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
    return entry.holder is None and entry.kind not in (FOLDS, OUTBOX)


@dataclass(frozen=True)
class Cache:
    """Entries `<root>/<kind>/<key>`; each is a file or a folder that exists only when it is complete.

    An entry that was asked for is in use until this object or its process ends.
    """

    root: Path
    limit_bytes: int | None = None
    """The size above which the least recently used entries are removed; None for no limit."""

    @classmethod
    def open(cls, root: Path | None = None) -> "Cache":
        """Open the cache at `root`, or at the path in the environment; a new cache is private to the user.

        In a folder that existed before, only the files that the cache makes are private.

        Raises:
            ValueError: If the folder cannot be made, or the limit in the environment is not a number above 0.
        """
        root = default_root(os.environ) if root is None else root.absolute()
        try:
            _make(root)
        except OSError as error:
            raise ValueError(f"{root}: expected a folder for the cache ({error}): set {PLACE} to another") from error
        return cls(root, default_limit_bytes(os.environ))

    def place(self, kind: str, key: str) -> Path:
        """Return the path of an entry, which may not exist."""
        return self.root / kind / key

    def get(self, kind: str, key: str, make: Callable[[Path], object]) -> Path:
        """Return the path of an entry; make it first if it does not exist. It is not removed while this object exists.

        Args:
            kind: the folder of the entry.
            key: the key of the entry, usually a digest of everything that determines it.
            make: writes the entry, a file or a folder, at a given path.
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
        """Move a finished scratch entry to its key; an existing entry with this key is equal and stays."""
        return self.get(kind, key, lambda path: shutil.move(scratch, path))

    @contextmanager
    def workplace(self, kind: str, key: str) -> Iterator[Path | None]:
        """Yield the folder of an entry that grows, locked for this process; None if another process has the lock.

        Its files stay when the process ends, until `forget` is called.
        """
        place, lock = self.place(kind, key), FileLock(lock_of(self.place(kind, key)))
        _make_private(place.parent)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield None
            return
        try:
            os.utime(lock_of(place))  # the time of the last use
            place.mkdir(exist_ok=True)
            yield place
        finally:
            lock.release()

    def forget(self, kind: str, key: str) -> None:
        """Remove an entry that may be wrong, even if it is in use."""
        with self._only_one(kind, key):
            _delete(self.place(kind, key))
            _size_note(self.place(kind, key)).unlink(missing_ok=True)

    @contextmanager
    def scratch(self, kind: str) -> Iterator[Path]:
        """Yield a temporary path beside the entries of a kind; it is removed at the end."""
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

    def entries(self, kind: str = "[!.]*") -> list[Entry]:
        """Return every complete entry, of all kinds or of one, least recently used first."""
        held_by = holders(self.root / _HELD)
        whole = [
            Entry(
                kind=path.parent.name,
                key=path.name,
                size_bytes=_size_bytes(path),
                used_s=lock_of(path).stat().st_mtime if lock_of(path).exists() else path.stat().st_mtime,
                holder=held_by.get(f"{path.parent.name}/{path.name}"),
            )
            for path in self.root.glob(f"{kind}/[!.]*")
        ]
        return sorted(whole, key=lambda entry: entry.used_s)

    def leftovers(self, kind: str = "*") -> list[Path]:
        """Return the unfinished files of processes that have ended."""
        locks = self.root.glob(f"{kind}/.{_MAKING}*.lock")
        return [lock.with_name(lock.name[1 : -len(".lock")]) for lock in locks if is_free(lock)]

    def discard(self, leftover: Path) -> None:
        """Remove the unfinished files of a killed process; another process may remove them at the same time."""
        _delete(leftover)
        lock_of(leftover).unlink(missing_ok=True)

    def remove(self, entry: Entry) -> bool:
        """Remove an entry unless a process uses it or is asking for it; return whether it was removed."""
        place = self.place(entry.kind, entry.key)
        try:
            with locked(lock_of(place), timeout_s=0):
                if f"{entry.kind}/{entry.key}" in holders(self.root / _HELD) or not place.exists():
                    return False
                with self.scratch(entry.kind) as scratch:  # removed by one rename, even if this process is killed
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
            os.utime(lock)  # the time of the last use
            try:
                yield
            finally:
                if not self.place(kind, key).exists():
                    lock.unlink()

    @cached_property
    def _holding(self) -> Holding:
        _make_private(self.root / _HELD)
        holders(self.root / _HELD)  # removes the lists of processes that have ended
        return Holding(self.root / _HELD)


def _make(folder: Path) -> None:
    """Make a folder and its missing parents, private to the user."""
    for missing in reversed([parent for parent in (folder, *folder.parents) if not parent.is_dir()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _make_private(folder: Path) -> None:
    """Make a folder if it is missing, and make it private to the user in any case."""
    _make(folder)
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        try:
            folder.chmod(0o700)
        except PermissionError as error:
            raise ValueError(f"{folder}: expected the user's own folder ({error}): set {PLACE} to another") from error


def _size_note(place: Path) -> Path:
    return place.with_name(f".{place.name}.size")


def _is_whole(place: Path) -> bool:
    """Return whether an entry exists with the size that it was made with."""
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
