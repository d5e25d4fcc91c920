"""How far long work is: a bar on a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_EVERY_S = 60.0
"""Work that is done sooner says nothing in a log."""
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s after {elapsed}, {remaining} left{postfix}"


class _Lines:
    """A stream in which each state of a bar becomes a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        """Write what a terminal would show in the place of what was there."""
        if said := text.strip():
            self.stream.write(f"{said}\n")

    def flush(self) -> None:
        """Let it be seen."""
        self.stream.flush()


def progress(
    work: Iterable[T] | None = None, *, total: int | None = None, desc: str, unit: str, leave: bool = True
) -> "tqdm[T]":
    """Return tqdm's bar over some work, told as its reader reads: on a terminal at once, in a log every minute.

    Args:
        work: to be gone through, or None if the caller calls `update`.
        total: how much there is, if `work` does not say it.
        desc: what is done.
        unit: of what is counted, in the singular.
        leave: whether a terminal still shows the bar afterwards.
    """
    shared: dict[str, Any] = {"total": total, "desc": desc, "unit": unit}
    if sys.stderr.isatty():
        return tqdm(work, leave=leave, **shared)
    in_log: dict[str, Any] = {"mininterval": LOG_EVERY_S, "delay": LOG_EVERY_S, "miniters": 1, "bar_format": _LINE}
    return tqdm(work, leave=False, file=_Lines(sys.stderr), **in_log, **shared)
