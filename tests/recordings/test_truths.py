"""Real recordings, if they lie beside the checkout: what an independent script measured of them.

They are not part of the project (their licences differ), so these tests exist only where the folder does. `README.md`
there says how each truth was measured, and how uncertain it is.
"""

import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from atma18 import checks
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.recordings import SOURCES, sampling
from atma18.schema import GEAR
from steps import ingest

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "recordings"
AHEAD_S = np.arange(0.5, 3.5, 0.5)


@dataclass(frozen=True)
class Truth:
    """One moment of a real drive."""

    drive: str
    time_s: float
    speed_mps: float
    wheel_deg: float | None
    gear: str | None
    axle_m: tuple[tuple[float, float], ...]
    camera_m: tuple[tuple[float, float], ...] | None = None
    uncertain_m: tuple[float, float] = (0.02, 0.02)
    """Of x and y; openpilot's were computed from the same speeds and yaw rates, so only rounding differs."""


def pairs(*numbers):
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


COROLLA, TESLA, LEXUS, NUSCENES, COMMA, MF4 = (
    "corolla-day",
    "tesla-night-a",
    "lexus-parked",
    "scene-0103",
    "comma2k19",
    "mf4",
)
STANDS = pairs(*[0.0] * 12)
TRUTHS = [
    Truth(COROLLA, 48.178352949, 21.433, 0.26, "drive",
          pairs(10.71, 0.00, 21.42, 0.02, 32.14, 0.07, 42.91, 0.15, 53.76, 0.27, 64.68, 0.41),
          pairs(10.71, 0.00, 21.42, 0.02, 32.14, 0.09, 42.91, 0.17, 53.75, 0.29, 64.68, 0.43)),
    Truth(COROLLA, 73.172908969, 26.661, 1.61, "drive",
          pairs(13.30, 0.00, 26.55, 0.07, 39.76, 0.28, 52.94, 0.69, 66.12, 1.25, 79.35, 1.85),
          pairs(13.30, 0.00, 26.55, 0.08, 39.76, 0.32, 52.93, 0.76, 66.12, 1.32, 79.34, 1.92)),
    Truth(COROLLA, 86.173063964, 28.363, 0.84, "drive",
          pairs(14.19, -0.01, 28.39, -0.11, 42.59, -0.41, 56.82, -0.84, 71.06, -1.35, 85.35, -1.85),
          pairs(14.19, -0.01, 28.39, -0.14, 42.59, -0.46, 56.81, -0.90, 71.06, -1.41, 85.35, -1.91)),
    Truth(COROLLA, 90.673130629, 29.079, 3.26, "drive",
          pairs(14.59, 0.04, 29.19, 0.14, 43.68, 0.32, 58.10, 0.55, 72.52, 0.80, 86.94, 1.06),
          pairs(14.59, 0.04, 29.19, 0.16, 43.68, 0.34, 58.10, 0.57, 72.52, 0.83, 86.94, 1.10)),
    Truth(TESLA, 546.481185852, -0.933, 183.2, "reverse",
          pairs(-0.48, 0.01, -0.91, 0.04, -1.30, 0.07, -1.73, 0.13, -2.27, 0.23, -2.78, 0.35),
          pairs(-0.48, -0.06, -0.91, -0.09, -1.31, -0.11, -1.75, -0.13, -2.31, -0.14, -2.84, -0.12)),
    Truth(TESLA, 585.481409379, 13.155, -3.49, "drive",  # t - 1.0 s lies in the segment before
          pairs(6.58, -0.03, 13.24, -0.10, 19.99, -0.18, 26.90, -0.26, 33.97, -0.34, 41.19, -0.40),
          pairs(6.58, -0.04, 13.24, -0.12, 19.99, -0.21, 26.90, -0.28, 33.97, -0.35, 41.19, -0.42)),
    Truth(TESLA, 624.981648427, 9.664, 70.61, "drive",
          pairs(4.81, 0.37, 9.50, 1.48, 14.02, 3.19, 18.44, 5.18, 22.82, 7.30, 27.18, 9.49),
          pairs(4.79, 0.63, 9.42, 1.99, 13.88, 3.85, 18.28, 5.90, 22.64, 8.05, 27.00, 10.26)),
    Truth(TESLA, 635.981718683, 8.430, -94.39, "drive",
          pairs(4.18, -0.38, 8.21, -1.49, 12.02, -3.21, 15.66, -5.28, 19.20, -7.50, 22.70, -9.74),
          pairs(4.15, -0.68, 8.10, -2.08, 11.83, -4.00, 15.41, -6.16, 18.93, -8.41, 22.43, -10.66)),
    Truth(TESLA, 674.981969866, 5.079, 149.97, "drive",
          pairs(2.54, 0.25, 4.97, 1.10, 7.11, 2.51, 8.89, 4.37, 10.23, 6.56, 11.08, 8.96),
          pairs(2.50, 0.61, 4.79, 1.85, 6.72, 3.60, 8.23, 5.71, 9.26, 8.09, 9.79, 10.61)),
    Truth(LEXUS, 37.223925193, 0.0, 23.6, "park", STANDS, STANDS),
    Truth(LEXUS, 57.223788524, 0.0, 23.6, "park", STANDS, STANDS),
    Truth(LEXUS, 77.223473126, 0.0, 23.6, "park", STANDS, STANDS),
    Truth(NUSCENES, 1533151604.512404, 8.241, -18.40, "drive",
          pairs(4.18, -0.07, 8.35, -0.26, 12.61, -0.57, 16.94, -1.01, 21.37, -1.57, 25.80, -2.24), None, (0.03, 0.03)),
    Truth(NUSCENES, 1533151609.512404, 6.022, -1.70, "drive",
          pairs(2.61, -0.03, 4.55, -0.05, 5.88, -0.06, 6.78, -0.08, 7.61, -0.09, 8.46, -0.10), None, (0.03, 0.03)),
    Truth(NUSCENES, 1533151614.412404, 2.913, 0.80, "drive",
          pairs(1.66, -0.01, 3.52, -0.04, 5.61, -0.06, 7.95, -0.08, 10.55, -0.12, 13.37, -0.16), None, (0.03, 0.03)),
    Truth(NUSCENES, 1533151619.412404, 7.109, -1.10, "drive",
          pairs(3.74, -0.04, 7.63, -0.10, 11.56, -0.14, 15.61, -0.19, 19.69, -0.20, 23.81, -0.24), None, (0.03, 0.03)),
    Truth(MF4, 2355.0, 8.353, None, None,
          pairs(3.91, -0.01, 7.43, 0.00, 10.68, 0.07, 13.76, 0.35, 16.74, 0.92, 19.56, 1.91), None, (0.7, 0.7)),
    Truth(MF4, 2365.0, 6.728, None, None,
          pairs(3.37, 0.01, 6.63, 0.04, 9.70, 0.14, 12.61, 0.37, 15.35, 0.79, 17.91, 1.48), None, (0.7, 0.7)),
    Truth(MF4, 2375.0, 5.068, None, None,
          pairs(2.56, -0.09, 5.09, -0.36, 7.50, -0.78, 9.82, -1.29, 12.07, -1.83, 14.27, -2.38), None, (0.7, 0.7)),
]  # fmt: skip
IN_A_LEVEL_FRAME = [
    (46413.547428, 14.648, 0.44, [(7.54, -0.01, -0.29), (15.46, -0.03, -0.60), (23.76, -0.04, -0.96),
                                  (32.43, -0.04, -1.28), (41.45, -0.03, -1.66), (50.79, 0.00, -2.07)]),
    (46433.547148, 17.767, -0.84, [(8.89, -0.03, 0.42), (17.76, -0.06, 0.87), (26.63, -0.10, 1.35),
                                   (35.46, -0.12, 1.82), (44.22, -0.14, 2.31), (52.98, -0.14, 2.78)]),
    (46453.546879, 17.561, -0.80, [(8.85, -0.01, 0.14), (17.71, -0.02, 0.24), (26.58, -0.03, 0.35),
                                   (35.46, -0.04, 0.46), (44.37, -0.03, 0.58), (53.32, -0.03, 0.69)]),
    (46463.546723, 17.019, -0.80, [(8.56, 0.00, 0.18), (17.07, -0.02, 0.42), (25.51, -0.06, 0.72),
                                   (33.80, -0.13, 1.10), (41.85, -0.18, 1.52), (49.64, -0.23, 1.97)]),
]  # fmt: skip
"""comma2k19: time, speed, steering; x, y, z of the device in a level frame. Ours is the car's, which the road tilts."""
FOLDERS = {
    COROLLA: ("openpilot", "openpilot/corolla-day"),
    TESLA: ("openpilot", "openpilot/tesla-night-a"),
    LEXUS: ("openpilot", "openpilot/lexus-parked"),
    NUSCENES: ("nuscenes", "nuscenes-scene-0103"),
    COMMA: ("comma2k19", "comma2k19-segment"),
}
CIVIC_TOML = """\
log = "turn-on-and-drive.log"
dbc = "honda_civic_touring_2016_can_generated.dbc"
signals.vEgo = {signal = "XMISSION_SPEED", message = "ENGINE_DATA", unit = "km/h"}
signals.steeringAngleDeg = {signal = "STEER_ANGLE", unit = "deg"}
signals.gas = {signal = "PEDAL_GAS", unit = "%"}
signals.brakePressed = {signal = "BRAKE_PRESSED"}
yaw_rate = {signal = "STEER_ANGLE_RATE", message = "STEERING_SENSORS", unit = "deg/s"}
"""
# The speed comes once a second, twice with 2 s between.
MF4_TOML = """\
log = "canmod-gps-drive.MF4"
dbc = "canmod-gps.dbc"
signals.vEgo = {signal = "Speed", unit = "m/s", oldest_s = 2.5}
yaw_rate = {signal = "AngularRateX", unit = "deg/s"}
"""


