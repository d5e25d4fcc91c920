"""Where things that can be made again are kept: by content, complete or absent, shared by processes, and cleaned.

The cache is a folder of `<kind>/<key>`. Four rules keep it sound, however many processes use it and however they end:

- an entry is made beside its place and renamed when it is whole, under a lock of its own, and its size is noted;
- what is being made is locked by its maker, so what a killed maker left is known as such, and removed;
- what a process has asked for is held until it ends, and nobody removes what is held;
- a lock ends with its process, by the operating system's word.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

PLACE = "ATMA18_CACHE"
LIMIT = "ATMA18_CACHE_LIMIT_GB"

FOLDS = "folds"
"""A kind that never makes room: made again after an upgrade of a library, folds could come out otherwise."""

CHECKPOINTS = "checkpoints"
"""A kind that is of use only until somebody has gone on from it."""

_HELD = ".held"
_MAKING = ".making-"
_PATIENCE_S = 5


def default_root(environment: Mapping[str, str]) -> Path:
    """Return the cache folder: `ATMA18_CACHE`, else `atma18` in the user's own cache folder."""
    if chosen := environment.get(PLACE):
        return Path(chosen).expanduser().absolute()
    users = environment.get("XDG_CACHE_HOME", "")
    # The XDG base directory specification has relative paths ignored.
    return (Path(users) if Path(users).is_absolute() else Path.home() / ".cache") / "atma18"


def default_limit_bytes(environment: Mapping[str, str]) -> int | None:
    """Return how large the cache may grow: `ATMA18_CACHE_LIMIT_GB`, or None where nothing is set.

    Raises:
        ValueError: If the variable is no number above 0.
    """
    text = environment.get(LIMIT)
    return limit_bytes(text, LIMIT) if text else None


def limit_bytes(text: str, name: str) -> int:
    """Read a number of gigabytes; `name` says whose it is.

    Raises:
        ValueError: If it is no number above 0.
    """
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = float("nan")
    if not 0 < limit_gb < float("inf"):
        raise ValueError(f"{name}: expected a number of gigabytes above 0, found {text!r}")
    return round(limit_gb * 1e9)


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
    """Return the entries that nobody holds nor has asked for since then; folds are always of use."""
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
    return entry.holder is None and entry.kind != FOLDS


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

        Raises:
            ValueError: If no folder can be there, or the limit that the environment sets is no number above 0.
        """
        root = default_root(os.environ) if root is None else root.absolute()
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
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
                print(f"{place}: damaged from outside, made again")
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

    def forget(self, kind: str, key: str) -> None:
        """Remove an entry that may be wrong, whoever holds it."""
        with self._only_one(kind, key):
            _delete(self.place(kind, key))
            _size_note(self.place(kind, key)).unlink(missing_ok=True)

    @contextmanager
    def scratch(self, kind: str) -> Iterator[Path]:
        """Yield a path beside the entries of a kind; what is still there at the end is removed."""
        path = self.root / kind / f"{_MAKING}{os.getpid()}-{uuid.uuid4().hex[:8]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in self.leftovers(kind):
            self.discard(left)
        with _locked(_lock_of(path)):
            try:
                yield path
            finally:
                _delete(path)
                _lock_of(path).unlink()

    def entries(self) -> list[Entry]:
        """Return every whole entry, least recently used first."""
        holders = self._holders()
        found = [
            Entry(
                kind=path.parent.name,
                key=path.name,
                size_bytes=_size_bytes(path),
                used_s=_lock_of(path).stat().st_mtime if _lock_of(path).exists() else path.stat().st_mtime,
                holder=holders.get(f"{path.parent.name}/{path.name}"),
            )
            for path in self.root.glob("[!.]*/[!.]*")
        ]
        return sorted(found, key=lambda entry: entry.used_s)

    def leftovers(self, kind: str = "*") -> list[Path]:
        """Return what was being made by processes that are gone."""
        locks = self.root.glob(f"{kind}/.{_MAKING}*.lock")
        return [lock.with_name(lock.name[1 : -len(".lock")]) for lock in locks if _is_free(lock)]

    def discard(self, leftover: Path) -> None:
        """Remove what a killed process left; somebody else may be removing it too."""
        _delete(leftover)
        _lock_of(leftover).unlink(missing_ok=True)

    def remove(self, entry: Entry) -> bool:
        """Remove an entry unless a process holds it or is just asking for it; say whether it went."""
        place = self.place(entry.kind, entry.key)
        try:
            with _locked(_lock_of(place), timeout_s=0):
                if f"{entry.kind}/{entry.key}" in self._holders() or not place.exists():
                    return False
                with self.scratch(entry.kind) as scratch:  # gone at once, and wholly, even if we are killed now
                    place.rename(scratch)
                _size_note(place).unlink(missing_ok=True)
                _lock_of(place).unlink()
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
        lock = _lock_of(self.place(kind, key))
        lock.parent.mkdir(parents=True, exist_ok=True)
        with _locked(lock, waiting_for=f"{kind}/{key}"):
            os.utime(lock)  # the entry is of use now
            try:
                yield
            finally:
                if not self.place(kind, key).exists():
                    lock.unlink()

    @cached_property
    def _holding(self) -> "_Holding":
        self._holders()  # clears away the lists of processes that are gone
        return _Holding(self.root / _HELD)

    def _holders(self) -> dict[str, int]:
        """Return, for each entry that is held, the number of a process that holds it."""
        found: dict[str, int] = {}
        for lock in (self.root / _HELD).glob("*.lock"):
            names = lock.with_suffix(".txt")
            if _is_free(lock):
                names.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
            elif names.exists():
                found |= dict.fromkeys(names.read_text().splitlines(), int(lock.name.split("-")[0]))
        return found


class _Holding:
    """A list of what this process holds, beside a lock that ends with the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.names = folder / f"{name}.txt"
        self.names.touch()
        self.lock = FileLock(folder / f"{name}.lock", thread_local=False)
        self.lock.acquire()
        self.held: set[str] = set()

    def add(self, name: str) -> None:
        if name not in self.held:
            self.held.add(name)
            with self.names.open("a") as file:
                file.write(f"{name}\n")


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


@contextmanager
def _locked(lock: Path, *, timeout_s: float = -1, waiting_for: str = "") -> Iterator[None]:
    """Hold a lock; say what is waited for if somebody else holds it for long."""
    file_lock = FileLock(lock)
    try:
        file_lock.acquire(timeout=_PATIENCE_S if waiting_for else timeout_s)
    except Timeout:
        if not waiting_for:
            raise
        print(f"waiting for another process that makes {waiting_for}")
        file_lock.acquire()
    try:
        yield
    finally:
        file_lock.release()


def _is_free(lock: Path) -> bool:
    """Say whether nobody holds a lock: its process is gone."""
    try:
        with _locked(lock, timeout_s=0):
            return True
    except Timeout:
        return False


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
