"""The road along the path that a car is about to drive, resampled from frames to grids.

A cell of a grid is a point of a flat road: rows are distances along the path, columns are offsets to the left and right
of it. Where the road bends as the path does, it stays in the middle columns; where it leaves them, the car will turn.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from atma18.geometry.kinematics import MotionModel
from atma18.schema import AXES, FloatArray, FrameCamera, IntArray

if TYPE_CHECKING:  # torch is imported where frames are resampled: pictures of the geometry do without it
    from torch import Tensor

HALF_WIDTH_M = 6.0
"""The offset of the outer columns from the path: the lane, its neighbours, and the kerb."""
BEYOND = 1.25
"""The last row's distance, as a multiple of the distance that the car drives in 3 s."""
_LOWEST = 0.95
"""The first row stands at this share of the frame's height, so that the camera sees all of it."""
_SHORTEST = 2.0
"""The last row's least distance, as a multiple of the first row's: a standing car has a path too."""
_IN_FRONT_M = 0.1


@dataclass(frozen=True)
class Paths:
    """N paths that start at the cars' origin in their direction: circles, which may be bent and turned further."""

    curvature_per_m: FloatArray
    """(N,) 1/m, positive to the left."""
    length_m: FloatArray
    """(N,) metres that the car drives in 3 s."""
    turn_rad: FloatArray
    """(N,) further turn at the start, rad, positive to the left."""
    bend_per_m: FloatArray
    """(N,) further curvature, 1/m, positive to the left."""

    @classmethod
    def of(cls, motion: MotionModel, signals: pd.DataFrame) -> Self:
        """Return the paths of a motion model for N rows of signals."""
        curvature_per_m, length_m = motion.arcs(signals)
        none = np.zeros(len(signals))
        return cls(curvature_per_m, length_m, none, none)

    def __len__(self) -> int:
        return len(self.length_m)

    def take(self, rows: slice | IntArray) -> Self:
        """Return some of the paths."""
        return type(self)(self.curvature_per_m[rows], self.length_m[rows], self.turn_rad[rows], self.bend_per_m[rows])

    def bent(self, turn_rad: FloatArray, bend_per_m: FloatArray) -> Self:
        """Turn and bend the paths by (N,) values."""
        return replace(self, turn_rad=turn_rad, bend_per_m=bend_per_m)

    def aside_m(self, distance_m: FloatArray) -> FloatArray:
        """Return how far turn and bend move the points at these (N, ...) distances to the left, metres.

        For small angles: the turn times the distance, and half the curvature times its square.
        """
        turn_rad, bend_per_m = (
            values.reshape(-1, *(1,) * (distance_m.ndim - 1)) for values in (self.turn_rad, self.bend_per_m)
        )
        return np.asarray(distance_m * (turn_rad + distance_m * bend_per_m / 2))

    def moved(self, waypoints_m: FloatArray) -> FloatArray:
        """Move (N, 18) waypoints in metres, vehicle frame at t, aside by as much as the path at their distance."""
        points_m = waypoints_m.reshape(len(self), -1, len(AXES))
        steps_m = np.diff(points_m[..., :2], axis=1, prepend=0.0)
        distance_m = np.cumsum(np.linalg.norm(steps_m, axis=-1), axis=1)
        heading_rad = self.curvature_per_m[:, None] * distance_m
        aside_m = self.aside_m(distance_m)
        change_m = np.stack([-np.sin(heading_rad) * aside_m, np.cos(heading_rad) * aside_m, 0 * aside_m], axis=-1)
        return np.asarray((points_m + change_m).reshape(waypoints_m.shape))

    def distances_m(self, camera: FrameCamera, rows: int) -> FloatArray:
        """Return the (N, rows) distances of a grid's rows from the car's origin along the path, metres, ascending."""
        near_m = first_row_m(camera)
        ahead_m = np.maximum(BEYOND * self.length_m, _SHORTEST * near_m)
        share = np.linspace(0, 1, rows)
        return np.asarray(near_m + share * (ahead_m - near_m)[:, None])

    def points_m(self, distance_m: FloatArray, offset_m: FloatArray) -> FloatArray:
        """Return the (N, rows, columns, 2) points x, y in metres, vehicle frame at t.

        Args:
            distance_m: (N, rows) metres along the path.
            offset_m: (columns,) metres to the left of the path.
        """
        # The chord of an arc of angle 2b is sinc(b) times its length, at an angle b.
        bearing_rad = self.curvature_per_m[:, None] * distance_m / 2
        chord_m = distance_m * np.sinc(bearing_rad / np.pi)
        middle_m = chord_m[..., None] * np.stack([np.cos(bearing_rad), np.sin(bearing_rad)], axis=-1)
        left = np.stack([-np.sin(2 * bearing_rad), np.cos(2 * bearing_rad)], axis=-1)
        aside_m = self.aside_m(distance_m)[..., None] + offset_m  # (N, rows, columns)
        return np.asarray(middle_m[:, :, None] + aside_m[..., None] * left[:, :, None])


