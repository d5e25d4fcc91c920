"""Where the car was and where it pointed: measured, or computed from its speed and its yaw rate."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from atma18.recordings.signals import RecordingError, Signal, covers
from atma18.schema import WAYPOINT_TIMES_S, BoolArray, FloatArray

_STEP_S = 0.005
"""The step of integration."""


@dataclass(frozen=True, eq=False)
class Poses:
    """The position of one point of the car, and the direction of its axes, in a frame that stands still."""

    times_s: FloatArray
    """(N,) ascending, on the drive's clock."""
    positions_m: FloatArray
    """(N, 3) of the point."""
    axes: FloatArray
    """(N, 3, 3) rotations still_R_vehicle: their columns are the vehicle's x (forward), y (left) and z (up) axes."""
    origin: str
    """What they were computed from."""
    forward_m: float = 0.0
    """How far the point lies in front of the rear axle."""
    oldest_s: float = 0.25
    """The longest step between two times that is no gap."""

    def __post_init__(self) -> None:
        n = len(self.times_s)
        if self.positions_m.shape != (n, 3) or self.axes.shape != (n, 3, 3) or (np.diff(self.times_s) <= 0).any():
            raise RecordingError(
                f"{self.origin}: expected a place and three axes at each of some ascending times, found {n} times, "
                f"{self.positions_m.shape} and {self.axes.shape}"
            )

    def covers(self, start_s: FloatArray, end_s: FloatArray) -> BoolArray:
        """Return whether there are poses from each start to its end, without a gap."""
        return covers(self.times_s, start_s, end_s, self.oldest_s)

    def at(self, times_s: FloatArray, forward_m: float) -> tuple[FloatArray, Rotation]:
        """Return (M, 3) positions in metres of a point this far in front of the rear axle, and M rotations."""
        after = np.clip(np.searchsorted(self.times_s, times_s), 1, len(self.times_s) - 1)
        step_s = self.times_s[after] - self.times_s[after - 1]
        share = np.clip((times_s - self.times_s[after - 1]) / step_s, 0, 1)[:, None]
        first, second = Rotation.from_matrix(self.axes[after - 1]), Rotation.from_matrix(self.axes[after])
        turned = first * Rotation.from_rotvec(share * (first.inv() * second).as_rotvec())
        places_m = self.positions_m[after - 1] * (1 - share) + self.positions_m[after] * share
        return places_m + turned.apply([forward_m - self.forward_m, 0.0, 0.0]), turned

    def waypoints(self, times_s: FloatArray, forward_m: float) -> FloatArray:
        """Return where a point of the car goes.

        Args:
            times_s: (M,) moments t.
            forward_m: how far the point lies in front of the rear axle.

        Returns:
            (M, 6, 3) metres in the vehicle's axes at t, from the place of the same point at t.
        """
        here_m, axes = self.at(times_s, forward_m)
        later_s = times_s[:, None] + WAYPOINT_TIMES_S
        there_m, _ = self.at(later_s.ravel(), forward_m)
        moved_m = there_m.reshape(*later_s.shape, 3) - here_m[:, None]
        return np.asarray(np.einsum("mji,mkj->mki", axes.as_matrix(), moved_m))


def dead_reckoned(speed_mps: Signal, yaw_rate_radps: Signal) -> Poses:
    """Integrate speed and yaw rate into the path of the rear axle, which does not slip sideways; z is 0.

    Trapezoids of 5 ms over linearly interpolated values. Where either has a gap, there are no poses.

    Args:
        speed_mps: m/s, negative in reverse.
        yaw_rate_radps: rad/s, positive to the left.
    """
    origin = f"{speed_mps.origin} and {yaw_rate_radps.origin}"
    stretches = [_stretch(speed_mps, yaw_rate_radps, *ends) for ends in _shared(speed_mps, yaw_rate_radps)]
    table = np.concatenate([np.empty((0, 5)), *stretches])
    axes = Rotation.from_euler("z", table[:, 4:]).as_matrix()
    return Poses(table[:, 0], table[:, 1:4], axes, origin, oldest_s=2 * _STEP_S)


def _shared(first: Signal, second: Signal) -> Iterator[tuple[float, float]]:
    """Yield begin and end of each stretch in which neither signal has a gap."""
    these, those = first.stretches(), second.stretches()
    here, there = next(these, None), next(those, None)
    while here and there:
        begin_s, end_s = max(here[0], there[0]), min(here[1], there[1])
        if begin_s < end_s:
            yield begin_s, end_s
        if here[1] < there[1]:
            here = next(these, None)
        else:
            there = next(those, None)


def _stretch(speed_mps: Signal, yaw_rate_radps: Signal, begin_s: float, end_s: float) -> FloatArray:
    """Return (n, 5) times, positions and headings, from a beginning at 0, 0, 0 with heading 0."""
    times_s: FloatArray = begin_s + _STEP_S * np.arange(int(np.ceil((end_s - begin_s) / _STEP_S)), dtype=np.float64)
    speed, _ = speed_mps.interpolated(times_s)
    turning, _ = yaw_rate_radps.interpolated(times_s)
    heading_rad = _integral(turning)
    x_m, y_m = _integral(speed * np.cos(heading_rad)), _integral(speed * np.sin(heading_rad))
    return np.stack([times_s, x_m, y_m, 0 * x_m, heading_rad], axis=1)


def _integral(rate: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)]) * _STEP_S


def along_track(times_s: FloatArray, positions_m: FloatArray, origin: str, oldest_s: float) -> Poses:
    """Return poses whose axes point along the path, level: for positions without an orientation.

    Where the car stands, it keeps the direction in which it came, and at first that in which it will go.

    Args:
        times_s: (N,) ascending.
        positions_m: (N, 3) east, north and up, or any other right-handed frame with z up.
        origin: what they come from.
        oldest_s: the longest step between two times that is no gap.
    """
    heading_rad = _headings(times_s, positions_m) if len(times_s) > 1 else np.zeros(len(times_s))
    axes = Rotation.from_euler("z", heading_rad[:, None]).as_matrix()
    return Poses(times_s, positions_m, axes, origin, oldest_s=oldest_s)


def _headings(times_s: FloatArray, positions_m: FloatArray) -> FloatArray:
    """Return the (N,) direction of the path at each of N > 1 positions, counter-clockwise from x."""
    begin_s, end_s = (np.clip(times_s + way_s, times_s[0], times_s[-1]) for way_s in (-_BASE_S, _BASE_S))
    x_m, y_m = (np.interp(end_s, times_s, axis_m) - np.interp(begin_s, times_s, axis_m) for axis_m in positions_m.T[:2])
    moving = np.hypot(x_m, y_m) > _STANDS_MPS * (end_s - begin_s)
    last = np.maximum.accumulate(np.where(moving, np.arange(len(times_s)), np.argmax(moving)))
    return np.asarray(np.where(moving.any(), np.arctan2(y_m[last], x_m[last]), 0.0))


_BASE_S = 1.0
"""The direction at a moment is that from the position this long before it to the one this long after."""
_STANDS_MPS = 1.0
"""Below this speed the direction between two positions is noise: a standing receiver wanders by half a metre."""
