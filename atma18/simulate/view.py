"""Projection into the camera: the camera's view of a road with bends and slopes, at one step of a drive."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, Float32Array, FloatArray
from atma18.simulate.road import Centreline, road_coordinates, seen_from
from atma18.simulate.scenes import CAMERA_M, Scene, under_camera

FAR_M = 180.0
NEAREST_M = 1.0
"""Objects closer to the camera are not drawn."""

FOCAL_X_PX, FOCAL_Y_PX = COMPETITION_CAMERA.intrinsics_px[[0, 1], [0, 1]].tolist()
CENTRE_PX, HORIZON_PX = COMPETITION_CAMERA.intrinsics_px[:2, 2].tolist()
CAMERA_HEIGHT_M = COMPETITION_CAMERA.height_above_road_m

_SECTIONS_M = np.concatenate([np.arange(-8, 40, 1.0), np.arange(40, 100, 2.0), np.arange(100, FAR_M + 5, 5.0)])
_COLUMNS_PX = np.arange(0, FRAME_WIDTH_PX + 1, 4)
"""Every fourth column: road coordinates change slowly along a row, so the others are interpolated."""
_PROFILE_M = np.geomspace(3.0, FAR_M, 80)


@dataclass(frozen=True, eq=False)
class View:
    """The view of a camera over a road; the frame of reference is that of the point of the road under it."""

    line: Centreline
    pose: FloatArray
    """(3,) x, y in m and heading in rad, world frame."""
    along_m: float
    """The camera's position along the road."""
    pitch_rad: float
    """Upward pitch relative to the road under the camera."""

    @classmethod
    def of(cls, scene: Scene, step: int) -> "View":
        """Return the view at a step."""
        driven = scene.drive
        pose, along_m = under_camera(driven.poses[step]), float(driven.along_m[step]) + CAMERA_M
        return cls(driven.route.centreline, pose, along_m, float(scene.pitch_rad[step]))

    def rise_m(self, forward_m: FloatArray | float) -> FloatArray:
        """Return the height of the road above the plane through the car's wheels, at (…) distances ahead."""
        there_m = self.line.heights_m(self.along_m + np.asarray(forward_m))
        here_m, grade = self.line.heights_m(self.along_m), self.line.grade_at(self.along_m)
        return np.asarray(there_m - here_m - grade * np.asarray(forward_m))

    @cached_property
    def forward_m(self) -> FloatArray:
        """(64,) distance of the ground in each row of pixels; NaN for sky."""
        # A ray descends by a fixed amount per metre; it hits the first ground that lies as low as the ray.
        sinking = np.minimum.accumulate((CAMERA_HEIGHT_M - self.rise_m(_PROFILE_M)) / _PROFILE_M)
        rays = (np.arange(FRAME_HEIGHT_PX) - HORIZON_PX) / FOCAL_Y_PX - self.pitch_rad
        return np.asarray(np.interp(-rays, -sinking, _PROFILE_M, right=np.nan))

    @cached_property
    def ground(self) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Coordinates of the pixels in the R rows of ground.

        (R, 128, 2) m ahead and to the left of the camera, (R, 128) m along the road, and (R, 128) m to its left.
        """
        forward_m = self.forward_m[np.isfinite(self.forward_m), None]
        left_m = (CENTRE_PX - _COLUMNS_PX) / FOCAL_X_PX * forward_m
        points_m = np.stack([np.broadcast_to(forward_m, left_m.shape), left_m], axis=-1).astype(np.float32)
        sections_m = self.along_m + _SECTIONS_M
        sections = self.local(self.line.poses(sections_m))
        road_m = road_coordinates(points_m.reshape(-1, 2), sections.astype(np.float32), sections_m)
        along_m, beside_m = (_every_column(column.reshape(left_m.shape)) for column in road_m)
        return np.stack([_every_column(points_m[..., axis]) for axis in range(2)], axis=-1), along_m, beside_m

    def local(self, poses: FloatArray) -> FloatArray:
        """Transform (…, 2 or 3) world poses into the frame of the view."""
        return seen_from(self.pose, poses)

    def boxes(
        self, world: FloatArray, width_m: FloatArray | float, low_m: FloatArray | float, high_m: FloatArray | float
    ) -> FloatArray:
        """Project upright rectangles that face the camera.

        Args:
            world: (B, 2 or 3) x and y of their middles in m, world frame; a heading is ignored.
            width_m: (B,) widths, or one for all.
            low_m: heights of the lower edges above the road.
            high_m: heights of the upper edges above the road.

        Returns:
            (B, 4) left, top, right, bottom in pixels; NaN behind the camera and beyond the view.
        """
        forward_m, left_m = self.local(world[:, :2]).T
        forward_m = np.where((forward_m > NEAREST_M) & (forward_m < FAR_M), forward_m, np.nan)
        across_px, down_px = FOCAL_X_PX / forward_m, FOCAL_Y_PX / forward_m
        down_m = CAMERA_HEIGHT_M - self.rise_m(forward_m) + self.pitch_rad * forward_m
        middle_px, ground_px = CENTRE_PX - across_px * left_m, HORIZON_PX + down_px * down_m
        half_px = across_px * width_m / 2
        return np.stack(
            [middle_px - half_px, ground_px - down_px * high_m, middle_px + half_px, ground_px - down_px * low_m],
            axis=-1,
        )


def _every_column(values: FloatArray | Float32Array) -> Float32Array:
    """Interpolate (R, 33) values of every fourth column to (R, 128)."""
    share = np.arange(4, dtype=np.float32) / 4
    between = values[:, :-1, None] * (1 - share) + values[:, 1:, None] * share
    return np.asarray(between.reshape(len(values), -1), dtype=np.float32)
