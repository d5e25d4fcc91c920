"""The parts of a work side by side, such as the folds of a step, each on a thread of its own.

Operations on few numbers gain little from several threads, and with libgomp's sleeping threads nothing: one net of
`cnn` trains as fast on one core as on two. Several nets, one core each, use all cores.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

P = TypeVar("P")
R = TypeVar("R")
A = ParamSpec("A")


class StoppedError(Exception):
    """Another part failed, or the process is to end."""


@dataclass(frozen=True)
class Lane:
    """What a part of the work may use, and how it learns that it should end."""

    threads: int
    """The number of threads of libraries that have threads of their own; torch is told already."""
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Let all parts end at their next check."""
        self._stop.set()

    def check(self) -> None:
        """Raise `StoppedError` if the work is to end; a part calls this whenever it can end."""
        if self._stop.is_set():
            raise StoppedError

    def in_turn(self, report: Callable[A, R]) -> Callable[A, R]:
        """Return a function that checks, and calls `report` while no other part reports."""

        def waiting(*args: A.args, **kwargs: A.kwargs) -> R:
            self.check()
            with self._turn:
                return report(*args, **kwargs)

        return waiting


def at_once(threads: int, parts: int) -> int:
    """Return how many parts are at work at the same time.

    With several cores it is one more, so that no core is idle while the last part is done, or while a part waits for
    Python's lock.
    """
    return max(1, min(parts, threads + 1 if threads > 1 else 1))


def side_by_side(work: Callable[[P, Lane], R], parts: Sequence[P], threads: int, each: int | None = None) -> list[R]:
    """Do the parts of a work in threads; what it returns does not depend on which part ends first.

    Args:
        work: called with a part and its lane; it must not draw from global random generators.
        parts: what to work on.
        threads: the number of threads of the machine; 1 does one part after the other.
        each: the number of threads of a part; by default an equal share.

    Returns:
        The results in the order of the parts.

    Raises:
        Exception: What the first part that failed raised; or KeyboardInterrupt or SystemExit, if the process is told
            to end. The other parts end at their next check.
    """
    import torch  # commands that need no model do without it

    lane = Lane(max(1, threads // max(1, len(parts))) if each is None else each)
    before = torch.get_num_threads()
    workers = at_once(threads, len(parts))
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(lane.threads,)) as pool:
            running = [pool.submit(work, part, lane) for part in parts]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:
                lane.stop()
                pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(before)  # the workers changed the number for threads that start later, too
    errors = [future.exception() for future in running if not future.cancelled()]
    for error in errors:
        if error is not None and not isinstance(error, StoppedError):
            raise error
    return [future.result() for future in running]
