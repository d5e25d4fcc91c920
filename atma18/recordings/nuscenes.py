"""nuScenes with its CAN bus expansion, read from its JSON tables: the devkit needs NumPy 1.

Speed, acceleration and poses come from `pose` (50 Hz): the rear axle, x forward, y left, z up, quaternions w, x, y, z.
Steering is `steeranglefeedback` (100 Hz), radians of the steering wheel, positive to the left. Pedals, gear and
blinkers come from `vehicle_monitor` (2 Hz): brake 0–126, throttle 0–1000, and `brake_switch` 1 is not pressed. The
wheel speeds (in revolutions) and the speed of `vehicle_monitor` are late and not used. The name of a picture's file has
its time.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from atma18.recordings.finding import files
from atma18.recordings.poses import Poses
from atma18.recordings.recording import Files, Lens, Recording
from atma18.recordings.signals import RecordingError, Signal, cause
from atma18.recordings.video import Pictures
from atma18.schema import GEAR, FloatArray
from atma18.storage import strict_json

_WITHOUT = frozenset((*range(161, 169), *range(170, 177), *range(309, 315)))
"""Scenes whose CAN bus is missing or wrong, by the readme of the expansion."""
_GEARS = {0: "park", 1: "reverse", 2: "neutral", 7: "drive"}
_MOST_BRAKE, _MOST_THROTTLE = 126, 1000
_OLDEST_S = 0.65
"""Of values that come twice a second."""
_TOLERANCE_S = 0.11
"""Key frames follow each other in 0.4 to 0.6 s."""
_NAME = re.compile(r".*__CAM_FRONT__(?P<microseconds>[0-9]{10,18})")
_TABLES = ("pose", "steeranglefeedback", "vehicle_monitor")
_CAMERA_TABLES = ("sensor", "calibrated_sensor")
_CAMERA = "CAM_FRONT"
_EDGE_S = 0.5


@dataclass(frozen=True)
class Scene:
    """20 s of a drive."""

    root: Path
    name: str

    @property
    def files(self) -> Files:
        """The files that are read."""
        found = {f"can_bus {table}": self.root / "can_bus" / f"{self.name}_{table}.json" for table in _TABLES}
        found |= {f"tables {path.stem}": path for path in _camera_tables(self)}
        return {what: path for what, path in found.items() if path.is_file()} | {"pictures": self._pictures}

    @property
    def _pictures(self) -> tuple[Path, ...]:
        try:
            return tuple(_pictures(self, _column(_table(self, "pose"), "utime") * 1e-6).values())
        except RecordingError:  # said when the scene is read
            return ()


def find(folder: Path) -> list[Scene]:
    """Return the scenes in a folder that have a CAN bus; those whose CAN bus is known to be wrong are left out."""
    scenes = [
        Scene(path.parents[1], path.name.removesuffix("_pose.json")) for path in files(folder, "can_bus/*_pose.json")
    ]
    return sorted((scene for scene in scenes if _number(scene.name) not in _WITHOUT), key=lambda scene: scene.name)


def read(scene: Scene) -> Recording:
    """Read a scene.

    Raises:
        RecordingError: If a table is missing or has another form.
    """
    pose, steering = _table(scene, "pose"), _table(scene, "steeranglefeedback")
    pose_s = _column(pose, "utime") * 1e-6
    velocity, acceleration = _column(pose, "vel"), _column(pose, "accel")
    signals = {
        "vEgo": Signal.of(pose_s, velocity[:, 0], "pose.vel"),
        "aEgo": Signal.of(pose_s, acceleration[:, 0], "pose.accel"),
        "steeringAngleDeg": Signal.of(
            _column(steering, "utime") * 1e-6, np.rad2deg(_column(steering, "value")), "steeranglefeedback.value"
        ),
    }
    remarks = []
    if (scene.root / "can_bus" / f"{scene.name}_vehicle_monitor.json").is_file():
        signals |= _monitored(_table(scene, "vehicle_monitor"))
    else:
        remarks.append("no vehicle_monitor: pedals, gear and blinkers are missing")
    pictures = _pictures(scene, pose_s)
    film = Pictures(np.array(list(pictures)), list(pictures.values())) if pictures else None
    lens, exact = _lens(scene, film)
    if lens is not None and not exact:
        remarks.append("no sample_data: the camera is the median of all logs' front cameras, which differ little")
    quaternions = _column(pose, "orientation")[:, [1, 2, 3, 0]]
    times_s, first = np.unique(pose_s, return_index=True)
    return Recording(
        signals=signals,
        poses=Poses(
            times_s,
            _column(pose, "pos")[first],
            Rotation.from_quat(quaternions[first]).as_matrix(),
            "pose.pos and pose.orientation",
        ),
        frames=film,
        lens=lens,
        clock="seconds since 1970 (utime)",
        frame_tolerance_s=_TOLERANCE_S,
        remarks=tuple(remarks),
    )


def _number(scene: str) -> int:
    return int(scene.removeprefix("scene-")) if scene.removeprefix("scene-").isdigit() else -1


def _table(scene: Scene, name: str) -> list[dict[str, Any]]:
    path = scene.root / "can_bus" / f"{scene.name}_{name}.json"
    if not path.is_file():
        raise RecordingError(
            f"can_bus: expected the table {name} of every scene, found none: fetch the expansion again"
        )
    rows = _json(path)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise RecordingError(f"can_bus {name}: expected a list of messages, found something else: fetch it again")
    return rows


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return strict_json.loads(path.read_bytes())
    except ValueError as error:
        raise RecordingError(f"{path.parent.name}, {path.stem.partition('_')[2]}: {error}: fetch it again") from error


def _column(rows: list[dict[str, Any]], name: str) -> FloatArray:
    try:
        return np.array([row[name] for row in rows], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise RecordingError(
            f"expected numbers {name} in every message, found something else: {cause(error)}"
        ) from error


def _monitored(rows: list[dict[str, Any]]) -> dict[str, Signal]:
    """Return the signals that come twice a second."""
    times_s = _column(rows, "utime") * 1e-6
    throttle = _column(rows, "throttle")
    values: dict[str, tuple[str, Any]] = {
        "brake": ("brake", _column(rows, "brake") / _MOST_BRAKE),
        "brakePressed": ("brake_switch", (_column(rows, "brake_switch") != 1).astype(np.float64)),
        "gas": ("throttle", throttle / _MOST_THROTTLE),
        "gasPressed": ("throttle", (throttle > 0).astype(np.float64)),
        "leftBlinker": ("left_signal", (_column(rows, "left_signal") > 0).astype(np.float64)),
        "rightBlinker": ("right_signal", (_column(rows, "right_signal") > 0).astype(np.float64)),
        GEAR: ("gear_position", np.array([_GEARS.get(int(gear), "") for gear in _column(rows, "gear_position")])),
    }
    return {
        name: Signal.of(times_s, found, f"vehicle_monitor.{origin}", _OLDEST_S)
        for name, (origin, found) in values.items()
    }


def _pictures(scene: Scene, pose_s: FloatArray) -> dict[float, Path]:
    """Return, by time, the pictures taken while the car's pose was recorded."""
    by_time = {}
    for part in ("samples", "sweeps"):
        for path in (scene.root / part / _CAMERA).glob("[!.]*.jpg"):
            if match := _NAME.fullmatch(path.stem):
                by_time[int(match["microseconds"]) * 1e-6] = path
    low_s, high_s = pose_s.min() - _EDGE_S, pose_s.max() + _EDGE_S
    return {time_s: by_time[time_s] for time_s in sorted(by_time) if low_s <= time_s <= high_s}


