"""How the road moves in frames while the car drives: it tells the order of frames, their camera and the sign of turns.

A point of a flat road at a distance `s` along the car's circle at t was at `s + d` half a second before, where d is the
distance driven since. So the road around the car, resampled from both frames at these places, looks the same. With the
frames in another order, another camera or another direction of the turn, other places match better.
"""

import numpy as np
from scipy.ndimage import map_coordinates

from atma18.geometry.kinematics import MotionModel
from atma18.geometry.path_grid import Paths, first_row_m
from atma18.schema import (
    FRAME_HEIGHT_PX,
    FRAME_WIDTH_PX,
    WAYPOINT_TIMES_S,
    BoolArray,
    FloatArray,
    FrameCamera,
    IntArray,
    Samples,
)

MULTIPLES: FloatArray = np.array([-1.2, -1.1, -1, -0.9, 0, 0.4, 0.6, 0.8, 0.9, 1, 1.1, 1.2, 1.6, 1.8, 2, 2.2])
"""Multiples of the distance by vEgo at which the road is looked for; 1 is right."""
_BETWEEN_S = float(WAYPOINT_TIMES_S[0])
"""The time between two frames, s."""
_MOST_SAMPLES = 150
_LENGTH_M, _HALF_WIDTH_M = 14.0, 4.0
_ROWS, _COLUMNS = 30, 13
_STRAIGHT_PER_M, _SHARPEST_PER_M = 0.004, 0.15
_SLOWEST_MPS, _FASTEST_MPS = 2.0, 25.0
_FAR_MPS = 4.0
"""Below this speed the road moves too little between two frames to tell one multiple from the next."""
_FEWEST_POINTS = 80
_FEWEST_OF_SCENE = 8


def sees_road(camera: FrameCamera) -> bool:
    """Return whether the lower edge of the frames shows the road: a camera may look too far up."""
    try:
        return first_row_m(camera) > 0
    except ValueError:
        return False


def driving(samples: Samples) -> BoolArray:
    """Return which (N,) samples drive forward, no faster than the road can be followed in small frames."""
    speed_mps = samples.signals["vEgo"].to_numpy(np.float64)
    return np.asarray((speed_mps > _SLOWEST_MPS) & (speed_mps < _FASTEST_MPS))


def straight_matches(samples: Samples, camera: FrameCamera) -> FloatArray:
    """Measure where the road of two frames matches while the car goes straight, for samples at even distances.

    Args:
        samples: N samples.
        camera: the camera of the frames.

    Returns:
        (n, 2, M) correlation of the frames at t and t-0.5 s, and of those at t-0.5 s and t-1.0 s, at each of
        `MULTIPLES`; NaN where too little of the road is seen.
    """
    curvature_per_m, _ = MotionModel().arcs(samples.signals)
    fast = samples.signals["vEgo"].to_numpy(np.float64) > _FAR_MPS
    rows = spread(driving(samples) & fast & (np.abs(curvature_per_m) < _STRAIGHT_PER_M))
    frames, speed_mps = _grey(samples, rows), samples.signals["vEgo"].to_numpy(np.float64)[rows]
    pairs = [_matches(frames[:, k : k + 2], speed_mps, 0 * speed_mps, MULTIPLES, camera) for k in range(2)]
    return np.stack(pairs, axis=1)


def turn_matches(samples: Samples, curvature_per_m: FloatArray, camera: FrameCamera) -> FloatArray:
    """Measure whether the road turns as the car does, for samples at even distances.

    Args:
        samples: N samples.
        curvature_per_m: (N,) curvature of their paths, 1/m, positive to the left.
        camera: the camera of the frames.

    Returns:
        (n,) by how much the correlation of two frames is higher on these paths than on those to the other side.
    """
    bend = np.abs(curvature_per_m)
    rows = spread(driving(samples) & (bend >= _STRAIGHT_PER_M) & (bend < _SHARPEST_PER_M))
    frames, speed_mps = _grey(samples, rows), samples.signals["vEgo"].to_numpy(np.float64)[rows]
    one = np.ones(1)
    gains = [
        _matches(frames[:, k : k + 2], speed_mps, curvature_per_m[rows], one, camera)
        - _matches(frames[:, k : k + 2], speed_mps, -curvature_per_m[rows], one, camera)
        for k in range(2)
    ]
    found = np.concatenate(gains)
    return found[np.isfinite(found)]


