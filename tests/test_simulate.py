"""The simulated world must obey paper geometry, hold its layout, and repeat itself to the byte."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atma18 import simulate
from atma18.camera import COMPETITION_CAMERA
from atma18.kinematics import arc_waypoints
from atma18.simulate import Plan, writing
from atma18.simulate.rendering import lamp_boxes, render, render_frame
from atma18.simulate.road import curvature_at, road_coordinates, road_point
from atma18.simulate.scenes import ROADS, Scene, can_signals, draw_scene, scene_sizes
from atma18.simulate.world import Lead, Light, Moment, drive_on, wanted_accel_mps2, waypoints

SIGNAL_COLUMNS = [
    *["vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "brakePressed"],
    *["gas", "gasPressed", "gearShifter", "leftBlinker", "rightBlinker"],
]
TARGET_COLUMNS = [f"{axis}_{k}" for k in range(6) for axis in "xyz"]
CRUISING = Moment(speed_mps=10, cruise_mps=10, bend_start_m=15)
QUARTER_LEFT = ((10 * np.pi, 1 / 20), (np.inf, 0.0))  # a quarter circle of radius 20 m, then straight


def plain_scene(road="residential"):
    texture = np.zeros((256, 256), dtype=np.float32)
    return Scene(samples=(), road=ROADS[road], brightness=1.0, texture=texture, noise=np.random.SeedSequence(0))


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    out = tmp_path_factory.mktemp("drives") / "new" / "out"
    simulate.write_drives(out, Plan(3, 2, seed=5))
    return out


# Roads


@pytest.mark.parametrize(
    ("point_m", "along_m", "left_m"),
    [
        pytest.param((0, 0), 0, 0, id="start"),
        pytest.param((0, 3), 0, 3, id="left-of-the-start"),
        pytest.param((20, 20), 10 * np.pi, 0, id="end-of-the-quarter"),
        pytest.param((20 * np.sin(0.5), 20 - 20 * np.cos(0.5)), 10, 0, id="in-the-bend"),
        pytest.param((20, 30), 10 * np.pi + 10, 0, id="on-the-straight"),
        pytest.param((17, 30), 10 * np.pi + 10, 3, id="left-of-the-straight"),
        pytest.param((26, 30), 10 * np.pi + 10, -6, id="right-of-the-straight"),
    ],
)
def test_road_coordinates_count_along_and_to_the_left(point_m, along_m, left_m):
    found = road_coordinates(np.array([point_m]), QUARTER_LEFT)

    np.testing.assert_allclose(np.concatenate(found), [along_m, left_m], atol=1e-9)
    np.testing.assert_allclose(road_point(along_m, left_m, QUARTER_LEFT), point_m, atol=1e-9)


def test_mirrored_road_mirrors_the_coordinates():
    points_m = np.random.default_rng(0).uniform([5, -10], [40, 10], (50, 2))
    left_bend, right_bend = (((12.0, 0.0), (15.0, k), (np.inf, 0.0)) for k in (0.04, -0.04))

    along_m, left_m = road_coordinates(points_m, left_bend)
    mirrored_along_m, mirrored_left_m = road_coordinates(points_m * [1, -1], right_bend)

    np.testing.assert_allclose(mirrored_along_m, along_m)
    np.testing.assert_allclose(mirrored_left_m, -left_m)


@pytest.mark.parametrize(("along_m", "curvature_per_m"), [(14.9, 0.01), (15.1, -0.07), (34.9, -0.07), (35.1, 0.0)])
def test_bend_starts_where_it_is_announced_and_ends_after_its_turn(along_m, curvature_per_m):
    moment = replace(CRUISING, curvature_per_m=0.01, bend_per_m=-0.07)  # 1.4 rad on radius 14 are 20 m

    assert curvature_at(moment.arcs, along_m) == curvature_per_m


# Motion


def test_cruising_car_keeps_its_speed_and_its_waypoints_lag_by_48_ms():
    track_m, end_mps = drive_on(CRUISING)

    assert end_mps == pytest.approx(10)
    expected_x_m = [4.52, 9.52, 14.52, 19.52, 24.52, 29.52]
    np.testing.assert_allclose(waypoints(track_m, 0.0), [(x_m, 0, 0) for x_m in expected_x_m], atol=1e-9)


def test_constant_bend_is_the_circle_of_the_closed_form():
    moment = replace(CRUISING, curvature_per_m=0.02, bend_start_m=100)

    track_m, _ = drive_on(moment)

    expected_m = arc_waypoints(np.array([10.0]), np.array([0.2]))[0]
    np.testing.assert_allclose(track_m[10::10, :2], expected_m[:, :2], atol=1e-3)


def test_braking_as_the_red_light_asks_is_constant_deceleration():
    moment = replace(CRUISING, accel_mps2=-2.0, light=Light("red", stop_m=25))  # v²/2a = 25 m

    track_m, end_mps = drive_on(moment)

    assert end_mps == pytest.approx(10 - 2 * 3)
    assert track_m[-1, 0] == pytest.approx(10 * 3 - 2 * 3**2 / 2)


def test_standing_car_that_nobody_drives_stays_where_it_is():
    track_m, end_mps = drive_on(Moment(speed_mps=0, left_of_lane_m=0.3), push_mps2=1.0, drift_per_m=0.1)

    assert end_mps == 0
    assert (track_m == 0).all()


def test_slope_and_pitch_raise_the_waypoints():
    track_m, _ = drive_on(CRUISING)

    z_m = waypoints(track_m, accel_mps2=2.0, grade=0.1, latency_s=0.0)[:, 2]

    np.testing.assert_allclose(z_m, [0.1 * 10 * t_s + 0.015 * 2 * t_s for t_s in (0.5, 1, 1.5, 2, 2.5, 3)])


def test_car_returns_to_the_middle_of_its_lane():
    track_m, _ = drive_on(replace(CRUISING, left_of_lane_m=0.5))

    assert track_m[-1, 1] == pytest.approx(-0.5 * (1 - np.exp(-30 / 20)))


@pytest.mark.parametrize(
    ("speed_mps", "accel_mps2", "came_m"),
    [
        pytest.param(10, 0, 10, id="steady"),
        pytest.param(10, -2, 11, id="was-faster"),
        pytest.param(2, 4, 0.5, id="started-half-a-second-ago"),
        pytest.param(0, 0, 0, id="stands"),
    ],
)
def test_past_is_the_present_acceleration_run_backwards(speed_mps, accel_mps2, came_m):
    assert Moment(speed_mps=speed_mps, accel_mps2=accel_mps2).came_m(1.0) == pytest.approx(came_m)


@pytest.mark.parametrize(
    ("lead", "gap_m"),
    [
        pytest.param(Lead(20, 8, brakes=False), 20 + 10 - 8, id="slower"),
        pytest.param(Lead(20, 8, brakes=True), 20 + 10 - 8 - 1.25, id="was-faster"),
        pytest.param(Lead(4, 14, brakes=False), 3, id="never-nearer-than-3-m"),
        pytest.param(None, np.inf, id="nobody"),
    ],
)
def test_gap_to_the_lead_car_a_second_ago(lead, gap_m):
    assert replace(CRUISING, lead=lead).past_gap_m(1.0) == pytest.approx(gap_m)


@pytest.mark.parametrize(("ahead_s", "speed_mps"), [pytest.param(2, 3, id="braking"), pytest.param(4, 0, id="stopped")])
def test_lead_car_brakes_until_it_stands(ahead_s, speed_mps):
    assert Lead(20, 8, brakes=True).speed_in_mps(ahead_s) == pytest.approx(speed_mps)
    assert Lead(20, 8, brakes=False).speed_in_mps(ahead_s) == 8


@pytest.mark.parametrize(
    ("ahead", "accel_mps2"),
    [
        pytest.param({}, 0, id="at-the-wished-speed"),
        pytest.param({"cruise_mps": 12}, 0.4, id="slower-than-wished"),
        pytest.param({"cruise_mps": 25}, 1.2, id="no-racing"),
        pytest.param({"lead": Lead(24, 8, brakes=False)}, 0.12 * (24 - 4 - 11) - 0.6 * 2, id="closing-in"),
        pytest.param({"lead": Lead(60, 15, brakes=False)}, 0, id="lead-car-far-off"),
        pytest.param({"bend_per_m": 0.05}, (50 - 100) / (2 * 15), id="bend-for-7-metres-per-second"),
        pytest.param({"bend_per_m": 0.02}, 0, id="bend-for-11-metres-per-second"),
        pytest.param({"light": Light("red", 25)}, -2, id="red-light"),
        pytest.param({"light": Light("red", 5)}, -4, id="no-harder-than-4"),
        pytest.param({"light": Light("green", 25)}, 0, id="green-light"),
    ],
)
def test_driver_heeds_whatever_asks_for_the_least(ahead, accel_mps2):
    moment = replace(CRUISING, **ahead)
    lead = moment.lead or Lead(0, 0, brakes=False)

    assert wanted_accel_mps2(moment, 10.0, 0.0, lead.gap_m, lead.speed_mps) == pytest.approx(accel_mps2)


# What only frames show

HIDDEN = [
    pytest.param({"bend_per_m": 0.012}, 1, "left", id="bend-to-the-left"),
    pytest.param({"bend_per_m": -0.012}, 1, "right", id="bend-to-the-right"),
    pytest.param({"lead": Lead(14, 6, brakes=True)}, 0, "short", id="lead-car-brakes"),
    pytest.param({"light": Light("red", 22)}, 0, "short", id="red-light"),
    pytest.param({"left_of_lane_m": -0.6}, 1, "left", id="right-of-its-lane"),
]


@pytest.mark.parametrize(("hidden", "axis", "where"), HIDDEN)
def test_what_can_signals_do_not_say_changes_the_frames_and_the_last_waypoint(hidden, axis, where):
    changed, scene = replace(CRUISING, **hidden), plain_scene("urban")

    assert can_signals(changed, np.random.default_rng(1)) == can_signals(CRUISING, np.random.default_rng(1))
    assert np.abs(render_frame(scene, changed, 0.0) - render_frame(scene, CRUISING, 0.0)).max() > 40
    moved_m = (waypoints(drive_on(changed)[0], 0.0) - waypoints(drive_on(CRUISING)[0], 0.0))[-1, axis]
    assert moved_m > 0.3 if where == "left" else moved_m < -0.3


def test_green_light_changes_nothing_but_the_picture():
    np.testing.assert_array_equal(
        drive_on(replace(CRUISING, light=Light("green", 22)))[0],
        drive_on(CRUISING)[0],
    )


# Signals


def test_steering_wheel_turns_with_the_present_curvature():
    rng = np.random.default_rng(0)
    signals = [can_signals(replace(CRUISING, curvature_per_m=0.01), rng) for _ in range(400)]

    angle_deg = np.mean([row["steeringAngleDeg"] for row in signals])
    assert angle_deg == pytest.approx(23.20, abs=0.3)  # 15 · atan(2.7 · 0.01) in degrees


def test_sharp_bend_is_announced_by_the_blinker_of_its_side():
    rng = np.random.default_rng(0)
    signals = [can_signals(replace(CRUISING, bend_per_m=-0.05), rng) for _ in range(200)]

    assert sum(row["rightBlinker"] for row in signals) > 100
    assert sum(row["leftBlinker"] for row in signals) < 30


def test_drawn_scenes_follow_the_published_statistics():
    sizes = scene_sizes("train", 300, seed=3).tolist()
    samples = [s for i, size in enumerate(sizes) for s in draw_scene(3, "train", i, size).samples]
    signals = pd.DataFrame([s.signals for s in samples])
    x_5_m = np.array([s.targets_m[15] for s in samples])

    assert signals["vEgo"].mean() == pytest.approx(9.17, abs=1.0)
    assert signals["vEgo"].std() == pytest.approx(7.23, abs=0.7)
    assert (signals["vEgo"].abs() < 0.14).mean() == pytest.approx(0.14, abs=0.04)
    assert signals["aEgo"].std() == pytest.approx(0.63, abs=0.15)
    assert signals["brakePressed"].mean() == pytest.approx(0.31, abs=0.15)
    assert np.mean([s.moment.light is not None for s in samples]) == pytest.approx(0.155, abs=0.04)
    assert x_5_m.mean() == pytest.approx(26.8, abs=3)


# Scenes


@pytest.mark.parametrize(
    ("split", "published"),
    [
        pytest.param("train", [533, 650, 851, 951, 1227, 4841], id="train"),
        pytest.param("test", [157, 22, 23, 46, 47, 173], id="test"),
    ],
)
def test_as_many_scenes_as_published_have_the_published_sizes(split, published):
    sizes = scene_sizes(split, sum(published), seed=0)

    assert np.abs(np.bincount(sizes, minlength=7) - [0, *published]).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_few_scenes_keep_close_to_the_published_mean(seed):
    samples = scene_sizes("train", simulate.DEMO.train_scenes, seed).sum()

    assert abs(samples - simulate.DEMO.train_scenes * 43371 / 9053) < 5  # at most 1 scene off at each of 5 borders
    assert samples >= 650


def test_scene_depends_on_its_place_alone():
    first, again, other = draw_scene(1, "train", 4, 3), draw_scene(1, "train", 4, 3), draw_scene(1, "test", 4, 3)

    assert [s.sample_id for s in first.samples] == [s.sample_id for s in again.samples]
    np.testing.assert_array_equal(render(first), render(again))
    assert first.samples[0].sample_id != other.samples[0].sample_id


# Frames


@pytest.mark.parametrize(
    ("speed_mps", "moves"), [pytest.param(0.0, False, id="stands"), pytest.param(10.0, True, id="drives")]
)
def test_only_a_moving_car_sees_the_world_move(speed_mps, moves):
    scene = draw_scene(0, "train", 0, 1)
    moment = Moment(speed_mps=speed_mps, light=Light("red", 10))
    scene = replace(scene, brightness=1.0, samples=(replace(scene.samples[0], moment=moment),))

    [frames] = render(scene).astype(int)

    for before in frames[1:]:
        assert (np.abs(frames[0] - before).max() > 50) == moves
    assert moves or np.abs(frames[0] - frames[1]).max() <= 4  # the noise is ±2 in each


def test_earlier_frame_is_the_view_from_further_back():
    scene = draw_scene(0, "train", 1, 1)
    now = Moment(speed_mps=10, curvature_per_m=0.01, bend_start_m=20, bend_per_m=-0.03, odometer_m=100)
    before = replace(now, bend_start_m=25, odometer_m=95)

    np.testing.assert_allclose(render_frame(scene, now, 0.5), render_frame(scene, before, 0.0), atol=0.1)


@pytest.mark.parametrize("bend_per_m", [-0.02, 0.0, 0.02])
def test_projected_waypoints_lie_on_the_asphalt(bend_per_m):
    moment = replace(CRUISING, curvature_per_m=0.01, bend_per_m=bend_per_m)
    frame = render_frame(plain_scene(), moment, 0.0)
    waypoints_m = waypoints(drive_on(moment)[0], 0.0)
    verge_m = waypoints_m[2:] - [0, 6, 0]  # the residential asphalt ends 1.95 m to the right of the car

    on_road = pixel_colours(frame, waypoints_m)
    beside = pixel_colours(frame, verge_m)
    assert len(on_road) >= 5 and len(beside) >= 1
    assert (on_road[:, 2] >= on_road[:, 1] - 5).all()  # grey, not green
    assert (beside[:, 2] < beside[:, 1] - 20).all()


def pixel_colours(frame, waypoints_m):
    pixels = np.rint(COMPETITION_CAMERA.project(waypoints_m)).astype(int)
    inside = ((pixels >= 0) & (pixels < [128, 64])).all(axis=1)
    return frame[pixels[inside, 1], pixels[inside, 0]]


def test_lamp_is_drawn_where_its_box_says():
    moment, scene = replace(CRUISING, light=Light("green", stop_m=30)), plain_scene("urban")

    (colour, right_box), _ = lamp_boxes(scene.road, moment, 0.0)
    frame = render_frame(scene, moment, 0.0)

    # 50 m ahead, 2.2 m high, 3.15 m to the right (half a lane, the shoulder and a metre); half a metre wide and high
    u_px, v_px = 63.624 + 226.164 * 3.15 / 50, 11.76 + 224.824 * (1.22 - 2.2) / 50
    without = render_frame(scene, CRUISING, 0.0)
    assert colour == "green"
    np.testing.assert_allclose(right_box, [u_px - 1.13, v_px - 1.12, u_px + 1.13, v_px + 1.12], atol=0.01)
    np.testing.assert_allclose(frame[round(v_px), round(u_px)], (60, 255, 130), atol=1)
    np.testing.assert_array_equal(frame[round(v_px), [76, 80]], without[round(v_px), [76, 80]])


def test_brake_lights_are_bright_only_when_the_lead_car_brakes():
    dark, bright = (
        render_frame(plain_scene(), replace(CRUISING, lead=Lead(15, 10, brakes)), 0.0) for brakes in (False, True)
    )
    lamp_px = np.rint(COMPETITION_CAMERA.project(np.array([15, 0.65, -0.775]))).astype(int)  # published z points down

    assert dark[lamp_px[1], lamp_px[0], 0] == pytest.approx(120)
    assert bright[lamp_px[1], lamp_px[0], 0] == pytest.approx(255)


def test_dusk_dims_the_road_but_not_the_lamps():
    moment, day = replace(CRUISING, light=Light("red", stop_m=30)), plain_scene("urban")
    bright, dim = (render_frame(replace(day, brightness=b), moment, 0.0) for b in (1.0, 0.4))

    np.testing.assert_allclose(dim[40:], 0.4 * bright[40:], rtol=1e-4)
    np.testing.assert_allclose(dim[7, 78], (255, 40, 30), atol=1)


def test_kinds_of_road_look_different():
    frames = [render_frame(plain_scene(road), CRUISING, 0.0) for road in ROADS]

    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(frames[a] - frames[b]).mean() > 5


# The folder


def test_tables_have_the_published_columns_in_lexical_order(drives):
    train, test, withheld = (
        pd.read_csv(drives / f"{name}.csv") for name in ("train_features", "test_features", "test_targets")
    )

    assert list(train) == ["ID", *SIGNAL_COLUMNS, *TARGET_COLUMNS]
    assert list(test) == ["ID", *SIGNAL_COLUMNS]
    assert list(withheld) == ["ID", *TARGET_COLUMNS]
    assert withheld["ID"].tolist() == test["ID"].tolist()
    for table in (train, test):
        assert table["ID"].tolist() == sorted(table["ID"])
        assert table["ID"].str.fullmatch(r"[0-9a-f]{32}_(20|120|220|320|420|520)").all()
    assert train["ID"].str[:32].nunique() == 3 and test["ID"].str[:32].nunique() == 2
    assert np.isfinite(train[TARGET_COLUMNS]).all(axis=None)


def test_signals_have_the_published_steps(drives):
    table = pd.concat([pd.read_csv(drives / f"{split}_features.csv") for split in ("train", "test")])

    assert (table["brake"] == 0).all()
    assert (table["steeringTorque"] % 1 == 0).all()
    np.testing.assert_allclose(table["gas"] * 200, (table["gas"] * 200).round(), atol=1e-9)
    assert not (table["leftBlinker"] & table["rightBlinker"]).any()
    assert all(table[flag].dtype == bool for flag in ("brakePressed", "gasPressed", "leftBlinker", "rightBlinker"))


def test_each_sample_has_three_frames_and_its_lights(drives):
    ids = {i for split in ("train", "test") for i in pd.read_csv(drives / f"{split}_features.csv")["ID"]}

    assert {folder.name for folder in (drives / "images").iterdir()} == ids
    assert {file.stem for file in (drives / "traffic_lights").iterdir()} == ids
    for sample_id in ids:
        files = list((drives / "images" / sample_id).iterdir())
        assert {file.name for file in files} == {"image_t.png", "image_t-0.5.png", "image_t-1.0.png"}
        for file in files:
            with Image.open(file) as frame:
                assert (frame.size, frame.mode) == ((128, 64), "RGB")
        for index, light in enumerate(json.loads((drives / "traffic_lights" / f"{sample_id}.json").read_text())):
            x1, y1, x2, y2 = light["bbox"]
            assert light["index"] == index and light["class"] in ("red", "green")
            assert 0 <= x1 < x2 <= 128 and 0 <= y1 < y2 <= 64


def test_same_seed_writes_the_same_bytes_and_another_seed_others(drives, tmp_path):
    simulate.write_drives(tmp_path / "again", Plan(3, 2, seed=5))
    simulate.write_drives(tmp_path / "other", Plan(3, 2, seed=6))

    assert contents(tmp_path / "again") == contents(drives)
    assert contents(tmp_path / "other") != contents(drives)


def contents(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_makes_no_difference(drives, tmp_path, workers):
    simulate.write_drives(tmp_path / "again", Plan(3, 2, seed=5), workers)

    assert contents(tmp_path / "again") == contents(drives)


def test_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()

    with pytest.raises(ValueError, match=r"mine: expected nothing there, found a folder: name another"):
        simulate.write_drives(tmp_path / "mine", Plan(1, 1, seed=0))
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def interrupt_in_scene(number, monkeypatch):
    """Let the work end when the scene of this number is rendered."""
    rendered = []

    def counted(scene):
        rendered.append(scene)
        if len(rendered) == number:
            raise KeyboardInterrupt
        return render(scene)

    monkeypatch.setattr(writing, "render", counted)
    return rendered


def test_interrupted_work_is_not_mistaken_for_drives_and_is_gone_on_from(drives, tmp_path, monkeypatch):
    interrupt_in_scene(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=5))
    assert not (tmp_path / "out").exists()

    rendered = interrupt_in_scene(99, monkeypatch)
    simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=5))

    assert len(rendered) == 3  # two of five scenes were there
    assert contents(tmp_path / "out") == contents(drives)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_interrupted_work_of_another_plan_is_dropped(drives, tmp_path, monkeypatch):
    interrupt_in_scene(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=6))
    monkeypatch.undo()

    simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=5))

    assert contents(tmp_path / "out") == contents(drives)


def test_split_without_scenes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1 scene per split, found 2 and 0"):
        Plan(2, 0, seed=0)