@cache
def recorded(drive):
    source, folder = FOLDERS[drive]
    (found,) = SOURCES[source].find(RECORDINGS / folder)
    return SOURCES[source].read(found)


def by_toml(folder, toml, tmp_path):
    for path in (RECORDINGS / folder).iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / "drive.toml").write_text(toml)
    (found,) = SOURCES["can"].find(tmp_path)
    return SOURCES["can"].read(found)


if RECORDINGS.is_dir():

    @pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: f"{truth.drive} {truth.time_s:.2f}")
    def test_a_real_moment_is_as_it_was_measured(truth, tmp_path):
        recording = by_toml("can-mf4", MF4_TOML, tmp_path) if truth.drive == MF4 else recorded(truth.drive)
        at_s = np.array([truth.time_s])

        speed, known = recording.signals["vEgo"].interpolated(at_s)
        assert known.all()
        assert speed[0] == pytest.approx(truth.speed_mps, abs=6e-4)
        if truth.wheel_deg is not None:
            assert recording.signals["steeringAngleDeg"].interpolated(at_s)[0][0] == pytest.approx(
                truth.wheel_deg, abs=0.06
            )
        if truth.gear is not None:
            assert recording.signals[GEAR].held(at_s)[0][0] == truth.gear
        for forward_m, expected_m in ((0.0, truth.axle_m), (1.7, truth.camera_m)):
            if expected_m is not None:
                error_m = np.abs(recording.poses.waypoints(at_s, forward_m)[0, :, :2] - expected_m)
                assert (error_m <= truth.uncertain_m).all(), error_m

    @pytest.mark.parametrize(
        ("drive", "count", "first_s", "last_s", "messages", "remark"),
        [
            (COROLLA, 1200, 38.178400, 98.123200, 569, "GPS is 1.0% faster"),
            (TESLA, 3560, 524.980256, 702.932111, 1763, "GPS is 1.9% slower"),
            (LEXUS, 1200, 27.223089, 87.173600, 566, "no GPS"),
        ],
    )
    def test_real_routes_have_their_frames_and_messages(drive, count, first_s, last_s, messages, remark):
        recording = recorded(drive)

        assert len(recording.frames.times_s) == count
        assert recording.frames.times_s[[0, -1]] == pytest.approx([first_s, last_s], abs=7e-6)
        assert len(recording.signals["vEgo"]) == messages
        assert any(said.startswith(remark) for said in recording.remarks)

    def test_the_frames_of_a_moment_lie_in_two_segments():
        recording = recorded(TESLA)

        found = sampling.sample(recording, np.array([585.481409379]), list(recording.signals), 0.0)

        assert found.frame_rows.tolist() == [[1200 + 10, 1200, 1190]]

    def test_the_segment_of_comma2k19_is_as_it_was_measured():
        recording = recorded(COMMA)
        assert recording.poses.times_s[[0, -1]] == pytest.approx([46408.547498, 46468.496658], abs=1e-6)
        assert len(recording.signals["vEgo"]) == len(recording.signals["steeringAngleDeg"]) == 4974
        for time_s, speed_mps, wheel_deg, level_m in IN_A_LEVEL_FRAME:
            at_s = np.array([time_s])
            assert recording.signals["vEgo"].interpolated(at_s)[0][0] == pytest.approx(speed_mps, abs=6e-4)
            assert recording.signals["steeringAngleDeg"].interpolated(at_s)[0][0] == pytest.approx(wheel_deg, abs=0.01)
            found_m, level_m = recording.poses.waypoints(at_s, 1.7)[0], np.array(level_m)
            # A pitch of the axes keeps y and the length of (x, z).
            np.testing.assert_allclose(found_m[:, 1], level_m[:, 1], atol=0.05)
            np.testing.assert_allclose(np.hypot(*found_m[:, [0, 2]].T), np.hypot(*level_m[:, [0, 2]].T), atol=0.05)

    def test_a_real_scene_has_its_frames_and_one_rate_for_each_table():
        recording = recorded(NUSCENES)

        assert recording.frames.times_s[[0, -1]] == pytest.approx([1533151603.512404, 1533151622.912404], abs=1e-6)
        assert (len(recording.frames.times_s), len(recording.poses.times_s)) == (40, 969)
        assert (len(recording.signals["steeringAngleDeg"]), len(recording.signals["brake"])) == (1896, 40)
        before, _ = recording.signals["brake"].held(np.array([1533151609.512404]))
        assert before[0] * 126 == pytest.approx(16, abs=0.5)

    def test_a_real_candump_has_its_values_and_its_gaps(tmp_path):
        recording = by_toml("can-civic", CIVIC_TOML, tmp_path)
        first_s = 1674148739.212264
        at_s = first_s + np.array([30.0, 40.0, 50.0, 60.0])
        expected = {
            "vEgo": [2.87 / 3.6, 3.47 / 3.6, 0.0, 7.89 / 3.6],
            "steeringAngleDeg": [34.3, -175.7, 128.5, -273.6],
            "gas": [0.45, 0.0, 0.0, 0.02],
            "brakePressed": [0, 0, 1, 0],
        }

        for name, values in expected.items():
            np.testing.assert_allclose(recording.signals[name].held(at_s)[0], values, atol=1e-9)
        assert len(recording.signals["vEgo"]) == 1709
        covered = recording.signals["vEgo"].covers(first_s + np.arange(1.0, 60.0), first_s + np.arange(5.0, 64.0))
        gaps = [(0.20, 10.21), (12.28, 20.52), (21.80, 26.60), (32.92, 39.63), (48.17, 51.44)]
        for start, end in gaps:
            crossed = [k for k in range(59) if 1 + k < end and 5 + k > start]
            assert not covered[crossed].any()

    @pytest.mark.parametrize(
        ("source", "folders", "every_s"),
        [("openpilot", (COROLLA, TESLA), 1.0), ("openpilot", (LEXUS,), 1.0), ("nuscenes", (NUSCENES,), 0.5)],
        ids=["two routes", "a parked car", "a scene"],
    )
    def test_ingested_real_drives_raise_no_alarm(source, folders, every_s, tmp_path):
        (tmp_path / "in").mkdir()
        for drive in folders:
            (tmp_path / "in" / drive).symlink_to(RECORDINGS / FOLDERS[drive][1])
        words = [f"--source={source}", f"--path={tmp_path / 'in'}", f"--out={tmp_path / 'out'}", f"--every_s={every_s}"]
        said = CliRunner().invoke(ingest.main, [*words, "--split=1" if len(folders) == 1 else "--split=0.2"])
        assert said.exit_code == 0, said.output

        assert checks.check(Dataset.open(str(tmp_path / "out"), Cache.open(tmp_path / "cache"), test_alone=True)) == []
