"""Frames must show the road at the camera's projection, and information that is in no signal."""

from dataclasses import replace

import numpy as np
import pytest

from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.schema import LIGHT_CLASSES
from atma18.simulate import detections, draw_scene
from atma18.simulate.driving import STEPS, step_of
from atma18.simulate.junctions import Junction
from atma18.simulate.kinds import BACKSTREET, HIGHWAY, ROAD_KINDS
from atma18.simulate.lamps import heads
from atma18.simulate.rendering import render, render_frame
from atma18.simulate.road import Bend
from atma18.simulate.scenes import CAMERA_M, Sample, waypoints
from atma18.simulate.view import View
from tests.drives import driver, light, route, scene

NOW = step_of(20.0)
HERE_M = 280 + CAMERA_M
"""Where the camera is at 20 s after 28 s at 10 m/s."""


def frame(shown, step=NOW):
    return render_frame(shown, step)


# Geometry


def test_level_road_lies_where_the_camera_sees_it():
    view = View.of(scene(), NOW)

    expected_m = COMPETITION_CAMERA.road_points()
    rows = slice(20, 64)  # nearer than 33 m
    points_m, along_m, left_m = view.ground
    np.testing.assert_allclose(view.forward_m[rows], expected_m[rows, 0, 0], rtol=2e-3)
    np.testing.assert_allclose(points_m[-44:], expected_m[rows], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(along_m[-44:] - HERE_M, expected_m[rows, :, 0], rtol=2e-3, atol=1e-2)
    np.testing.assert_allclose(left_m[-44:], expected_m[rows, :, 1], rtol=2e-3, atol=1e-2)
    assert np.isnan(view.forward_m[:12]).all()


@pytest.mark.parametrize("pitch_rad", [0.0, 0.01])
@pytest.mark.parametrize("over", [0.0, 0.04, -0.04])
def test_boxes_stand_where_the_published_formula_projects_them(pitch_rad, over):
    grade = np.where(0.5 * np.arange(3001) < HERE_M + 10, 0.0, over)
    view = View.of(replace(scene(grade=grade), pitch_rad=np.full(STEPS, pitch_rad)), NOW)

    [box] = view.boxes(np.array([[HERE_M + 30, 2.0]]), 1.0, 0.0, 1.5)

    down_m = pitch_rad * 30 - over * 20  # z of the road there, which points down
    corners_m = np.array([[30, 2.5, down_m - 1.5], [30, 1.5, down_m]])
    np.testing.assert_allclose(box, COMPETITION_CAMERA.project(corners_m).ravel(), atol=0.15)


def test_what_is_behind_or_far_off_is_not_seen():
    view = View.of(scene(), NOW)

    assert np.isnan(view.boxes(np.array([[HERE_M - 5, 0.0], [HERE_M + 300, 0.0]]), 1.0, 0.0, 1.0)).all()


def test_crest_hides_what_is_behind_it():
    grade = np.where(0.5 * np.arange(3001) < HERE_M + 20, 0.0, -0.1)

    seen_m = View.of(scene(grade=grade), NOW).forward_m

    assert np.nanmax(seen_m) < 25  # a ray over the crest sinks by 1.22 / 20 = 0.061 per metre, the road by 0.1
    assert np.isnan(seen_m[:24]).all() and np.isfinite(seen_m[28:]).all()


def test_uphill_road_rises_above_the_horizon():
    grade = np.where(0.5 * np.arange(3001) < HERE_M + 10, 0.0, 0.1)

    assert np.isfinite(View.of(scene(grade=grade), NOW).forward_m[5:]).all()


@pytest.mark.parametrize("curvature_per_m", [-0.008, 0.0, 0.008])
@pytest.mark.parametrize("over", [0.0, 0.05])
def test_projected_waypoints_lie_on_the_lane(curvature_per_m, over):
    grade = np.where(0.5 * np.arange(3001) < HERE_M + 15, 0.0, over)
    shown = scene(kind=BACKSTREET, curvature_per_m=curvature_per_m, grade=grade)
    waypoints_m = waypoints(shown.drive, NOW)

    on_road = pixel_colours(frame(shown), waypoints_m)
    beside = pixel_colours(frame(shown), waypoints_m[1:5] - [0, 3, 0])  # asphalt ends 1.95 m to the right
    assert len(on_road) >= 4 and len(beside) >= 1
    assert (np.abs(on_road[:, 2] - on_road[:, 1]) < 12).all()  # grey
    assert (beside[:, 2] < beside[:, 1] - 12).all()  # green


def pixel_colours(image, waypoints_m):
    pixels = np.rint(COMPETITION_CAMERA.project(waypoints_m)).astype(int)
    inside = ((pixels >= 0) & (pixels < [128, 64])).all(axis=1)
    return image[pixels[inside, 1], pixels[inside, 0]]


# Motion


def test_stop_line_comes_nearer_as_the_speed_says():
    line_m = HERE_M + 25
    shown, plain = scene(light=light(line_m, "green")), scene()
    expected_rows = []
    for seconds_ago in (0.0, 0.5, 1.0):
        away_m = line_m + 0.3 + 10 * seconds_ago - HERE_M
        expected_rows.append(COMPETITION_CAMERA.project(np.array([away_m, 0, 0]))[1])
    for seconds_ago, row in zip((0.0, 0.5, 1.0), expected_rows, strict=True):
        step = NOW - round(seconds_ago / 0.05)
        change = (frame(shown, step) - frame(plain, step))[:, 60:67].mean(axis=(1, 2))
        assert change.argmax() == pytest.approx(row, abs=0.8)


@pytest.mark.parametrize(
    ("start_mps", "moves"), [pytest.param(0.0, False, id="stands"), pytest.param(10.0, True, id="drives")]
)
def test_only_a_moving_car_sees_the_world_move(start_mps, moves):
    shown = scene(route(limit_mps=10.0), start_mps, who=driver(departs_s=0.0 if moves else 100.0))
    sample = Sample("a_200", NOW, {}, np.zeros(18))
    texture = np.random.default_rng(0).uniform(-1, 1, (256, 256)).astype(np.float32)

    [frames] = render(replace(shown, samples=(sample,), texture=texture)).astype(int)

    for before in frames[1:]:
        assert (np.abs(frames[0] - before).max() > 50) == moves
    assert moves or np.abs(frames[0] - frames[1]).max() <= 4  # the noise is ±2 in each


# What only frames show

BEND = Bend(HERE_M + 8, 10.0, 60.0, 0.02)
AFAR_M = 120.0
"""Where a stop line does not make anybody brake yet."""
HEADS = ((HERE_M + 55, -3.0, 3.0),)
HIDDEN = [
    pytest.param({"bends": [BEND]}, {}, 1, 0.5, id="bend-to-the-left"),
    pytest.param({"bends": [replace(BEND, curvature_per_m=-0.02)]}, {}, 1, -0.5, id="bend-to-the-right"),
    pytest.param({"light": light(HERE_M + 66, "red", HEADS)}, {}, 0, -0.5, id="red-light"),
    pytest.param({"grade": np.where(0.5 * np.arange(3001) < HERE_M + 10, 0, 0.05)}, {}, 2, -0.5, id="slope"),
]


@pytest.mark.parametrize(("road", "of_scene", "axis", "moved_m"), HIDDEN)
def test_what_lies_ahead_changes_the_frame_and_the_last_waypoint_and_no_speed(road, of_scene, axis, moved_m):
    changed, usual = scene(**road, **of_scene), scene()

    assert changed.drive.speed_mps[NOW] == pytest.approx(usual.drive.speed_mps[NOW])
    assert np.abs(frame(changed) - frame(usual)).max() > 40
    found_m = (waypoints(changed.drive, NOW) - waypoints(usual.drive, NOW))[-1, axis]
    assert found_m / moved_m > 1


def test_car_in_front_that_starts_to_brake_is_seen_to():
    brakes = driver(wishes=np.where(np.arange(STEPS) < NOW - 6, 1.0, 0.2))
    usual, changed = (scene(lead=(who, 15.5)) for who in (driver(), brakes))

    seen = frame(changed) - frame(usual)
    assert seen[..., 0].max() > 100 and np.abs(seen[..., 1:]).max() < 80  # two red lamps
    moved_m = (waypoints(changed.drive, NOW) - waypoints(usual.drive, NOW))[-1, 0]
    assert moved_m < -1.5


@pytest.mark.parametrize("colour", ["green", "yellow", "red"])
def test_lamp_is_drawn_where_its_box_says(colour):
    lit, dark = (scene(light=light(HERE_M + AFAR_M, colour, seen)) for seen in (HEADS, ()))

    [head] = heads(lit.drive.route, View.of(lit, NOW), NOW)

    u_px, v_px = COMPETITION_CAMERA.project(np.array([55, -3.0, -3.0]))
    np.testing.assert_allclose(
        head.box,
        [
            u_px - 226.164 * 0.625 / 55,
            v_px - 224.824 * 0.25 / 55,
            u_px + 226.164 * 0.625 / 55,
            v_px + 224.824 * 0.25 / 55,
        ],
        atol=0.01,
    )
    lamp = {"green": (60, 255, 130), "yellow": (255, 200, 40), "red": (255, 40, 30)}[colour]
    assert (head.colour, head.arrows) == (colour, ())
    np.testing.assert_allclose(frame(lit)[round(v_px), round(u_px)], lamp, atol=70)  # a part of the pixel is not lamp
    assert np.abs(frame(lit) - frame(dark))[:, 60:70].max() < 1  # elsewhere nothing changes


def test_arrow_shines_green_below_a_red_lamp():
    arrow = replace(light(HERE_M + AFAR_M, "red", ((HERE_M + 40, 0.0, 2.5),)), arrows=("left",), arrow_s=1000.0)
    plain = replace(arrow, arrows=())
    change = frame(scene(light=arrow)) - frame(scene(light=plain))

    rows, columns = np.nonzero(change[..., 1] > 60)
    u_px, v_px = COMPETITION_CAMERA.project(np.array([40, 0.0, -2.5]))
    assert (rows > v_px).all() and (columns < u_px).all() and len(rows)


@pytest.mark.parametrize("brakes", [True, False])
def test_rear_lights_are_bright_when_the_car_in_front_brakes(brakes):
    asked = np.where(np.arange(STEPS) < NOW - 8, 0.0, -2.0 * brakes)
    shown = scene(lead=(driver(moods_mps2=asked), 15.5))

    gap_m = shown.drive.lead_along_m[NOW] - 0.9 - HERE_M
    left_px, right_px = np.rint(
        COMPETITION_CAMERA.project(np.array([[gap_m, 0.65, -0.775], [gap_m, -0.65, -0.775]]))
    ).astype(int)
    for lamp_px in (left_px, right_px):
        assert frame(shown)[lamp_px[1], lamp_px[0], 0] == pytest.approx(255 if brakes else 120, abs=15)


# Light and kinds


def test_night_dims_the_road_but_not_the_lamps():
    lit = light(HERE_M + AFAR_M, "red", ((HERE_M + 50, -1.0, 3.0),))
    day, dusk, night = (scene(light=lit, daylight=daylight) for daylight in (1.0, 0.8, 0.1))
    u_px, v_px = np.rint(COMPETITION_CAMERA.project(np.array([50, -1.0, -3.0]))).astype(int)

    np.testing.assert_allclose(frame(dusk)[40:], 0.8 * frame(day)[40:], rtol=1e-4)
    np.testing.assert_allclose(frame(night)[:4, :20], 0.1 * frame(day)[:4, :20], rtol=1e-4)
    assert frame(night)[v_px, u_px, 0] > 200
    near, far = (frame(night)[row, 64].mean() / frame(day)[row, 64].mean() for row in (60, 18))
    assert near > 2 * far  # headlights


def test_kinds_of_road_look_different():
    frames = [frame(scene(kind=kind)) for kind in ROAD_KINDS]

    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(frames[a] - frames[b]).mean() > 5


def test_side_street_is_asphalt_where_the_verge_would_be():
    plain, street = (scene(kind=BACKSTREET, junctions=found) for found in ((), (crossing(HERE_M + 8),)))

    points_m = np.array([[11.0, -2.5, 0.0]])  # the asphalt of the street itself ends at -1.95 m
    grey, green = (pixel_colours(frame(shown), points_m)[0] for shown in (street, plain))
    assert abs(grey[2] - grey[1]) < 12
    assert green[2] < green[1] - 12


def crossing(along_m):
    middle_m = along_m + BACKSTREET.width_m / 2
    return Junction(along_m, "straight", ((middle_m, 0.0, np.pi / 2), (middle_m, 0.0, -np.pi / 2)))


def test_lane_lines_are_where_the_lanes_end():
    image = frame(scene(kind=HIGHWAY))

    ahead_m = 12.0
    edge_px, beside_px = np.rint(
        COMPETITION_CAMERA.project(
            np.array([[ahead_m, -HIGHWAY.lane_m / 2, 0], [ahead_m, -HIGHWAY.lane_m / 2 + 0.6, 0]])
        )
    ).astype(int)
    assert image[edge_px[1], edge_px[0]].mean() > 150 > 110 > image[beside_px[1], beside_px[0]].mean()


# Detections


def detected(count=400):
    lit = light(HERE_M + AFAR_M, "red", HEADS)
    shown = scene(light=replace(lit, arrows=("left",), arrow_s=1000.0))
    box = heads(shown.drive.route, View.of(shown, NOW), NOW)[0].box
    noises = [np.random.SeedSequence(seed) for seed in range(count)]
    return np.array(box), [detections(replace(shown, noise=noise), NOW) for noise in noises]


def test_detector_finds_wide_heads_with_their_arrows_and_errs_now_and_then():
    box, found = detected()

    assert all(found), "a head of more than 2.6 px is always found"
    first = [boxes[0] for boxes in found]
    names = [name for name, _ in first]
    assert names.count("red") / len(names) == pytest.approx(1 - 0.04 - 0.09 - 0.004, abs=0.05)
    assert {"green", "yellow", "empty"} <= set(names) <= set(LIGHT_CLASSES)
    off_px = np.array([b for _, b in first]) - box
    assert np.abs(off_px.mean(axis=0)).max() < 0.1 and (off_px.std(axis=0) > 0.2).all()
    assert np.mean([boxes[1:] == [("left", boxes[0][1])] for boxes in found]) == pytest.approx(0.8, abs=0.06)


def test_narrow_heads_are_missed_in_part_and_far_ones_always():
    def share(ahead_m):
        shown = scene(light=light(HERE_M + AFAR_M, "green", ((HERE_M + ahead_m, 0.0, 3.0),)))
        noises = [np.random.SeedSequence(seed) for seed in range(200)]
        return np.mean([len(detections(replace(shown, noise=noise), NOW)) for noise in noises])

    assert share(118.0) == pytest.approx(226.164 * 1.25 / 118 / 2.6, abs=0.08)
    assert share(140.0) == 0


def test_same_frame_is_detected_the_same_way():
    shown = draw_scene(0, "train", 1, 6)

    steps = [sample.step for sample in shown.samples]
    again = draw_scene(0, "train", 1, 6)
    assert [detections(shown, step) for step in steps] == [detections(again, step) for step in steps]
    np.testing.assert_array_equal(render(shown), render(again))
