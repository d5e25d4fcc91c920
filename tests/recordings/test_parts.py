"""Signals, poses, windows and scenes: expected values come from paper."""

import numpy as np
import pandas as pd
import pytest

from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.recordings.poses import Poses, along_track, dead_reckoned
from atma18.recordings.recording import Lens
from atma18.recordings.sampling import Sampled
from atma18.recordings.scenes import cut, split_of
from atma18.recordings.signals import RecordingError, Signal, signed
from atma18.recordings.window import Window

QCAMERA = Lens((722.4, 723.4), (263.0, 165.0), (526, 330), 1.22, 1.7)


def signal(times_s, values, oldest_s=0.5):
    return Signal.of(np.array(times_s, float), np.array(values), "a field", oldest_s)


def test_a_held_value_is_the_last_one_while_it_is_young():
    values, young = signal([0.0, 1.0], ["park", "drive"]).held(np.array([-0.1, 0.0, 0.5, 0.6, 1.2]))

    assert young.tolist() == [False, True, True, False, True]
    assert values[young].tolist() == ["park", "park", "drive"]


def test_an_interpolated_value_lies_between_close_neighbours_and_never_outside():
    values, known = signal([0.0, 0.4, 1.4], [0.0, 4.0, 14.0]).interpolated(np.array([-0.1, 0.1, 0.4, 1.0, 1.4, 1.5]))

    assert known.tolist() == [False, True, True, False, True, False]
    np.testing.assert_allclose(values[known], [1.0, 4.0, 14.0])


@pytest.mark.parametrize(
    ("start_s", "end_s", "covered"),
    [
        pytest.param(0.0, 0.4, True, id="from the first to the last before the gap"),
        pytest.param(0.1, 0.5, False, id="into the gap"),
        pytest.param(0.5, 0.6, False, id="inside the gap"),
        pytest.param(0.0, 1.4, False, id="over the gap"),
        pytest.param(-0.1, 0.2, False, id="from before the first"),
        pytest.param(1.2, 1.5, False, id="to behind the last"),
    ],
)
def test_a_stretch_is_covered_if_no_gap_touches_it(start_s, end_s, covered):
    times_s = [0.0, 0.2, 0.4, 1.2, 1.4]

    assert signal(times_s, times_s).covers(np.array([start_s]), np.array([end_s])).tolist() == [covered]


def test_values_are_sorted_missing_ones_dropped_and_of_one_moment_the_last_one_counts():
    found = signal([3.0, 1.0, 2.0, 1.0], [3.0, 1.0, np.nan, 1.5])

    assert found.times_s.tolist() == [1.0, 3.0]
    assert found.values.tolist() == [1.5, 3.0]


def test_an_empty_signal_tells_nothing():
    nothing = signal([], np.empty(0))

    assert not nothing.held(np.array([1.0]))[1].any()
    assert not nothing.interpolated(np.array([1.0]))[1].any()
    assert not nothing.covers(np.array([1.0]), np.array([2.0])).any()


def test_times_that_go_back_are_no_signal():
    with pytest.raises(RecordingError, match="a field: expected ascending times"):
        Signal(np.array([1.0, 0.0]), np.zeros(2), "a field")


@pytest.mark.parametrize(
    ("speed_mps", "expected_mps", "changed"),
    [
        pytest.param([5, 2, 0, 1, 2, 0], [5, 2, 0, -1, -2, 0], True, id="without a sign"),
        pytest.param([5, 2, -0.05, 1, 2, -0.02], [5, 2, -0.05, -1, -2, -0.02], True, id="below 0 at stops"),
        pytest.param([5, 2, 0, -1, -2, 0], [5, 2, 0, -1, -2, 0], False, id="with its sign"),
        pytest.param([5, 2, 0, 0, 0.1, 0], [5, 2, 0, 0, 0.1, 0], False, id="reverse, but it stands"),
    ],
)
def test_a_speed_without_a_sign_is_negative_in_reverse(speed_mps, expected_mps, changed):
    times_s = np.arange(6.0)
    gear = signal(times_s, ["drive", "drive", "drive", "reverse", "reverse", "reverse"])

    found, is_changed = signed(signal(times_s, np.array(speed_mps, float)), gear)

    assert found.values.tolist() == expected_mps
    assert is_changed == changed


