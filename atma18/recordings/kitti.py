"""KITTI raw, synchronised and rectified: a folder for each drive, the calibration of the day beside them.

Speed and acceleration are `vf` and `af` of `oxts`, in m/s and m/s². Poses are its position (by Mercator, as the devkit
does) and attitude: x forward, y left, z up; yaw 0 is east, counter-clockwise; pitch is positive with the front down.
Frames are those of `image_02`, with its own times. KITTI has no steering, pedals, gear or blinkers. Files belong
together by number, not by place in a list: a drive may have gaps.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from atma18.recordings.finding import files
from atma18.recordings.poses import Poses
from atma18.recordings.recording import Files, Lens, Recording
from atma18.recordings.signals import RecordingError, Signal, cause
from atma18.recordings.video import Pictures
from atma18.schema import FloatArray, first_few

_EARTH_M = 6378137.0
"""The radius in the devkit's `latlonToMercator`."""
_LATITUDE, _LONGITUDE, _ALTITUDE, _ROLL, _PITCH, _YAW = range(6)
_FORWARD_MPS, _FORWARD_MPS2 = 8, 14
_NUMBERS = 30
_IMU_HEIGHT_M = 0.93
"""Above the road, by the figure of the sensors on the data set's page."""
_CAMERA = "image_02"
_OLDEST_S = 0.25
_TOLERANCE_S = 0.06
"""About half of the 0.1 s between two frames."""


@dataclass(frozen=True)
class Drive:
    """One drive."""

    folder: Path

    @property
    def files(self) -> Files:
        """The files that are read."""
        folder, day = self.folder, self.folder.parent
        found = {f"{part}/timestamps.txt": folder / part / "timestamps.txt" for part in ("oxts", _CAMERA)}
        found |= {
            f"calib_{name}.txt": day / f"calib_{name}.txt" for name in ("cam_to_cam", "velo_to_cam", "imu_to_velo")
        }
        data = {"oxts/data": "oxts/data/*.txt", f"{_CAMERA}/data": f"{_CAMERA}/data/*.png"}
        several = {name: tuple(sorted(folder.glob(pattern))) for name, pattern in data.items()}
        return {name: path for name, path in found.items() if path.is_file()} | several


def find(folder: Path) -> list[Drive]:
    """Return the drives in a folder, or the one that it is; unrectified ones (`_extract`) are left out."""
    folders = [path.parents[1] for path in files(folder.resolve(), "oxts/timestamps.txt")]
    return [Drive(place) for place in folders if not place.name.endswith("_extract")]


def read(drive: Drive) -> Recording:
    """Read a drive.

    Raises:
        RecordingError: If a packet has no time, or if a table has another form.
    """
    stamps_s = _times(drive.folder / "oxts" / "timestamps.txt")
    packets = {int(path.stem): path for path in (drive.folder / "oxts" / "data").glob("*.txt") if path.stem.isdigit()}
    if late := sorted(number for number in packets if number >= len(stamps_s)):
        raise RecordingError(
            f"oxts: expected a time for every packet, found {len(stamps_s)} times and the packets {first_few(late)}: "
            "fetch this drive again"
        )
    numbers = sorted(packets)
    table = np.array([_packet(packets[number]) for number in numbers]).reshape(-1, _NUMBERS)
    times_s = stamps_s[numbers]
    film = _film(drive)
    return Recording(
        signals={
            "vEgo": Signal.of(times_s, table[:, _FORWARD_MPS], "oxts.vf", _OLDEST_S),
            "aEgo": Signal.of(times_s, table[:, _FORWARD_MPS2], "oxts.af", _OLDEST_S),
        },
        poses=_poses(times_s, table),
        frames=film,
        lens=_lens(drive.folder.parent, film.size_px) if film else None,
        clock="seconds since 1970 (timestamps.txt)",
        frame_tolerance_s=_TOLERANCE_S,
        remarks=("waypoints are those of the inertial unit: its distance to the rear axle is not in the files",),
    )