def first_row_m(camera: FrameCamera) -> float:
    """Return the distance in metres of a grid's first row from the car's origin."""
    focal_px, centre_px = camera.intrinsics_px[1, 1:]
    below = _LOWEST * camera.image_size_px[1] - centre_px
    if below <= 0:
        raise ValueError(
            f"expected a camera that sees the road, found its horizon at {centre_px:.1f} px of "
            f"{camera.image_size_px[1]} px: check camera.json"
        )
    return float(camera.position_m[0] + focal_px * camera.height_above_road_m / below)


def offsets_m(columns: int) -> FloatArray:
    """Return the (columns,) offsets of a grid's columns from the path in metres, from left to right."""
    return np.linspace(HALF_WIDTH_M, -HALF_WIDTH_M, columns)


def path_grids(frames: "Tensor", paths: Paths, shape: tuple[int, int], camera: FrameCamera) -> "tuple[Tensor, Tensor]":
    """Resample frames to grids along paths.

    Args:
        frames: (N, H, W, 3) RGB bytes on any device, at t.
        paths: the N paths.
        shape: rows and columns.
        camera: the camera of the frames, which may have another size than `camera.image_size_px`.

    Returns:
        (N, rows, columns, 3) bytes, where the first row is the nearest and the first column is on the left; and
        (N, rows, columns), True where the frame shows the point of a cell. Outside the frame the colour is 0.

    Raises:
        ValueError: If there is not one path for each frame, or the camera sees no road.
    """
    import torch
    from torch.nn import functional as F

    if len(frames) != len(paths):
        raise ValueError(f"expected a path for each of {len(frames)} frames, found {len(paths)}")
    size_px = torch.tensor([frames.shape[2], frames.shape[1]], device=frames.device)
    share = torch.from_numpy((cell_pixels(paths, shape, camera) / camera.image_size_px).astype(np.float32))
    pixels = share.to(frames.device) * size_px
    seen = ((pixels >= 0) & (pixels <= size_px - 1)).all(dim=-1)  # False for NaN, too
    where = (2 * pixels / (size_px - 1) - 1).nan_to_num(2.0)
    colours = F.grid_sample(frames.permute(0, 3, 1, 2).float(), where, align_corners=True) * seen[:, None]
    return colours.permute(0, 2, 3, 1).round().to(torch.uint8), seen


def cell_pixels(paths: Paths, shape: tuple[int, int], camera: FrameCamera) -> FloatArray:
    """Return the (N, rows, columns, 2) pixels of the cells of N grids; NaN beside and behind the camera.

    Args:
        paths: the N paths.
        shape: rows and columns.
        camera: the camera; pixels are those of an image of `camera.image_size_px`.
    """
    rows, columns = shape
    points_m = paths.points_m(paths.distances_m(camera, rows), offsets_m(columns))
    in_front = points_m[..., :1] - camera.position_m[0] > _IN_FRONT_M
    road_m = np.concatenate([points_m, np.zeros_like(points_m[..., :1])], axis=-1)
    return camera.project(np.where(in_front, road_m, np.nan))
