"""Locks that end with their process, by the operating system's word, and lists of what a process holds."""

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
    """Return where the lock of a path is: beside it."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(lock: Path, *, timeout_s: float = -1, waiting_for: str = "") -> Iterator[None]:
    """Hold a lock; say what is waited for if somebody else holds it for long."""
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
    """Say whether nobody holds a lock: its process is gone."""
    try:
        with locked(lock, timeout_s=0):
            return True
    except Timeout:
        return False


class Holding:
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
        """Hold one more."""
        if name not in self.held:
            self.held.add(name)
            with self.names.open("a") as file:
                file.write(f"{name}\n")


def holders(folder: Path) -> dict[str, int]:
    """Return, for each name that is held, the number of a process that holds it; forget processes that are gone."""
    found: dict[str, int] = {}
    for lock in folder.glob("*.lock"):
        names = lock.with_suffix(".txt")
        if is_free(lock):
            names.unlink(missing_ok=True)
            lock.unlink(missing_ok=True)
        elif names.exists():
            found |= dict.fromkeys(names.read_text().splitlines(), int(lock.name.split("-")[0]))
    return found
