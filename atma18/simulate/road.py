"""Geometry of roads: the middle of a lane as straights, clothoids, arcs and hills, and coordinates along the road."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atma18.schema import FloatArray

AnyFloatArray = NDArray[np.floating]

GRID_M = 0.5
"""Spacing of the points of a road; between them it is interpolated."""


@dataclass(frozen=True)
class Bend:
    """A circular arc with a clothoid on each side, whose curvature changes linearly with distance."""

    start_m: float
    clothoid_m: float
    arc_m: float
    curvature_per_m: float
    """Curvature of the arc; positive to the left."""

    @classmethod
    def turning(cls, start_m: float, angle_rad: float, radius_m: float, clothoid_share: float = 0.4) -> "Bend":
        """Return a bend by an angle, positive to the left; the two clothoids together turn this share of it."""
        # The mean curvature of a clothoid is half of the arc's.
        length_m = abs(angle_rad) * radius_m
        return cls(start_m, clothoid_share * length_m, (1 - clothoid_share) * length_m, np.sign(angle_rad) / radius_m)

    @property
    def end_m(self) -> float:
        """The end of the bend along the road."""
        return self.start_m + 2 * self.clothoid_m + self.arc_m

    @property
    def side(self) -> str:
        """Left or right."""
        return "left" if self.curvature_per_m > 0 else "right"

    def curvature_at(self, along_m: FloatArray) -> FloatArray:
        """Return the curvature in 1/m at (G,) metres along the road; 0 outside the bend."""
        lengths_m = [0, self.clothoid_m, self.arc_m, self.clothoid_m]
        corners_per_m = [0, self.curvature_per_m, self.curvature_per_m, 0]
        return np.asarray(np.interp(along_m, self.start_m + np.cumsum(lengths_m), corners_per_m, left=0, right=0))


@dataclass(frozen=True, eq=False)
class Centreline:
    """The middle of the lane, every `GRID_M`, from (0, 0) in the direction of x; all arrays are (G,)."""

    curvature_per_m: FloatArray
    grade: FloatArray
    """Rise per metre."""
    heading_rad: FloatArray = field(init=False)
    x_m: FloatArray = field(init=False)
    y_m: FloatArray = field(init=False)
    height_m: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        heading_rad = _integral(self.curvature_per_m)
        # a step follows its chord; its direction is the mean of both ends' headings
        chord_rad = heading_rad[:-1] + np.diff(heading_rad) / 2
        derived = {
            "heading_rad": heading_rad,
            "x_m": _from_zero(GRID_M * np.cos(chord_rad)),
            "y_m": _from_zero(GRID_M * np.sin(chord_rad)),
            "height_m": _integral(self.grade),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @classmethod
    def lay(
        cls,
        length_m: float,
        bends: Iterable[Bend] = (),
        curvature_per_m: FloatArray | float = 0.0,
        grade: FloatArray | float = 0.0,
    ) -> "Centreline":
        """Build a road from bends, added to a curvature (G,), with a grade (G,)."""
        grid_m = grid(length_m)
        bent_per_m = np.full(len(grid_m), curvature_per_m)
        for bend in bends:
            bent_per_m += bend.curvature_at(grid_m)
        return cls(bent_per_m, np.full(len(grid_m), grade))

    def poses(self, along_m: FloatArray | float, left_m: FloatArray | float = 0.0) -> FloatArray:
        """Return (…, 3) x in m, y in m and heading in rad at (…) metres along and to the left of the road."""
        x_m, y_m, heading_rad = (self._at(along_m, column) for column in (self.x_m, self.y_m, self.heading_rad))
        return np.stack([x_m - left_m * np.sin(heading_rad), y_m + left_m * np.cos(heading_rad), heading_rad], axis=-1)

    def heights_m(self, along_m: FloatArray | float) -> FloatArray:
        """Return (…) metres above the start of the road."""
        return self._at(along_m, self.height_m)

    def grade_at(self, along_m: FloatArray | float) -> FloatArray:
        """Return (…) rise per metre."""
        return self._at(along_m, self.grade)

    def _at(self, along_m: FloatArray | float, column: FloatArray) -> FloatArray:
        return np.asarray(np.interp(np.asarray(along_m) / GRID_M, np.arange(len(column)), column))


def grid(length_m: float) -> FloatArray:
    """Return the (G,) positions in metres of the points of a road of this length."""
    return np.asarray(GRID_M * np.arange(int(np.ceil(length_m / GRID_M)) + 1))


def seen_from(pose: FloatArray, poses: FloatArray) -> FloatArray:
    """Transform (…, 2) x and y, or (…, 3) with heading, into the frame of a (3,) pose."""
    cosine, sine = np.cos(pose[2]), np.sin(pose[2])
    x_m, y_m = poses[..., 0] - pose[0], poses[..., 1] - pose[1]
    turned = [cosine * x_m + sine * y_m, cosine * y_m - sine * x_m]
    return np.stack([*turned, *(poses[..., axis] - pose[axis] for axis in range(2, poses.shape[-1]))], axis=-1)


def road_coordinates(
    points_m: AnyFloatArray, sections: AnyFloatArray, along_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the road coordinates of points: metres along the road and metres to its left.

    The road has M cross-sections; a point lies between the last section behind it and the first one ahead.

    Args:
        points_m: (N, 2) x and y in metres.
        sections: (M, 3) poses of the road's middle in the same frame, in driving order.
        along_m: (M,) metres along the road of each section.

    Returns:
        (N,) metres along the road, clipped to the first and last section, and (N,) metres to the left.
    """
    forwards = np.stack([np.cos(sections[:, 2]), np.sin(sections[:, 2])])  # (2, M)
    ahead_m = points_m @ forwards - (sections[:, :2].T * forwards).sum(axis=0)  # (N, M)
    rows, following = np.arange(len(points_m)), (ahead_m < 0).argmax(axis=1)
    following[ahead_m[rows, following] >= 0] = len(sections) - 1  # beyond the last section
    before = np.maximum(following - 1, 0)
    from_before_m, to_following_m = ahead_m[rows, before], -ahead_m[rows, following]
    share = np.clip(from_before_m / np.maximum(from_before_m + to_following_m, 1e-9), 0, 1)
    foot = sections[before] + share[:, None] * (sections[following] - sections[before])  # (N, 3)
    offset_m = points_m - foot[:, :2]
    left_m = offset_m[:, 1] * np.cos(foot[:, 2]) - offset_m[:, 0] * np.sin(foot[:, 2])
    return along_m[before] + share * (along_m[following] - along_m[before]), left_m


def _integral(rate: FloatArray) -> FloatArray:
    return _from_zero(GRID_M * (rate[:-1] + rate[1:]) / 2)


def _from_zero(steps: FloatArray) -> FloatArray:
    return np.concatenate([[0.0], np.cumsum(steps)])
