"""A signal of the car on its own clock, and what gaps are."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from atma18.schema import BoolArray, FloatArray, one_line


class RecordingError(ValueError):
    """A recording that cannot be read as what it is said to be; its message never has a file's own name.

    Names of recordings tell who drove where, and messages reach files and logs.
    """


def cause(error: Exception) -> str:
    """Return what went wrong, without the path that an error of the operating system quotes."""
    if isinstance(error, OSError) or hasattr(error, "strerror"):
        return getattr(error, "strerror", None) or type(error).__name__
    return one_line(str(error))


@dataclass(frozen=True, eq=False)
class Signal:
    """One signal of the car on its own clock."""

    times_s: FloatArray
    """(N,) ascending, on the drive's clock."""
    values: NDArray[Any]
    """(N,) float64 in the unit of the schema, or the names of gears."""
    origin: str
    """The field that it was read from."""
    oldest_s: float = 0.5
    """No value is used for longer than this, and none is interpolated over a longer gap."""

    def __post_init__(self) -> None:
        if len(self.times_s) != len(self.values) or (np.diff(self.times_s) < 0).any():
            raise RecordingError(
                f"{self.origin}: expected ascending times with a value each, found {len(self.times_s)} times and "
                f"{len(self.values)} values"
            )

    def __len__(self) -> int:
        return len(self.times_s)

    @classmethod
    def of(cls, times_s: FloatArray, values: NDArray[Any], origin: str, oldest_s: float = 0.5) -> Self:
        """Sort the values by time, without those that are missing; of several at one time the last one counts."""
        there = values != "" if values.dtype.kind == "U" else np.isfinite(values)
        order = np.argsort(times_s[there], kind="stable")
        ordered_s = times_s[there][order]
        last = np.append(np.diff(ordered_s) > 0, True)[: len(ordered_s)]
        return cls(ordered_s[last], values[there][order][last], origin, oldest_s)

    def held(self, times_s: FloatArray) -> tuple[NDArray[Any], BoolArray]:
        """Return the last value at or before each time, and whether it is young enough."""
        if not len(self):
            return np.zeros(len(times_s), self.values.dtype), np.zeros(len(times_s), bool)
        before = np.searchsorted(self.times_s, times_s, side="right") - 1
        young = (before >= 0) & (times_s - self.times_s[before] <= self.oldest_s)
        return self.values[before], young

    def interpolated(self, times_s: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Return the value at each time on a straight line between its neighbours, and whether these are close enough.

        Nothing is extrapolated.
        """
        if not len(self):
            return np.zeros(len(times_s)), np.zeros(len(times_s), bool)
        return np.interp(times_s, self.times_s, self.values), self.covers(times_s, times_s)

    def stretches(self) -> Iterator[tuple[float, float]]:
        """Yield begin and end of each stretch without a gap."""
        after = np.flatnonzero(np.diff(self.times_s) > self.oldest_s) + 1
        for times_s in np.split(self.times_s, after):
            if len(times_s):
                yield float(times_s[0]), float(times_s[-1])

    def covers(self, start_s: FloatArray, end_s: FloatArray) -> BoolArray:
        """Return whether there are values from each start to its end, without a gap longer than `oldest_s`."""
        return covers(self.times_s, start_s, end_s, self.oldest_s)


def covers(times_s: FloatArray, start_s: FloatArray, end_s: FloatArray, longest_s: float) -> BoolArray:
    """Return whether ascending times reach over each stretch without a gap.

    Args:
        times_s: (N,) ascending.
        start_s: (M,) first moments.
        end_s: (M,) last moments.
        longest_s: the longest step between two times that is no gap.

    Returns:
        (M,) whether the times before the start, in the stretch and after its end follow each other without a gap.
    """
    first = np.searchsorted(times_s, start_s, side="right") - 1
    last = np.searchsorted(times_s, end_s, side="left")
    inside = (first >= 0) & (last < len(times_s))
    gaps = np.concatenate([[0], np.cumsum(np.diff(times_s) > longest_s)]) if len(times_s) else np.zeros(1, np.int64)
    first, last = np.clip(first, 0, None), np.clip(last, None, max(len(times_s) - 1, 0))
    return np.asarray(inside & (gaps[last] == gaps[first]))


def signed(speed: Signal, gear: Signal) -> tuple[Signal, bool]:
    """Make the speed negative where the gear is reverse, if this car tells it without a sign.

    It does if it mostly is positive while the car moves backwards; a speed that is filtered falls below 0 at stops too.

    Args:
        speed: m/s.
        gear: names of gears.

    Returns:
        The speed, and whether it was changed.
    """
    gears, young = gear.held(speed.times_s)
    reverse = young & (gears == "reverse")
    moving = reverse & (np.abs(speed.values) > _MOVES_MPS)
    if not moving.any() or np.median(speed.values[moving]) < 0:
        return speed, False
    return replace(speed, values=np.where(reverse, -np.abs(speed.values), speed.values)), True


UNSIGNED = "vEgo has no sign in this car: it is made negative where the gear is reverse"
_MOVES_MPS = 0.3
"""Below this speed the sign of a filtered speed means nothing."""
