"""The images that models read: frames, or grids of the road along the path of the fold's motion model."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from atma18.compute.once import once
from atma18.config import NetConfig
from atma18.geometry.kinematics import MotionModel
from atma18.geometry.path_grid import Paths, path_grids
from atma18.schema import FloatArray, FrameCamera, FrameRows, Samples, UInt8Array

_AT_ONCE = 128
_TURN_RAD, _SIDEWAYS = 0.03, 0.06
"""Standard deviations of the random turn of a path, and of its random curvature times its length. At its end they move
it aside by 0.03 times its length each; that is how far true waypoints lie beside the motion model's."""
_SHORTEST_M = 5.0


class Imaged(Protocol):
    """A configuration that names a view."""

    @property
    def view(self) -> str:
        """`frame` or `path`."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The number of frames in an image, its height and its width."""


def images_of(config: Imaged, samples: Samples, motion: FloatArray, camera: FrameCamera) -> FrameRows:
    """Return the N images of samples, which must not be mirrored.

    Args:
        config: the view.
        samples: N samples.
        motion: the numbers of the fold's motion model, for grids.
        camera: the camera of the training frames, for frames that do not know theirs.
    """
    if config.view == "frame":
        return samples.frames
    return FrameRows.of(_grids(config, samples, _paths(samples, MotionModel.of(motion)), camera))


def bent_images(
    config: NetConfig, samples: Samples, motion: FloatArray, camera: FrameCamera, generator: np.random.Generator
) -> Iterator[tuple[FrameRows, FloatArray]]:
    """Yield the images of samples along paths that are bent and turned at random, once for each of `bent_paths`.

    Yields:
        The N images, and (N, 18) metres by which the waypoints of the motion model move with its path.
    """
    model = MotionModel.of(motion)
    paths = _paths(samples, model)
    waypoints_m = model.waypoints_of(samples).reshape(len(samples), -1)
    for _ in range(config.bent_paths):
        turn_rad, sideways = generator.normal(0, [[_TURN_RAD], [_SIDEWAYS]], (2, len(samples)))
        bent = paths.bent(turn_rad, sideways / np.maximum(paths.length_m, _SHORTEST_M))
        yield FrameRows.of(_grids(config, samples, bent, camera)), bent.moved(waypoints_m) - waypoints_m


@once
def _paths(samples: Samples, model: MotionModel) -> Paths:
    return Paths.of(model, samples.signals)


def _grids(config: Imaged, samples: Samples, paths: Paths, camera: FrameCamera) -> UInt8Array:
    """Return (N, 1, rows, columns, 3) grids of the frames at t."""
    shape = config.image_shape
    grids = np.empty((len(samples), *shape, 3), np.uint8)
    for start in range(0, len(samples), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        frames = torch.from_numpy(np.ascontiguousarray(samples.frames[rows][:, 0]))
        found, _ = path_grids(frames, paths.take(rows), shape[1:], samples.frames.camera or camera)
        grids[rows, 0] = found.numpy()
    return grids
