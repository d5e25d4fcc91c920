"""comma2k19: a minute for each segment, with signals of the CAN bus, and poses of the device at every frame.

Speed and steering (degrees, positive to the left) come from `processed_log/CAN`. Positions in `global_pose` are ECEF
metres; orientations w, x, y, z turn the device's axes (forward, right, down) into ECEF's. The readme's words "rotate
from ECEF to local" read the other way round; the direction of travel shows which is true. The device is mounted a
little askew: its axes are turned so that the car drives along x in the median. The frames of `video.hevc` are counted.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from atma18.recordings import video
from atma18.recordings.finding import files
from atma18.recordings.poses import Poses
from atma18.recordings.recording import Files, Lens, Recording
from atma18.recordings.signals import RecordingError, Signal, cause
from atma18.schema import FloatArray

_CAMERA_TO_AXLE_M, _HEIGHT_M = 1.7, 1.22
_FULL_PX, _FOCAL_PX = (1164, 874), 910.0
"""comma's EON (openpilot, common/transformations/camera.py)."""
_DRIVES_MPS = 5.0
_SIGNALS = {"vEgo": "speed", "steeringAngleDeg": "steering_angle"}
_UP_IS_DOWN = np.diag([1.0, -1.0, -1.0])
"""From forward, left, up to forward, right, down."""


@dataclass(frozen=True)
class Segment:
    """A minute of a drive."""

    folder: Path

    @property
    def files(self) -> Files:
        """The files that are read."""
        names = [f"global_pose/frame_{what}" for what in ("times", "positions", "orientations", "velocities")]
        names += [f"processed_log/CAN/{name}/{part}" for name in _SIGNALS.values() for part in ("t", "value")]
        return {name: self.folder / name for name in (*names, "video.hevc") if (self.folder / name).is_file()}


def find(folder: Path) -> list[Segment]:
    """Return the segments in a folder, or the one that it is."""
    return [Segment(found.parents[1]) for found in files(folder, "global_pose/frame_times")]


def read(segment: Segment) -> Recording:
    """Read a segment.

    Raises:
        RecordingError: If a table is missing, or has other lengths than its times.
    """
    times_s = _numbers(segment, "global_pose/frame_times").ravel()
    positions_m, velocities_mps, quaternions = (
        _numbers(segment, f"global_pose/frame_{what}", len(times_s))
        for what in ("positions", "velocities", "orientations")
    )
    ecef_R_device = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]])  # noqa: N806 - dst_R_src
    mounting, speed_mps = _mounting(ecef_R_device.inv().apply(velocities_mps))
    axes = _along_travel(
        times_s, Rotation.from_matrix((ecef_R_device * mounting).as_matrix() @ _UP_IS_DOWN), velocities_mps
    )
    poses = Poses(times_s, positions_m, axes.as_matrix(), "frame_positions and frame_orientations", _CAMERA_TO_AXLE_M)
    signals = {name: _signal(segment, folder) for name, folder in _SIGNALS.items()}
    film, tags = _film(segment, times_s)
    forward, right, down = mounting.apply([1.0, 0.0, 0.0])
    size_px = tags.size_px if tags else _FULL_PX
    focal_px = _FOCAL_PX * size_px[0] / _FULL_PX[0], _FOCAL_PX * size_px[1] / _FULL_PX[1]
    ahead_px = size_px[0] / 2 + focal_px[0] * right / forward, size_px[1] / 2 + focal_px[1] * down / forward
    return Recording(
        signals=signals,
        poses=poses,
        frames=film,
        lens=Lens(focal_px, ahead_px, size_px, _HEIGHT_M, _CAMERA_TO_AXLE_M),
        clock="seconds since the device started (frame_times)",
        remarks=_speed_remark(signals["vEgo"], times_s, speed_mps),
        facts={"video": tags and asdict(tags)},
    )


def _mounting(device_mps: FloatArray) -> tuple[Rotation, FloatArray]:
    """Return the rotation from the car's forward, right, down axes to the device's, and the (N,) speed in m/s."""
    speed_mps = np.linalg.norm(device_mps, axis=1)
    driven = device_mps[speed_mps > _DRIVES_MPS]
    if not len(driven):
        return Rotation.identity(), speed_mps
    forward, right, down = np.median(driven, axis=0)
    if forward < 0:
        raise RecordingError(
            "expected a device that looks where the car drives, found one that looks back: are orientations w, x, y, z?"
        )
    return Rotation.from_euler(
        "ZY", [np.arctan2(right, forward), -np.arctan2(down, np.hypot(forward, right))]
    ), speed_mps


def _along_travel(times_s: FloatArray, axes: Rotation, velocities_mps: FloatArray) -> Rotation:
    """Turn the (N,) axes of a driving car about its z axis, so that the rear axle does not slip sideways.

    The orientations wander by some tenths of a degree, which is 0.1 m at 50 m.
    """
    following = np.minimum(np.arange(len(times_s)) + 1, len(times_s) - 1)
    yaw_rate_radps = (axes.inv() * axes[following]).as_rotvec()[:, 2] / np.gradient(times_s)
    forward_mps, left_mps, _ = axes.inv().apply(velocities_mps).T
    slip_rad = np.arctan2(left_mps - yaw_rate_radps * _CAMERA_TO_AXLE_M, forward_mps)
    return axes * Rotation.from_rotvec(np.outer(np.where(forward_mps > _DRIVES_MPS, slip_rad, 0.0), [0, 0, 1]))


def _signal(segment: Segment, name: str) -> Signal:
    times_s = _numbers(segment, f"processed_log/CAN/{name}/t").ravel()
    values = _numbers(segment, f"processed_log/CAN/{name}/value", len(times_s)).ravel()
    return Signal.of(times_s, values, f"processed_log/CAN/{name}")


def _film(segment: Segment, times_s: FloatArray) -> tuple[video.Video | None, video.Tags | None]:
    path = segment.folder / "video.hevc"
    if not path.is_file():
        return None, None
    packets = video.packets(path)
    if packets.count != len(times_s):
        raise RecordingError(
            f"video.hevc: expected {len(times_s)} frames, as many as frame_times, found {packets.count}: fetch it again"
        )
    return video.Video([video.Clip(path, times_s, None)]), packets.tags


def _numbers(segment: Segment, name: str, length: int | None = None) -> NDArray[np.float64]:
    """Read a table of numbers; it is a `.npy` file without its ending."""
    path = segment.folder / name
    try:
        table = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecordingError(
            f"{name}: expected a NumPy table, found none ({cause(error)}): fetch this segment again"
        ) from error
    if table.dtype.kind not in "iuf" or (length is not None and len(table) != length):
        raise RecordingError(f"{name}: expected {length or 'some'} numbers, found {table.shape} of {table.dtype}")
    return np.asarray(table, np.float64)


def _speed_remark(speed: Signal, times_s: FloatArray, measured_mps: FloatArray) -> tuple[str, ...]:
    own, known = speed.interpolated(times_s)
    used = known & (measured_mps > _DRIVES_MPS)
    if not used.any():
        return ()
    ratio = float(np.median(own[used] / measured_mps[used]))
    return (f"the speed of the CAN bus is {ratio:.3f} times that of the poses; both are kept as they are",)