def test_a_gap_of_days_costs_nothing_and_each_stretch_has_its_path():
    day_s = 86_400.0
    times_s = np.concatenate([np.arange(0, 5, 0.1), 400 * day_s + np.arange(0, 5, 0.1)])
    poses = dead_reckoned(signal(times_s, 10 + 0 * times_s), signal(times_s, 0 * times_s))

    assert len(poses.times_s) == pytest.approx(2 * 4.9 / 0.005, abs=3)
    for begin_s in (1.0, 400 * day_s + 1.0):
        np.testing.assert_allclose(poses.waypoints(np.array([begin_s]), 0.0)[0, :, 0], 10 * np.arange(0.5, 3.5, 0.5))


def test_scenes_without_a_sample_are_none_and_of_two_samples_in_a_tenth_one_is_left():
    times_s = np.array([1.0, 1.51, 1.54, 700.0])
    sampled = Sampled(times_s, np.zeros((4, 3), np.int64), pd.DataFrame({"vEgo": times_s}), np.zeros((4, 18)), {})

    kept, scenes, scene_of = cut(sampled, "of the drive")

    assert kept.times_s.tolist() == [1.0, 1.51, 700.0]
    assert kept.left_out == {"less than 0.1 s after the one before": 1}
    assert [scene.start_s for scene in scenes] == [0.0, 660.0]
    assert scene_of.tolist() == [0, 0, 1]
    assert scenes[0].sample_id(1.51) == scenes[0].sample_id(1.54)


def test_a_quarter_turn_ends_where_paper_says():
    """Radius 20 m, a quarter turn left in 3 s: the axle ends at 20, 20; a point 2 m ahead of it began at 2, 0."""
    rate = np.pi / 2 / 3
    times_s = np.arange(0, 5, 0.1)
    poses = dead_reckoned(signal(times_s, 20 * rate + 0 * times_s), signal(times_s, rate + 0 * times_s))

    np.testing.assert_allclose(poses.waypoints(np.array([1.0]), 0.0)[0, -1], [20, 20, 0], atol=1e-3)
    np.testing.assert_allclose(poses.waypoints(np.array([1.0]), 2.0)[0, -1], [18, 22, 0], atol=1e-3)


def test_a_gap_of_speed_or_yaw_rate_is_a_gap_of_poses():
    times_s = np.arange(0, 10, 0.1)
    without = times_s[(times_s < 4) | (times_s > 5)]
    poses = dead_reckoned(signal(times_s, 1 + 0 * times_s), signal(without, 0 * without))

    assert poses.covers(np.array([1.0, 3.0, 6.0]), np.array([3.0, 5.5, 9.0])).tolist() == [True, False, True]