def _times(path: Path) -> FloatArray:
    """Return the moments of a table of times, one on each line, to the nanosecond."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        whole = [datetime.fromisoformat(f"{line[:19]}+00:00").timestamp() for line in lines]
        return np.array([second + float(f"0{line[19:]}") for second, line in zip(whole, lines, strict=True)])
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"times of {path.parent.name}: expected lines like 2011-09-26 13:02:25.594, found others ({cause(error)})"
        ) from error


def _packet(path: Path) -> FloatArray:
    try:
        numbers = np.array(path.read_text().split(), np.float64)
    except (OSError, ValueError) as error:
        raise RecordingError(
            f"oxts/{path.name}: expected {_NUMBERS} numbers, found something else ({cause(error)})"
        ) from error
    if len(numbers) != _NUMBERS:
        raise RecordingError(f"oxts/{path.name}: expected {_NUMBERS} numbers, found {len(numbers)}: fetch it again")
    return numbers


def _poses(times_s: FloatArray, table: FloatArray) -> Poses:
    scale = np.cos(np.deg2rad(table[0, _LATITUDE])) if len(table) else 1.0
    east_m = scale * _EARTH_M * np.deg2rad(table[:, _LONGITUDE])
    north_m = scale * _EARTH_M * np.log(np.tan(np.deg2rad(90 + table[:, _LATITUDE]) / 2))
    places_m = np.stack([east_m, north_m, table[:, _ALTITUDE]], axis=1)
    places_m = places_m - places_m[:1]
    axes = Rotation.from_euler("ZYX", table[:, [_YAW, _PITCH, _ROLL]]).as_matrix()
    return Poses(times_s, places_m, axes, "oxts: position and attitude", oldest_s=_OLDEST_S)


def _film(drive: Drive) -> Pictures | None:
    folder = drive.folder / _CAMERA
    paths = {int(path.stem): path for path in (folder / "data").glob("*.png") if path.stem.isdigit()}
    if not paths:
        return None
    stamps_s = _times(folder / "timestamps.txt")
    numbers = sorted(number for number in paths if number < len(stamps_s))
    return Pictures(stamps_s[numbers], [paths[number] for number in numbers])


def _lens(day: Path, size_px: tuple[int, int]) -> Lens:
    """Return the rectified camera 2 from the calibration of the day."""
    cameras = _calibration(day / "calib_cam_to_cam.txt")
    projection = cameras["P_rect_02"].reshape(3, 4)
    rectified = np.eye(4)
    rectified[:3, :3] = cameras["R_rect_00"].reshape(3, 3)
    camera_T_imu = (  # noqa: N806 - dst_T_src
        rectified @ _rigid(day / "calib_velo_to_cam.txt") @ _rigid(day / "calib_imu_to_velo.txt")
    )
    camera_T_imu[0, 3] += projection[0, 3] / projection[0, 0]  # camera 2 beside camera 0
    imu_T_camera = np.linalg.inv(camera_T_imu)  # noqa: N806
    forward_m, left_m, up_m = imu_T_camera[:3, 3].tolist()
    right, down, forward = camera_T_imu[:3, 0]
    focal_px = float(projection[0, 0]), float(projection[1, 1])
    ahead_px = (
        float(projection[0, 2]) + focal_px[0] * right / forward,
        float(projection[1, 2]) + focal_px[1] * down / forward,
    )
    return Lens(focal_px, ahead_px, size_px, _IMU_HEIGHT_M + up_m, forward_m, left_m)


def _rigid(path: Path) -> FloatArray:
    found = _calibration(path)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = found["R"].reshape(3, 3), found["T"]
    return matrix


def _calibration(path: Path) -> dict[str, FloatArray]:
    """Return the rows of numbers of a calibration file, by name."""
    try:
        rows = [line.split(":", 1) for line in path.read_text().splitlines() if ":" in line]
    except OSError as error:
        raise RecordingError(
            f"{path.name}: expected the calibration of the day beside its drives, found none"
        ) from error
    found = {}
    for name, text in rows:
        try:
            found[name] = np.array(text.split(), np.float64)
        except ValueError:  # the date
            continue
    wanted = ("P_rect_02", "R_rect_00") if "cam_to_cam" in path.name else ("R", "T")
    if missing := [name for name in wanted if name not in found]:
        raise RecordingError(
            f"{path.name}: expected the rows {' and '.join(wanted)}, found no {first_few(missing)}: fetch it again"
        )
    return found
