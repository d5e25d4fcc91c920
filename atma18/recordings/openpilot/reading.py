"""An openpilot route as a recording. All times are boot time, which logs and the small video share.

Signals are those of valid `carState` messages. The yaw rate is `angularVelocityDevice` of `liveLocationKalman`, else of
`livePose`, where that field itself is valid; its axes (forward, right, down in the device) are turned by `rpyCalib`
into the car's. The time of a frame is the `timestampEof` of its event in the index.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from atma18.recordings import video
from atma18.recordings.openpilot import log
from atma18.recordings.openpilot.lens import road_camera
from atma18.recordings.openpilot.route import Route, Segment
from atma18.recordings.poses import dead_reckoned
from atma18.recordings.recording import Recording
from atma18.recordings.signals import UNSIGNED, RecordingError, Signal, signed
from atma18.schema import FLAG_SIGNALS, GEAR, FloatArray

GEARS = ("unknown", "park", "drive", "neutral", "reverse", "sport", "low", "brake", "eco", "manumatic")
"""`GearShifter` by number; a newer number is `unknown`."""
_NUMBERS = ("vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "gas")
_PEDALS = {"gas": "gasPressed", "brake": "brakePressed"}
_SAME_FRAME_S = 0.02
"""Less than half of the 50 ms between two frames."""
_MPEG_WRAP_S = 2**33 / 90_000
_OVERLAP_S = 2.0
"""Segments of one drive follow each other within tenths of a second."""
_GPS_FASTER_MPS = 5.0


@dataclass
class _Collected:
    """What a route's logs tell, by event."""

    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(list))
    problems: Counter[str] = field(default_factory=Counter)
    latest_s: float = -np.inf
    """The end of what was read, by `carState`."""
    cars: int = 0
    """The rows of `carState` of the segments that were read."""

    def end_segment(self, number: int) -> None:
        """Check that a segment goes on where those before it ended.

        Raises:
            RecordingError: If it begins earlier.
        """
        times_s = [row[0] for row in self.rows["carState"][self.cars :]]
        if not times_s:
            return
        back_s = self.latest_s - min(times_s)
        if back_s > _OVERLAP_S:
            raise RecordingError(
                f"expected segments that follow each other, found segment {number} that begins {back_s:.0f} s before "
                "the one before it ends: give each drive a folder of its own"
            )
        self.latest_s, self.cars = max(self.latest_s, *times_s), len(self.rows["carState"])

    @property
    def sensor(self) -> int:
        """The number of the road camera's kind; 0 if no log tells it."""
        return int(self.rows["sensor"][-1][0]) if self.rows["sensor"] else 0

    def table(self, name: str, width: int) -> FloatArray:
        """Return the (n, width) numbers of an event, sorted by time."""
        rows = np.array(self.rows[name], np.float64).reshape(-1, width)
        return rows[np.argsort(rows[:, 0], kind="stable")]


def read(route: Route) -> Recording:
    """Read a route.

    Raises:
        RecordingError: If a log is none, or if the route has no speed.
    """
    found = _Collected()
    left_out = []
    for segment in route.segments:
        try:
            for time_s, name, valid, body in log.events(segment.log, found.problems):
                _collect(found, name, time_s, valid, body)
        except RecordingError as error:
            left_out.append(f"the log of segment {segment.number} is left out: {error}")
        found.end_segment(segment.number)
    if len(left_out) == len(route.segments):
        raise RecordingError(left_out[0])
    signals, remarks = _signals(found)
    remarks += left_out
    calibration = found.table("liveCalibration", 5)
    turned = Rotation.from_euler("ZYX", calibration[-1, [3, 2, 1]]) if len(calibration) else Rotation.identity()
    yaw_rate = _yaw_rate(found, turned)
    film, tags, missing = _film(route.segments, found)
    remarks += missing + _gps_remark(found, signals["vEgo"])
    if not len(calibration):
        remarks.append("no liveCalibration: the camera is taken to look straight ahead")
    return Recording(
        signals=signals,
        poses=dead_reckoned(signals["vEgo"], yaw_rate),
        frames=film,
        lens=road_camera(tags, found.sensor, turned, calibration[:, 4]) if tags else None,
        clock="seconds since the device started (logMonoTime)",
        remarks=tuple(remarks),
        facts={
            "openpilot": sorted({version for (version,) in found.rows["initData"]}),
            "problems": dict(found.problems),
            "video": tags and asdict(tags),
        },
    )