def spread(chosen: BoolArray) -> IntArray:
    """Return the rows of some chosen samples, at even distances."""
    rows = np.flatnonzero(chosen)
    return rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_SAMPLES).astype(np.int64))] if len(rows) else rows


def _grey(samples: Samples, rows: IntArray) -> FloatArray:
    """Return (n, 3, 64, 128) grey frames without what moves with the car, such as its bonnet and its headlights.

    That is what the frames of a scene have in common; of scenes with few samples, what all frames have in common.
    """
    grey = samples.frames[rows].mean(axis=-1, dtype=np.float64)
    _, scene, sizes = np.unique(samples.scenes[rows], return_inverse=True, return_counts=True)
    group = np.where(sizes >= _FEWEST_OF_SCENE, np.arange(len(sizes)), -1)[scene]
    for one in np.unique(group):
        grey[group == one] -= grey[group == one].mean(axis=0)
    return np.asarray(grey)


def _matches(
    pair: FloatArray, speed_mps: FloatArray, curvature_per_m: FloatArray, multiples: FloatArray, camera: FrameCamera
) -> FloatArray:
    """Return the (n, M) correlation of the road in (n, 2) frames, by the multiple of vEgo's distance that is driven."""
    near_m = np.tile(first_row_m(camera) + np.linspace(0, _LENGTH_M, _ROWS), (len(pair), 1))
    paths = Paths(curvature_per_m, *(0 * speed_mps for _ in range(3)))
    now, before = (_road(pair[:, k], paths, near_m, camera) for k in range(2))
    found = np.empty((len(pair), len(multiples)))
    for column, multiple in enumerate(multiples):
        driven_m = (multiple * _BETWEEN_S * speed_mps)[:, None]
        if multiple < 0:
            found[:, column] = _correlation(_road(pair[:, 0], paths, near_m - driven_m, camera), before)
        else:
            found[:, column] = _correlation(now, _road(pair[:, 1], paths, near_m + driven_m, camera))
    return found


def _road(frames: FloatArray, paths: Paths, distance_m: FloatArray, camera: FrameCamera) -> FloatArray:
    """Return the (n, rows, columns) grey of the road at (n, rows) distances along the paths; NaN outside the frame."""
    points_m = paths.points_m(distance_m, np.linspace(_HALF_WIDTH_M, -_HALF_WIDTH_M, _COLUMNS))
    pixels = camera.project(np.concatenate([points_m, 0 * points_m[..., :1]], axis=-1)) / camera.image_size_px
    u, v = np.moveaxis(pixels * (FRAME_WIDTH_PX, FRAME_HEIGHT_PX), -1, 0)
    seen = (u >= 0) & (u <= FRAME_WIDTH_PX - 1) & (v >= 0) & (v <= FRAME_HEIGHT_PX - 1)
    row = np.broadcast_to(np.arange(len(frames))[:, None, None], u.shape)
    found = map_coordinates(frames, [row, np.nan_to_num(v), np.nan_to_num(u)], order=1, mode="nearest")
    return np.where(seen, found, np.nan)


def _correlation(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the (n,) correlation of two roads, column by column; NaN where they share too few points.

    Lines along the road look the same at all distances, so each column's mean is taken away.
    """
    shared = np.isfinite(one) & np.isfinite(other)
    rows = np.maximum(shared.sum(axis=1, keepdims=True), 1)
    centred = [
        np.where(shared, grey - np.where(shared, grey, 0).sum(axis=1, keepdims=True) / rows, 0) for grey in (one, other)
    ]
    product, ones, others = (np.einsum("nrc,nrc->n", centred[i], centred[j]) for i, j in ((0, 1), (0, 0), (1, 1)))
    correlation = product / np.sqrt(np.maximum(ones * others, 1e-9))
    return np.where(shared.sum(axis=(1, 2)) >= _FEWEST_POINTS, correlation, np.nan)
