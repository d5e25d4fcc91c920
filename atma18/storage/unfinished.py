"""A folder that is complete or absent: it gets its name at the end, and an interrupted write of it can be resumed."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

_PLAN = "plan.json"


@contextmanager
def folder_of(out: Path, plan: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the folder to write into; it is renamed to `out` at the end.

    Until then it is `.<name>.partial`. The next call with the same plan finds what an interrupted one left there; a
    call with another plan begins anew. A ValueError, which refuses the content, removes it.

    Args:
        out: the path of the result.
        plan: everything that decides the content of the folder, as plain JSON.

    Raises:
        ValueError: If `out` already exists.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise ValueError(
            f"{out}: expected a place for a folder, found none ({error.strerror}): name another"
        ) from error
    unfinished = out.with_name(f".{out.name}.partial")
    with _alone(unfinished):
        if os.path.lexists(out):
            existing = "folder" if out.is_dir() else "file" if out.is_file() else "link to nothing"
            raise ValueError(f"{out}: expected nothing there, found a {existing}: name another")
        _start_or_resume(unfinished, json.dumps(plan, sort_keys=True))
        try:
            yield unfinished
        except ValueError:
            shutil.rmtree(unfinished)  # refused: there is nothing to resume
            raise
        (unfinished / _PLAN).unlink()
        unfinished.rename(out)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    lock = folder.with_name(f"{folder.name}.lock")
    with FileLock(lock):
        try:
            yield
        finally:
            lock.unlink()


def _start_or_resume(folder: Path, plan: str) -> None:
    existing = (folder / _PLAN).read_text() if (folder / _PLAN).is_file() else None
    if existing != plan:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / _PLAN).write_text(plan)
