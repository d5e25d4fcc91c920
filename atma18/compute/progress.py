"""Progress of long work: a bar on a terminal, and a line per minute in a log."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_EVERY_S = 60.0
"""Seconds between two lines in a log; shorter work writes none."""
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, {remaining} left{postfix}"


class _Lines:
    """A stream that writes each state of a bar as a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write the text that a terminal would show in place of the old one."""
        if said := text.strip():
            self.stream.write(f"{said}\n")

    def flush(self) -> None:
        """Flush the stream."""
        self.stream.flush()


def progress(
    work: Iterable[T] | None = None, *, total: int | None = None, desc: str, unit: str, leave: bool = True
) -> "tqdm[T]":
    """Return tqdm's bar over some work: on a terminal it is updated at once, in a log it is a line per minute.

    Args:
        work: the items to iterate over, or None if the caller calls `update`.
        total: number of items, if `work` has no length.
        desc: description of the work.
        unit: unit of the count, in the singular.
        leave: whether the bar stays on a terminal afterwards.
    """
    shared: dict[str, Any] = {"total": total, "desc": desc, "unit": unit}
    if sys.stderr.isatty():
        return tqdm(work, leave=leave, **shared)
    in_log: dict[str, Any] = {"mininterval": LOG_EVERY_S, "delay": LOG_EVERY_S, "miniters": 1, "bar_format": _LINE}
    return tqdm(work, leave=False, file=_Lines(sys.stderr), **in_log, **shared)
