"""The part of a picture that becomes a frame, and the camera that would have seen just this part.

The window is placed by what lies far ahead of the car, so one `camera.json` is true for all drives of a folder, however
each camera was mounted: for small angles, a camera that is turned sees the same picture, moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from atma18.geometry.camera import COMPETITION_CAMERA, Camera
from atma18.recordings.recording import Lens
from atma18.recordings.signals import RecordingError
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, FloatArray, UInt8Array, first_few

_LOWER, _UPPER = slice(0, 2), slice(2, 4)


@dataclass(frozen=True, eq=False)
class Window:
    """What frames show, as tangents of angles from the vehicle's x direction."""

    bounds: FloatArray
    """(4,) left, top, right, bottom; to the right and down is positive."""

    @classmethod
    def for_drives(cls, lenses: Sequence[Lens], crop: str) -> "Window":
        """Return the window that all of some pictures can fill.

        Args:
            lenses: the lenses of the drives.
            crop: `competition`, its camera's window where the pictures allow it: otherwise moved, and made smaller if
                it must be; or `whole`, the largest part that all pictures have.

        Raises:
            RecordingError: If the pictures have no part in common.
        """
        seen = np.array([_seen(lens) for lens in lenses])
        shared = np.concatenate([seen[:, _LOWER].max(axis=0), seen[:, _UPPER].min(axis=0)])
        if (shared[_UPPER] <= shared[_LOWER]).any():
            sizes = first_few(f"{lens.size_px[0]} x {lens.size_px[1]} px" for lens in lenses)
            raise RecordingError(
                f"expected cameras that look ahead, with pictures that overlap, found {sizes} that do not: give each "
                "camera a folder of its own"
            )
        return cls(shared if crop == "whole" else _fitted(_of_competition(), shared))

    def box_px(self, lens: Lens) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom of the window in a lens's picture."""
        focal, ahead = np.tile(lens.focal_px, 2), np.tile(lens.ahead_px, 2)
        left, top, right, bottom = np.clip(self.bounds * focal + ahead, 0, np.tile(lens.size_px, 2)).tolist()
        return left, top, right, bottom

    def frame(self, picture: UInt8Array, lens: Lens) -> UInt8Array:
        """Return a picture's window as a (64, 128, 3) frame; each of its pixels is the mean of an area."""
        image = Image.fromarray(picture)
        size = (FRAME_WIDTH_PX, FRAME_HEIGHT_PX)
        return np.asarray(image.resize(size, Image.Resampling.BOX, box=self.box_px(lens)))

    def camera(self, lens: Lens, point_m: float) -> Camera:
        """Return the camera of the frames.

        Args:
            lens: the lens of a drive, for where it is mounted.
            point_m: how far in front of the rear axle the point lies whose waypoints are written.
        """
        size = np.array([FRAME_WIDTH_PX, FRAME_HEIGHT_PX])
        focal_px = size / (self.bounds[_UPPER] - self.bounds[_LOWER])
        centre_px = -self.bounds[_LOWER] * focal_px
        return Camera(
            intrinsics_px=np.array([[focal_px[0], 0, centre_px[0]], [0, focal_px[1], centre_px[1]], [0, 0, 1]]),
            image_size_px=(FRAME_WIDTH_PX, FRAME_HEIGHT_PX),
            position_m=np.array([lens.forward_m - point_m, lens.left_m, lens.height_m]),
            height_above_road_m=lens.height_m,
            z_up=True,
        )


def _seen(lens: Lens) -> FloatArray:
    """Return the bounds of a whole picture."""
    focal, ahead = np.tile(lens.focal_px, 2), np.tile(lens.ahead_px, 2)
    return np.asarray((np.array([0, 0, *lens.size_px]) - ahead) / focal)


def _of_competition() -> FloatArray:
    """Return the bounds of the competition's frames."""
    matrix = COMPETITION_CAMERA.intrinsics_px
    focal_px, centre_px = np.diag(matrix)[:2], matrix[:2, 2]
    return np.concatenate([-centre_px, np.array(COMPETITION_CAMERA.image_size_px) - centre_px]) / np.tile(focal_px, 2)


def _fitted(wanted: FloatArray, allowed: FloatArray) -> FloatArray:
    """Return the wanted bounds, made smaller around the point ahead if they must be, and moved as little as need be."""
    shrink = min(1.0, float(((allowed[_UPPER] - allowed[_LOWER]) / (wanted[_UPPER] - wanted[_LOWER])).min()))
    low, high = shrink * wanted[_LOWER], shrink * wanted[_UPPER]
    shift = np.maximum(allowed[_LOWER] - low, 0) + np.minimum(allowed[_UPPER] - high, 0)
    return np.concatenate([low + shift, high + shift])