def _collect(found: _Collected, name: str, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401 - a struct
    """Keep what is needed of an event; one that is damaged inside is counted."""
    import capnp

    try:
        _COLLECT[name](found, time_s, valid, body)
    except capnp.KjException:
        found.problems["damaged events"] += 1


def _collect_car(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401 - a struct
    if not valid:
        found.problems["carState messages that are not valid"] += 1
        return
    gear = body.gearShifter
    if gear >= len(GEARS):
        found.problems["gears newer than this reader, taken as unknown"] += 1
    numbers = [getattr(body, name) for name in (*_NUMBERS, *FLAG_SIGNALS)]
    found.rows["carState"].append((time_s, *numbers, body.yawRate, gear if gear < len(GEARS) else 0))


def _collect_kalman(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401
    if body.angularVelocityDevice.valid:
        found.rows["liveLocationKalman"].append((time_s, *list(body.angularVelocityDevice.value)))


def _collect_pose(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401
    rate = body.angularVelocityDevice
    if rate.valid:
        found.rows["livePose"].append((time_s, rate.x, rate.y, rate.z))


def _collect_calibration(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401
    if len(body.rpyCalib) == 3:
        height = list(body.height)
        found.rows["liveCalibration"].append((time_s, *list(body.rpyCalib), height[0] if height else np.nan))


def _collect_gps(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401
    if body.hasFix or body.flags & 1:
        found.rows["gps"].append((time_s, body.speed))


def _index(name: str) -> Any:  # noqa: ANN401 - a function like those above
    def collect(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401
        found.rows[name].append((body.timestampEof * 1e-9, body.segmentNum, body.segmentId))

    return collect


def _collect_version(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401
    found.rows["initData"].append((str(body.version),))


def _collect_camera(found: _Collected, time_s: float, valid: bool, body: Any) -> None:  # noqa: ANN401
    found.rows["sensor"] = [(body.sensor,)]


_COLLECT = {
    "initData": _collect_version,
    "roadCameraState": _collect_camera,
    "roadEncodeIdx": _index("roadEncodeIdx"),
    "qRoadEncodeIdx": _index("qRoadEncodeIdx"),
    "liveCalibration": _collect_calibration,
    "gpsLocation": _collect_gps,
    "gpsLocationExternal": _collect_gps,
    "carState": _collect_car,
    "liveLocationKalman": _collect_kalman,
    "livePose": _collect_pose,
}


def _signals(found: _Collected) -> tuple[dict[str, Signal], list[str]]:
    """Return the signals that a route has, and remarks."""
    names = (*_NUMBERS, *FLAG_SIGNALS)
    table = found.table("carState", len(names) + 3)
    if not len(table):
        raise RecordingError(
            "expected carState messages in the log, found none that is valid: is this the log of a device in a car?"
        )
    times_s, remarks = table[:, 0], []
    columns = dict(zip(names, table[:, 1:-2].T, strict=True))
    gears = np.array(GEARS)[table[:, -1].astype(np.int64)]
    for pedal, pressed in _PEDALS.items():
        if not columns[pedal].any() and columns[pressed].any():
            del columns[pedal]
            remarks.append(f"{pedal} is 0 although {pressed}: this car does not tell it, so it is left out")
    signals = {name: Signal.of(times_s, values, f"carState.{name}") for name, values in columns.items()}
    signals[GEAR] = Signal.of(times_s, gears, f"carState.{GEAR}")
    signals["vEgo"], unsigned = signed(signals["vEgo"], signals[GEAR])
    if unsigned:
        backwards = signals[GEAR].values == "reverse"
        accelerations = signals["aEgo"].values
        signals["aEgo"] = replace(signals["aEgo"], values=np.where(backwards, -accelerations, accelerations))
        remarks.append(f"{UNSIGNED}, and aEgo, its change, is turned there too")
    return signals, remarks


def _yaw_rate(found: _Collected, turned: Rotation) -> Signal:
    """Return the yaw rate in rad/s, positive to the left, of the best source that there is."""
    for name in ("liveLocationKalman", "livePose"):
        table = found.table(name, 4)
        if len(table):
            # The device's axes are turned into the car's, whose z points down.
            return Signal.of(table[:, 0], -turned.inv().apply(table[:, 1:])[:, 2], f"{name}.angularVelocityDevice")
    table = found.table("carState", len(_NUMBERS) + len(FLAG_SIGNALS) + 3)
    if table[:, -2].any():
        return Signal.of(table[:, 0], table[:, -2], "carState.yawRate")
    return Signal(np.empty(0), np.empty(0), "no yaw rate")


def _film(segments: Sequence[Segment], found: _Collected) -> tuple[video.Video | None, video.Tags | None, list[str]]:
    """Return the frames of all segments, their tags, and remarks."""
    clips: list[video.Clip] = []
    tags: list[video.Tags] = []
    remarks: list[str] = []
    untimed, frames = 0, 0
    for segment in segments:
        if segment.video is None:
            continue
        try:
            packets = video.packets(segment.video)
        except RecordingError as error:
            remarks.append(f"the video of segment {segment.number} is left out: {error}")
            continue
        small = packets.ticks is not None
        index = found.table("qRoadEncodeIdx" if small else "roadEncodeIdx", 3)
        times_s = _by_time(packets.times_s, index[:, 0]) if small else _by_number(packets.count, index, segment.number)
        untimed, frames = untimed + int(np.isnan(times_s).sum()), frames + len(times_s)
        clips.append(video.Clip(segment.video, times_s, packets.ticks))
        tags.append(packets.tags)
    if untimed:
        remarks.append(f"{untimed} of {frames} frames are not in the log's index of frames; they are left out")
    if any(other != tags[0] for other in tags):
        remarks.append("the segments differ in size or colours: those that differ from the first are left out")
        clips = [clip for clip, other in zip(clips, tags, strict=True) if other == tags[0]]
    return (video.Video(clips), tags[0], remarks) if clips else (None, None, remarks)


def _by_time(shown_s: FloatArray, index_s: FloatArray) -> FloatArray:
    """Return the `timestampEof` of each frame, which its time stamp tells to some microseconds, but for wraps.

    Args:
        shown_s: (n,) times of a video's frames.
        index_s: (m,) `timestampEof` of all frames, ascending.
    """
    if not len(index_s) or not len(shown_s):
        return np.full(len(shown_s), np.nan)
    moved_s = shown_s + _MPEG_WRAP_S * np.round((index_s[len(index_s) // 2] - shown_s) / _MPEG_WRAP_S)
    after = np.clip(np.searchsorted(index_s, moved_s), 1, max(len(index_s) - 1, 1))
    near = np.minimum(after, len(index_s) - 1)
    nearest = np.where(moved_s - index_s[after - 1] < index_s[near] - moved_s, after - 1, near)
    return np.where(np.abs(index_s[nearest] - moved_s) < _SAME_FRAME_S, index_s[nearest], np.nan)


def _by_number(count: int, index: FloatArray, segment: int) -> FloatArray:
    """Return the `timestampEof` of each frame of a video without time stamps, if the index has as many frames."""
    mine = index[index[:, 1] == segment]
    times_s = np.full(count, np.nan)
    if len(mine) == count and sorted(mine[:, 2]) == list(range(count)):
        times_s[mine[:, 2].astype(np.int64)] = mine[:, 0]
    return times_s


def _gps_remark(found: _Collected, speed_mps: Signal) -> list[str]:
    """Say by how much the car's speed differs from that of GPS."""
    table = found.table("gps", 2)
    own, known = speed_mps.interpolated(table[:, 0])
    used = known & (own > _GPS_FASTER_MPS)
    if used.sum() < 10:
        return ["no GPS to check the scale of vEgo against"]
    ratio = float(np.median(table[used, 1] / own[used]))
    return [f"GPS is {abs(ratio - 1):.1%} {'faster' if ratio > 1 else 'slower'} than vEgo; vEgo is kept as it is"]
