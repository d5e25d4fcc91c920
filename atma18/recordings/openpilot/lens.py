"""The road cameras of comma's devices."""

import numpy as np
from scipy.spatial.transform import Rotation

from atma18.recordings.recording import Lens
from atma18.recordings.video import Tags
from atma18.schema import FloatArray

_CAMERA_TO_AXLE_M = 1.7
"""How far a device behind the windscreen rides in front of the rear axle."""
_HEIGHT_M = 1.22
_SENSORS = {3: (1344, 760, 1141.5)}
"""By `FrameData.sensor`, width, height and focal length in pixels of a road camera that its shape does not tell
(openpilot, common/transformations/camera.py: os04c10)."""
_BY_SHAPE = ((1928, 1208, 2648.0), (1164, 874, 910.0))
"""The road cameras of comma 3 and 3X, and of comma two, told apart by the shape of the picture."""


def road_camera(tags: Tags, sensor: int, turned: Rotation, heights_m: FloatArray) -> Lens:
    """Return the road camera, which looks along the device's x axis.

    Args:
        tags: of the video, whose picture may be a smaller one of the camera's.
        sensor: the number of the camera's kind; 0 if the log does not tell it.
        turned: from the car's axes (forward, right, down) to the device's.
        heights_m: what the calibration says of the height above the road, the last one last.
    """
    width, height = tags.size_px
    full = _SENSORS.get(sensor) or min(_BY_SHAPE, key=lambda shape: abs(shape[0] / shape[1] - width / height))
    focal_px = full[2] * width / full[0], full[2] * height / full[1]
    forward, right, down = turned.apply([1.0, 0.0, 0.0])
    ahead_px = width / 2 + focal_px[0] * right / forward, height / 2 + focal_px[1] * down / forward
    known_m = heights_m[np.isfinite(heights_m)]
    return Lens(
        focal_px,
        ahead_px,
        (width, height),
        float(known_m[-1]) if len(known_m) else _HEIGHT_M,
        _CAMERA_TO_AXLE_M,
    )