def test_a_car_that_stands_keeps_its_direction():
    """It drives east, stands, and drives north: while it stands it points east."""
    places_m = np.array([[0, 0, 0], [5, 0, 0], [10, 0, 0], [10, 0, 0], [10, 0, 0], [10, 5, 0], [10, 10, 0]], float)
    poses = along_track(np.arange(7.0), places_m, "fixes", 1.5)

    np.testing.assert_allclose(poses.axes[[0, 3], :, 0], [[1, 0, 0], [1, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(poses.axes[6, :, 0], [0, 1, 0], atol=1e-9)


def test_the_direction_of_rounded_positions_is_that_of_the_path():
    """Ten positions a second, rounded to 0.2 m: a straight line to the east, at 10 m/s."""
    times_s = np.arange(0, 10, 0.1)
    north_m = 0.2 * (np.arange(100) // 2 % 2)
    poses = along_track(times_s, np.stack([10 * times_s, north_m, 0 * times_s], axis=1), "fixes", 1.5)

    heading_rad = np.arctan2(poses.axes[10:-10, 1, 0], poses.axes[10:-10, 0, 0])
    np.testing.assert_allclose(heading_rad, 0, atol=0.011)  # 0.2 m over 20 m


def test_between_two_poses_the_car_turns_evenly():
    axes = np.stack([np.eye(3), [[0, -1, 0], [1, 0, 0], [0, 0, 1]]])  # a quarter turn to the left
    poses = Poses(np.array([0.0, 1.0]), np.zeros((2, 3)), axes, "two poses")

    _, half = poses.at(np.array([0.5]), 0.0)

    np.testing.assert_allclose(half.as_euler("zyx", degrees=True), [[45, 0, 0]], atol=1e-9)


def test_the_competitions_window_is_cut_where_it_fits():
    """A picture that reaches far enough down: its frames have the competition's camera."""
    window = Window.for_drives([Lens((722.4, 723.4), (263.0, 165.0), (526, 340), 1.22, 1.7)], "competition")

    np.testing.assert_allclose(window.camera(QCAMERA, 0.0).intrinsics_px, COMPETITION_CAMERA.intrinsics_px, atol=1e-6)


def test_openpilots_small_picture_ends_three_rows_too_early_so_the_window_moves_up():
    window = Window.for_drives([QCAMERA], "competition")

    left, top, right, bottom = window.box_px(QCAMERA)
    assert (left, right) == pytest.approx((59.8, 468.6), abs=0.1)
    assert (top, bottom) == pytest.approx((127.2 - 3.1, 330.0), abs=0.1)  # 333.1 is 3.1 rows below the picture
    np.testing.assert_allclose(np.diag(window.camera(QCAMERA, 0.0).intrinsics_px)[:2], [226.164, 224.824], atol=1e-3)


def test_a_picture_that_is_too_narrow_gives_a_smaller_window():
    narrow = Lens((1444.8, 1446.8), (263.0, 165.0), (526, 330), 1.22, 1.7)

    window = Window.for_drives([narrow], "competition")

    left, _, right, _ = window.box_px(narrow)
    assert (left, right) == pytest.approx((0.0, 526.0))
    assert window.camera(narrow, 0.0).intrinsics_px[0, 0] == pytest.approx(1444.8 * 128 / 526)


def test_cameras_that_hang_differently_have_one_camera_after_cutting():
    """What lies 20 m ahead on the road is at one place in the frames of both."""
    one, other = QCAMERA, Lens((722.4, 723.4), (248.0, 154.0), (526, 330), 1.22, 1.7)
    window = Window.for_drives([one, other], "competition")
    drawn = window.camera(one, 1.7).project(np.array([20.0, 1.0, 0.0]))

    for lens in (one, other):
        u = lens.ahead_px[0] - lens.focal_px[0] * 1.0 / 20
        v = lens.ahead_px[1] + lens.focal_px[1] * 1.22 / 20
        left, top, right, bottom = window.box_px(lens)
        np.testing.assert_allclose(
            [(u - left) * 128 / (right - left), (v - top) * 64 / (bottom - top)], drawn, atol=1e-6
        )


def test_the_whole_picture_is_what_all_have():
    window = Window.for_drives([QCAMERA, Lens((722.4, 723.4), (253.0, 165.0), (526, 330), 1.22, 1.7)], "whole")

    assert window.box_px(QCAMERA) == pytest.approx((10.0, 0.0, 526.0, 330.0))


def test_pictures_without_a_common_part_are_refused():
    aside = Lens((722.4, 723.4), (900.0, 165.0), (526, 330), 1.22, 1.7)

    with pytest.raises(RecordingError, match="give each camera a folder of its own"):
        Window.for_drives([QCAMERA, aside], "competition")


def test_a_pixel_of_a_frame_is_the_mean_of_an_area():
    lens = Lens((300.0, 300.0), (128.0, 64.0), (256, 128), 1.22, 1.7)
    chequered = (np.indices((128, 256)).sum(axis=0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, axis=2)

    frame = Window.for_drives([lens], "whole").frame(chequered, lens)

    assert frame.shape == (64, 128, 3)
    assert set(frame.ravel()) == {100}


def test_a_camera_in_front_of_the_point_sees_it_behind_itself():
    camera = Window.for_drives([QCAMERA], "competition").camera(QCAMERA, 0.0)

    assert camera.position_m.tolist() == [1.7, 0.0, 1.22]
    assert camera.height_above_road_m == 1.22


@pytest.mark.parametrize(("share", "tested"), [(0.01, 1), (0.5, 2), (0.99, 3), (1.0, 4)])
def test_whole_scenes_go_to_a_split_and_neither_is_empty_in_between(share, tested):
    ids = [f"scene{k}_{decisecond}" for k in range(4) for decisecond in (10, 20)]

    split = split_of(ids, share)

    assert split.count("test") == 2 * tested
    assert all(split[k] == split[k + 1] for k in range(0, 8, 2))
