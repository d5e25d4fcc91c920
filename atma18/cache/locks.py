"""Locks that the operating system releases when their process ends, and lists of the entries that a process uses."""

import logging
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_log = logging.getLogger(__name__)

PATIENCE_S = 5


def lock_of(path: Path) -> Path:
    """Return the path of the lock file beside a path."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(lock: Path, *, timeout_s: float = -1, waiting_for: str = "") -> Iterator[None]:
    """Hold a lock; report the wait if another process holds the lock for long."""
    file_lock = FileLock(lock)
    try:
        file_lock.acquire(timeout=PATIENCE_S if waiting_for else timeout_s)
    except Timeout:
        if not waiting_for:
            raise
        _log.info(f"waiting for another process that makes {waiting_for}")
        file_lock.acquire()
    try:
        yield
    finally:
        file_lock.release()


def is_free(lock: Path) -> bool:
    """Return whether no process holds a lock."""
    try:
        with locked(lock, timeout_s=0):
            return True
    except Timeout:
        return False


class Holding:
    """The list of the entries that this process uses, with a lock that ends with the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.names = folder / f"{name}.txt"
        self.names.touch()
        self.lock = FileLock(folder / f"{name}.lock", thread_local=False)
        self.lock.acquire()
        self.held: set[str] = set()

    def add(self, name: str) -> None:
        """Add an entry."""
        if name not in self.held:
            self.held.add(name)
            with self.names.open("a") as file:
                file.write(f"{name}\n")


def holders(folder: Path) -> dict[str, int]:
    """Return the ID of a process that uses each name; delete the lists of processes that have ended."""
    process_ids: dict[str, int] = {}
    for lock in folder.glob("*.lock"):
        names = lock.with_suffix(".txt")
        if is_free(lock):
            names.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
        elif names.exists():
            process_ids |= dict.fromkeys(names.read_text().splitlines(), int(lock.name.split("-")[0]))
    return process_ids
