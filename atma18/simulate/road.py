"""Roads made of circular arcs: road coordinates and back, in closed form."""

from itertools import pairwise
from math import cos, sin

import numpy as np

from atma18.schema import Float32Array, FloatArray

Arcs = tuple[tuple[float, float], ...]
"""Length in m and curvature in 1/m (positive to the left) of each arc; the last has no end."""

STRAIGHT_PER_M = 1e-6
"""A curvature below this counts as straight, and as this much where it divides."""


def curvature_at(arcs: Arcs, along_m: float) -> float:
    """Return the curvature in 1/m at this distance along the road."""
    for length_m, curvature_per_m in arcs:
        if along_m < length_m:
            return curvature_per_m
        along_m -= length_m
    raise ValueError("expected a last arc without end")


def road_coordinates(points_m: Float32Array, arcs: Arcs) -> tuple[Float32Array, Float32Array]:
    """Convert points on the ground to road coordinates.

    Args:
        points_m: (..., 2) x and y in metres from the start of the first arc, x along its tangent.
        arcs: the road.

    Returns:
        Two arrays (...): metres along the road, and metres to the left of it.
    """
    x_m, y_m = points_m[..., 0], points_m[..., 1]
    along_m, left_m = _arc_coordinates(x_m, y_m, arcs[0][1])
    beyond, start_m = np.ones(x_m.shape, dtype=bool), 0.0
    for (length_m, curvature_per_m), (_, next_per_m) in pairwise(arcs):
        beyond = beyond & (along_m - start_m >= length_m)
        x_m, y_m = _seen_from_end(x_m, y_m, length_m, curvature_per_m)
        start_m += length_m
        next_along_m, next_left_m = _arc_coordinates(x_m, y_m, next_per_m)
        along_m = np.where(beyond, start_m + next_along_m, along_m)
        left_m = np.where(beyond, next_left_m, left_m)
    return along_m, left_m


def road_point(along_m: float, left_m: float, arcs: Arcs) -> FloatArray:
    """Return the (2,) x and y of a point that is given in road coordinates: the inverse of `road_coordinates`."""
    origin_m, heading_rad = np.zeros(2), 0.0
    for length_m, curvature_per_m in arcs:
        x_m, y_m, turned_rad = _arc_end(min(along_m, length_m), curvature_per_m)
        origin_m = origin_m + _rotation(heading_rad) @ [x_m, y_m]
        heading_rad += turned_rad
        if along_m <= length_m:
            break
        along_m -= length_m
    return np.asarray(origin_m + _rotation(heading_rad) @ [0.0, left_m])


def _arc_coordinates(x_m: Float32Array, y_m: Float32Array, curvature_per_m: float) -> tuple[Float32Array, Float32Array]:
    if abs(curvature_per_m) < STRAIGHT_PER_M:
        return x_m, y_m
    sideways, inwards = curvature_per_m * x_m, 1 - curvature_per_m * y_m
    along_m = np.arctan2(sideways, inwards) / curvature_per_m
    # (1 - hypot) / curvature, written so that a slight curvature loses no digits
    left_m = (2 * y_m - curvature_per_m * (x_m**2 + y_m**2)) / (1 + np.hypot(sideways, inwards))
    return along_m, left_m


def _arc_end(length_m: float, curvature_per_m: float) -> tuple[float, float, float]:
    turned_rad = length_m * curvature_per_m
    chord_m = length_m * float(np.sinc(turned_rad / (2 * np.pi)))
    return chord_m * cos(turned_rad / 2), chord_m * sin(turned_rad / 2), turned_rad


def _seen_from_end(
    x_m: Float32Array, y_m: Float32Array, length_m: float, curvature_per_m: float
) -> tuple[Float32Array, Float32Array]:
    end_x_m, end_y_m, turned_rad = _arc_end(length_m, curvature_per_m)
    ahead_m, aside_m = x_m - end_x_m, y_m - end_y_m
    cosine, sine = cos(turned_rad), sin(turned_rad)
    return cosine * ahead_m + sine * aside_m, cosine * aside_m - sine * ahead_m


def _rotation(angle_rad: float) -> FloatArray:
    return np.array([[cos(angle_rad), -sin(angle_rad)], [sin(angle_rad), cos(angle_rad)]])
