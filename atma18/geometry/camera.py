"""Camera: project points of the road into a frame, and find the point of the road that a pixel shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, FloatArray, first_few, one_line, shown
from atma18.storage import reading, strict_json

_MOST_BYTES = 2**16  # four keys with 15 numbers, and room for comments
_KEYS = ("intrinsics_px", "image_size_px", "position_m", "height_above_road_m")


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera that looks along the vehicle's x axis, without pitch, roll or distortion."""

    intrinsics_px: FloatArray
    """(3, 3) pixels of an image of `image_size_px`; the last row is 0, 0, 1."""
    image_size_px: tuple[int, int]
    """Width, height."""
    position_m: FloatArray
    """(3,) metres in the vehicle frame; the projection uses x and y, and `height_above_road_m` for the height."""
    height_above_road_m: float
    z_up: bool
    """Whether a larger z is higher in the image: True for every `camera.json`, False for the published formula."""

    def __post_init__(self) -> None:
        _check("intrinsics_px of shape (3, 3)", self.intrinsics_px, self.intrinsics_px.shape == (3, 3))
        focal_px, last_row = np.diag(self.intrinsics_px)[:2], self.intrinsics_px[2].tolist()
        _check("focal lengths above 0 px", focal_px, bool((focal_px > 0).all()))
        _check("0, 0, 1 as last row of intrinsics_px", last_row, last_row == [0, 0, 1])
        _check("finite intrinsics_px", self.intrinsics_px, bool(np.isfinite(self.intrinsics_px).all()))
        _check("image_size_px above 0", self.image_size_px, min(self.image_size_px) > 0)
        _check("position_m of 3 finite numbers", self.position_m, self.position_m.shape == (3,))
        _check("position_m of 3 finite numbers", self.position_m, bool(np.isfinite(self.position_m).all()))
        _check("height_above_road_m above 0", self.height_above_road_m, 0 < self.height_above_road_m < np.inf)

    @classmethod
    def read(cls, path: Path, root: Path | None = None) -> Self:
        """Read a `camera.json`; unknown keys are ignored.

        Args:
            path: path of the file.
            root: the resolved folder that a link may not leave; None for the folder of the file.

        Raises:
            ValueError: If the file is not a camera; the message names the file, what was expected and what was found.
        """
        content = reading.read_bytes(path, path.parent.resolve() if root is None else root, _MOST_BYTES)
        try:
            return cls.from_json_dict(strict_json.loads(content))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def from_json_dict(cls, camera: object) -> Self:
        """Build a camera from the content of a `camera.json`.

        Raises:
            ValueError: If the content is not a camera.
        """
        if not isinstance(camera, dict):
            raise ValueError(f"expected an object with {', '.join(_KEYS)}, found {type(camera).__name__}")
        if missing := [key for key in _KEYS if key not in camera]:
            raise ValueError(f"expected {', '.join(_KEYS)}, found no {first_few(missing, len(_KEYS))}")
        width_px, height_px = _numbers(camera, "image_size_px", (2,)).tolist()
        if not (width_px.is_integer() and height_px.is_integer()):
            raise ValueError(f"image_size_px: expected whole pixels, found {[width_px, height_px]}")
        return cls(
            intrinsics_px=_numbers(camera, "intrinsics_px", (3, 3)),
            image_size_px=(int(width_px), int(height_px)),
            position_m=_numbers(camera, "position_m", (3,)),
            height_above_road_m=float(_numbers(camera, "height_above_road_m", ())),
            z_up=True,
        )

    def to_json_dict(self) -> dict[str, Any]:
        """Return the content of a `camera.json` for this camera, as plain lists and numbers."""
        return {
            "intrinsics_px": self.intrinsics_px.tolist(),
            "image_size_px": list(self.image_size_px),
            "position_m": self.position_m.tolist(),
            "height_above_road_m": self.height_above_road_m,
        }

    def project(self, waypoints_m: FloatArray) -> FloatArray:
        """Project points into the image.

        Args:
            waypoints_m: (..., 3) metres, vehicle frame; z relative to the road under the car.

        Returns:
            (..., 2) pixels, u to the right and v down; NaN where the point is not in front of the camera.
        """
        forward_m = waypoints_m[..., 0] - self.position_m[0]
        right_m = self.position_m[1] - waypoints_m[..., 1]
        down_m = self.height_above_road_m + (-1 if self.z_up else 1) * waypoints_m[..., 2]

        depth_m = np.where(forward_m > 0, forward_m, np.nan)
        rays = np.stack([right_m / depth_m, down_m / depth_m, depth_m / depth_m], axis=-1)
        pixels: FloatArray = rays @ self.intrinsics_px[:2].T
        return pixels

    def road_points(self) -> FloatArray:
        """Return the point of a flat road that each pixel shows.

        Returns:
            (height, width, 2) x and y in metres, vehicle frame; NaN at and above the horizon.
        """
        width_px, height_px = self.image_size_px
        u_px, v_px = np.meshgrid(np.arange(width_px), np.arange(height_px))
        pixels = np.stack([u_px, v_px, np.ones_like(u_px)], axis=-1)
        rays = pixels @ np.linalg.inv(self.intrinsics_px).T  # right, down, and 1 forward
        forward_m = self.height_above_road_m / np.where(rays[..., 1] > 0, rays[..., 1], np.nan)
        return np.stack([forward_m, -rays[..., 0] * forward_m], axis=-1) + self.position_m[:2]


def _check(expected: str, found: object, valid: bool) -> None:
    if not valid:
        raise ValueError(f"expected {expected}, found {one_line(str(found))}")


def _numbers(camera: dict[str, Any], key: str, shape: tuple[int, ...]) -> FloatArray:
    try:
        numbers = np.asarray(camera[key])
    except ValueError:  # a ragged list
        numbers = np.empty(0)
    if numbers.dtype.kind not in "iuf" or numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"{key}: expected finite numbers of shape {shape}, found {shown(camera[key])}")
    return numbers.astype(np.float64)


COMPETITION_CAMERA = Camera(
    intrinsics_px=np.array([[226.16438356, 0, 63.62426614], [0, 224.82352941, 11.76], [0, 0, 1]]),
    image_size_px=(FRAME_WIDTH_PX, FRAME_HEIGHT_PX),
    position_m=np.array([0.0, 0.0, 1.22]),
    height_above_road_m=1.22,
    z_up=False,
)