def _camera_tables(scene: Scene) -> list[Path]:
    """Return the tables of cameras: of the version that has this scene, else of the first one that has both."""
    folders = [place for place in sorted(scene.root.glob("v1.0-*")) if _has(place, *_CAMERA_TABLES)]
    chosen = [place for place in folders if scene.name in _own_cameras(place)] or folders
    return [chosen[0] / f"{name}.json" for name in _CAMERA_TABLES] if chosen else []


def _has(folder: Path, *tables: str) -> bool:
    return all((folder / f"{name}.json").is_file() for name in tables)


def _lens(scene: Scene, film: Pictures | None) -> tuple[Lens | None, bool]:
    """Return the front camera, and whether it is that of the scene's own log."""
    tables = _camera_tables(scene)
    if film is None or not tables:
        return None, False
    cameras = _front_cameras(tables[0].parent)
    own = _own_cameras(tables[0].parent).get(scene.name)
    chosen = [cameras[own]] if own in cameras else list(cameras.values())
    if not chosen:
        return None, False
    return Lens.middle([_of_calibration(camera, film.size_px) for camera in chosen]), own in cameras


@lru_cache(maxsize=8)
def _front_cameras(tables: Path) -> dict[str, dict[str, Any]]:
    """Return the calibrations of front cameras by token."""
    sensors, calibrated = (_json(tables / f"{name}.json") for name in _CAMERA_TABLES)
    fronts = {sensor["token"] for sensor in sensors if sensor["channel"] == _CAMERA}
    return {camera["token"]: camera for camera in calibrated if camera["sensor_token"] in fronts}


@lru_cache(maxsize=8)
def _own_cameras(tables: Path) -> dict[str, str]:
    """Return the token of the front camera's calibration by scene, as far as `sample_data` tells it.

    That table has millions of rows, so it is read once for all scenes.
    """
    if not _has(tables, "scene", "sample_data"):
        return {}
    names = {row["first_sample_token"]: row["name"] for row in _json(tables / "scene.json")}
    fronts = _front_cameras(tables)
    return {
        names[row["sample_token"]]: row["calibrated_sensor_token"]
        for row in _json(tables / "sample_data.json")
        if row["sample_token"] in names and row["calibrated_sensor_token"] in fronts
    }


def _of_calibration(camera: Mapping[str, Any], size_px: tuple[int, int]) -> Lens:
    """Return the lens of a `calibrated_sensor`, whose axes point to the right, down and forward."""
    w, x, y, z = camera["rotation"]
    right, down, forward = Rotation.from_quat([x, y, z, w]).inv().apply([1.0, 0.0, 0.0])
    matrix = np.array(camera["camera_intrinsic"], np.float64)
    ahead = matrix @ np.array([right / forward, down / forward, 1.0])
    forward_m, left_m, height_m = camera["translation"]
    return Lens(
        (float(matrix[0, 0]), float(matrix[1, 1])),
        (float(ahead[0]), float(ahead[1])),
        size_px,
        height_m,
        forward_m,
        left_m,
    )
