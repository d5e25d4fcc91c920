"""Checkpoints of each fold of a training: an interrupted training repeats at most one epoch."""

import json
import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from atma18.cache import CHECKPOINTS, Cache

_log = logging.getLogger(__name__)

_OWNER = "run.json"
_THREADS = "threads"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint folder of one training: one file per fold, which `save` replaces atomically."""

    folder: Path
    threads: int
    """The number of threads of this process; another number gives other floating-point sums."""
    resumed_from: str | None
    """The run that wrote the existing checkpoints; None without checkpoints."""

    @classmethod
    @contextmanager
    def open(cls, cache: Cache, key: str, run_id: str, threads: int) -> Iterator[Self | None]:
        """Open the checkpoints of a training for this process alone; yield None if another process uses them.

        Args:
            cache: the cache that keeps the checkpoints until `forget`.
            key: identifies everything that determines the training, except the number of threads.
            run_id: the run that continues the training.
            threads: the number of threads of this process.
        """
        with cache.workplace(CHECKPOINTS, key) as folder:
            if folder is None:
                yield None
                return
            left = list(folder.glob("fold*.pt"))
            owner = _read_owner(folder / _OWNER)
            _replace(folder / _OWNER, json.dumps({"run_id": run_id}).encode())
            yield cls(folder, threads, owner if left else None)

    @staticmethod
    def forget(cache: Cache, key: str) -> None:
        """Remove the checkpoints of a finished training, unless another process uses them."""
        for entry in cache.entries():
            if (entry.kind, entry.key) == (CHECKPOINTS, key):
                cache.remove(entry)

    def load(self, fold: int) -> dict[str, Any] | None:
        """Return the saved state of a fold, or None if the fold has to start again; no pickle is executed."""
        path = self._path(fold)
        if not path.is_file():
            return None
        if not _is_whole(path):
            _log.warning(f"{path}: expected a whole checkpoint, found a damaged one: fold {fold} starts again")
            return None
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        if saved[_THREADS] != self.threads:
            _log.info(
                f"fold {fold} starts again: its checkpoint was made with {saved[_THREADS]} threads, not {self.threads}"
            )
            return None
        return saved

    def save(self, fold: int, state: dict[str, Any]) -> None:
        """Replace the saved state of a fold."""
        beside = self._path(fold).with_suffix(".new")
        with beside.open("wb") as file:
            torch.save(state | {_THREADS: self.threads}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path(fold))

    def _path(self, fold: int) -> Path:
        return self.folder / f"fold{fold}.pt"


def _is_whole(path: Path) -> bool:
    """Verify the checksum of every entry of the archive that `torch.save` wrote."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False


def _read_owner(path: Path) -> str | None:
    try:
        return str(json.loads(path.read_text())["run_id"])
    except (OSError, ValueError, KeyError):
        return None


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.replace(path)
