"""Roads, drivers and cars must agree with calculations by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import fresnel

from atma18.simulate.canbus import signals, turn_blinker
from atma18.simulate.driving import STEPS, Car, drive, follow_mps2, step_of, stop_mps2
from atma18.simulate.junctions import Junction, Light
from atma18.simulate.kinds import BACKSTREET, ROAD_KINDS, URBAN
from atma18.simulate.road import Bend, Centreline, road_coordinates, seen_from
from atma18.simulate.route import allowed_speeds, draw_route
from atma18.simulate.scenes import CAMERA_M, waypoints
from tests.drives import driver, light, route, scene

QUARTER_LEFT = Bend.turning(10.25, np.pi / 2, radius_m=20.0, clothoid_share=0.0)
NOW = step_of(20.0)

# Roads


def test_quarter_circle_ends_where_geometry_puts_it():
    road = Centreline.lay(100.0, [QUARTER_LEFT])

    end, beyond = road.poses(np.array([QUARTER_LEFT.end_m, QUARTER_LEFT.end_m + 5]))
    assert QUARTER_LEFT.end_m == pytest.approx(10.25 + 10 * np.pi)
    np.testing.assert_allclose(end, [30.25, 20, np.pi / 2], atol=0.05)
    np.testing.assert_allclose(beyond, [30.25, 25, np.pi / 2], atol=0.05)


def test_clothoid_is_eulers_spiral():
    road = Centreline.lay(100.0, [Bend(0.0, clothoid_m=40.0, arc_m=0.0, curvature_per_m=0.05)])

    scale_m = np.sqrt(np.pi * 40 / 0.05)  # curvature s / (R L); the spiral in units of sqrt(pi R L)
    sine, cosine = fresnel(30.0 / scale_m)
    heading_rad = 30**2 * 0.05 / (2 * 40)
    np.testing.assert_allclose(road.poses(30.0), [scale_m * cosine, scale_m * sine, heading_rad], atol=2e-3)


@pytest.mark.parametrize("clothoid_share", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("angle_rad", [1.2, -0.4])
def test_bend_turns_by_its_angle_however_it_begins(clothoid_share, angle_rad):
    bend = Bend.turning(5.0, angle_rad, 15.0, clothoid_share)

    assert Centreline.lay(100.0, [bend]).poses(80.0)[2] == pytest.approx(angle_rad, abs=0.02)
    assert bend.side == ("left" if angle_rad > 0 else "right")


def test_road_climbs_by_its_grade():
    assert Centreline.lay(100.0, grade=0.05).heights_m(40.0) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("point_m", "along_m", "left_m"),
    [
        pytest.param((0, 0), 0, 0, id="start"),
        pytest.param((0, 3), 0, 3, id="left-of-the-start"),
        pytest.param((30.25, 20), 10.25 + 10 * np.pi, 0, id="end-of-the-quarter"),
        pytest.param((10.25 + 20 * np.sin(0.5), 20 - 20 * np.cos(0.5)), 20.25, 0, id="in-the-bend"),
        pytest.param((10.25 + 17 * np.sin(0.5), 20 - 17 * np.cos(0.5)), 20.25, 3, id="inside-of-the-bend"),
        pytest.param((30.25, 30), 10.25 + 10 * np.pi + 10, 0, id="on-the-straight"),
        pytest.param((27.25, 30), 10.25 + 10 * np.pi + 10, 3, id="left-of-the-straight"),
        pytest.param((36.25, 30), 10.25 + 10 * np.pi + 10, -6, id="right-of-the-straight"),
    ],
)
def test_road_coordinates_count_along_and_to_the_left(point_m, along_m, left_m):
    road, places_m = Centreline.lay(100.0, [QUARTER_LEFT]), np.arange(0, 70.0)

    found = road_coordinates(np.array([point_m], dtype=float), road.poses(places_m), places_m)

    np.testing.assert_allclose(np.concatenate(found), [along_m, left_m], atol=0.06)
    np.testing.assert_allclose(road.poses(along_m, left_m)[:2], point_m, atol=0.06)


def test_points_behind_and_beyond_count_as_at_the_ends():
    road, places_m = Centreline.lay(100.0), np.arange(10, 50.0)

    along_m, left_m = road_coordinates(np.array([[0.0, 2.0], [80.0, -3.0]]), road.poses(places_m), places_m)

    np.testing.assert_allclose(along_m, [10, 49])
    np.testing.assert_allclose(left_m, [2, -3])


def test_seen_from_a_pose_x_is_ahead_and_y_to_the_left():
    pose = np.array([10.0, 5.0, np.pi / 2])

    np.testing.assert_allclose(seen_from(pose, np.array([[10.0, 8.0], [9.0, 5.0]])), [[3, 0], [0, 1]], atol=1e-12)
    np.testing.assert_allclose(seen_from(pose, np.array([10.0, 8.0, np.pi])), [3, 0, np.pi / 2], atol=1e-12)


# Routes


def test_driver_brakes_in_comfort_for_a_bend_and_speeds_up_behind_it():
    road = Centreline.lay(300.0, [Bend(100.0, 0.0, 50.0, curvature_per_m=0.05)])

    allowed_mps = allowed_speeds(road, ((0.0, 15.0),), side_mps2=2.0)

    at = {along_m: allowed_mps[2 * along_m] for along_m in (0, 60, 90, 125, 200)}
    in_bend = np.sqrt(2.0 / 0.05)
    expected = {0: 14.142, 60: np.sqrt(40 + 2 * 0.8 * 40), 90: np.sqrt(40 + 2 * 0.8 * 10), 125: in_bend, 200: 15.0}
    assert at == pytest.approx(expected, rel=0.01)


def test_lower_limit_is_reached_where_its_sign_stands():
    allowed_mps = allowed_speeds(Centreline.lay(300.0), ((0.0, 14.0), (150.0, 8.0)), side_mps2=2.0)

    assert allowed_mps[300] == pytest.approx(8.0)
    assert allowed_mps[2 * 120] == pytest.approx(np.sqrt(64 + 2 * 0.8 * 30))


@pytest.mark.parametrize("kind", ROAD_KINDS, ids=lambda kind: kind.name)
def test_drawn_roads_have_what_their_kind_has(kind):
    routes = [draw_route(kind, 8.0, 600.0, None, np.random.default_rng(seed)) for seed in range(40)]

    junctions = [junction for drawn in routes for junction in drawn.junctions]
    lit = np.mean([junction.light is not None for junction in junctions]) if junctions else 0.0
    assert lit == pytest.approx(kind.light_share, abs=0.12)
    assert {junction.way for junction in junctions} <= {"straight", "left", "right"}
    sharpest_per_m = max(np.abs(drawn.centreline.curvature_per_m).max() for drawn in routes)
    least_m = (kind.turns or kind.sweeps).radius_m[0]
    assert 0.5 / least_m < sharpest_per_m < 1 / least_m + 10 * kind.wander_per_m
    assert all(np.diff([junction.along_m for junction in drawn.junctions]).min(initial=np.inf) > 0 for drawn in routes)


def test_who_waits_at_a_light_sees_it_red_until_then():
    drawn = draw_route(URBAN, 8.0, 600.0, 12.0, np.random.default_rng(3))

    first = drawn.lights[0]
    assert 30 < first.stop_m < 65
    assert [first.shows(time_s)[0] for time_s in (-8, 0, 11.9, 12.1, 55)] == ["red", "red", "red", "green", "green"]


# Lights

CYCLE = Light(50.0, "left", green_s=20.0, red_s=30.0, green_from_s=5.0, arrows=("left",), arrow_s=10.0)


@pytest.mark.parametrize(
    ("time_s", "shows", "lets_go"),
    [
        pytest.param(5.1, ("green", ()), True, id="green"),
        pytest.param(25.1, ("yellow", ()), False, id="yellow"),
        pytest.param(28.1, ("red", ("left",)), True, id="arrow"),
        pytest.param(38.1, ("red", ()), False, id="red"),
        pytest.param(58.1, ("green", ()), True, id="green-again"),
        pytest.param(4.9, ("red", ()), False, id="before"),
    ],
)
def test_light_goes_round(time_s, shows, lets_go):
    assert CYCLE.shows(time_s) == shows
    assert CYCLE.lets_go(time_s) == lets_go
    assert not replace(CYCLE, way="straight").lets_go(28.1)


# Driving


def test_calm_driver_on_a_straight_road_keeps_the_limit():
    driven = drive(route(limit_mps=10.0), driver(), 10.0)

    np.testing.assert_allclose(driven.speed_mps, 10.0)
    np.testing.assert_allclose(driven.along_m, 10 * 0.05 * np.arange(STEPS))
    assert (driven.left_m == 0).all()
    assert not driven.has_lead


def test_car_stops_before_a_red_light_and_leaves_when_it_is_green():
    red_until_30 = Light(200.0, "straight", green_s=500.0, red_s=500.0, green_from_s=30.0)

    driven = drive(route(limit_mps=10.0, light=red_until_30), driver(), 10.0)

    front_m = driven.along_m + 3.6
    before, after = step_of(29.9), step_of(33.0)
    assert driven.speed_mps[before] == 0 and 197 < front_m[before] <= 200
    assert driven.speed_mps[after] > 1
    assert driven.accel_mps2.min() > -4.5


def test_car_does_not_heed_a_green_light():
    lit = drive(route(light=light(200.0, "green")), driver(), 10.0)

    np.testing.assert_array_equal(lit.along_m, drive(route(), driver(), 10.0).along_m)


@pytest.mark.parametrize(
    ("to_stop_m", "passes"), [pytest.param(41.0, False, id="can-stop"), pytest.param(11.0, True, id="too-near")]
)
def test_yellow_light_is_passed_when_a_stop_would_be_too_hard(to_stop_m, passes):
    turned_yellow = Light(100.0, "straight", green_s=20.0, red_s=30.0, green_from_s=0.0)

    asked_mps2 = stop_mps2(Car(0.0, 10.0), turned_yellow, to_stop_m, time_s=21.0)

    assert asked_mps2 == (4.5 if passes else pytest.approx(-100 / 80))  # v² / 2 (d - 1) is 1.25, or 5


@pytest.mark.parametrize(
    ("gap_m", "lead_mps", "asked_mps2"),
    [
        pytest.param(2.5 + 13, 10.0, 0.0, id="as-wanted"),
        pytest.param(2.5 + 23, 10.0, 1.5, id="gap-10-m-too-large"),
        pytest.param(2.5 + 13, 12.0, 1.4, id="lead-drives-off"),
        pytest.param(27.0, 5.0, 0.5 - 25 / 50, id="closing-in-with-room"),
        pytest.param(12.0, 5.0, -4.025, id="closing-in"),
    ],
)
def test_driver_keeps_his_distance(gap_m, lead_mps, asked_mps2):
    car, ahead = Car(100.0, 10.0), Car(100.0 + 3.6 + gap_m + 0.9, lead_mps)

    asked = follow_mps2(car, ahead, gap_s=1.3)
    expected = min(0.15 * (gap_m - 15.5) + 0.7 * (lead_mps - 10), asked_mps2)
    assert asked == pytest.approx(expected)


def test_nobody_runs_into_a_car_that_brakes_to_a_stop():
    stops = driver(wishes=np.where(np.arange(STEPS) < step_of(5.0), 1.0, 0.0))

    driven = drive(route(limit_mps=12.0), driver(), 12.0, lead=(stops, 20.0))

    assert driven.lead_speed_mps[-1] == driven.speed_mps[-1] == 0
    assert driven.gaps_m.min() > 0.5
    assert 1 < driven.gaps_m[-1] < 4
    assert driven.lead_demand_mps2.min() < -0.5


def test_car_that_waits_leaves_when_its_driver_does():
    driven = drive(route(), driver(departs_s=20.0), 0.0)

    assert (driven.along_m[: step_of(20.0)] == 0).all()
    assert driven.along_m[-1] > 200


def test_car_keeps_to_the_middle_of_its_lane_in_a_bend_with_the_wheels_of_a_bicycle():
    driven = drive(route(curvature_per_m=0.02), driver(), 10.0)

    assert np.abs(driven.left_m[step_of(2.0) :]).max() < 0.2
    assert driven.wheel_rad[NOW] == pytest.approx(np.arctan(2.7 * 0.02), rel=0.02)


@pytest.mark.parametrize("side", [1, -1])
def test_car_goes_where_in_the_lane_its_driver_wants_to_be(side):
    aims_m = np.where(np.arange(STEPS) < NOW, 0.0, side * 3.0)

    driven = drive(route(), driver(aims_m=aims_m), 10.0)

    assert driven.left_m[NOW] == 0
    assert driven.left_m[step_of(35.0)] == pytest.approx(side * 3.0, abs=0.05)


def test_steering_wheel_cannot_jump():
    driven = drive(route(bends=[Bend.turning(100.0, np.pi / 2, 6.0, 0.0)], limit_mps=4.0), driver(), 4.0)

    assert np.abs(np.diff(driven.wheel_rad)).max() <= 0.6 * 0.05 + 1e-12
    assert np.abs(driven.left_m).max() < 1.5


# Waypoints: the vehicle frame is that of the camera's point on the road, 1.6 m before the rear axle


def test_waypoints_of_an_even_drive_lag_by_48_ms():
    found_m = waypoints(scene().drive, NOW)

    np.testing.assert_allclose(found_m[:, 0], [4.52, 9.52, 14.52, 19.52, 24.52, 29.52], atol=1e-9)
    np.testing.assert_allclose(found_m[:, 1:], 0, atol=1e-9)


def test_waypoints_in_a_bend_are_those_of_a_circle_seen_from_before_its_axle():
    drive_round = scene(curvature_per_m=0.02).drive

    found_m = waypoints(drive_round, NOW, latency_s=0.0)

    turned_rad = 0.2 * np.arange(0.5, 3.1, 0.5)
    x_m = 50 * np.sin(turned_rad) + CAMERA_M * (np.cos(turned_rad) - 1)
    y_m = 50 * (1 - np.cos(turned_rad)) + CAMERA_M * np.sin(turned_rad)
    np.testing.assert_allclose(found_m[:, 0], x_m, atol=0.05)
    np.testing.assert_allclose(found_m[:, 1], y_m, atol=0.05)


@pytest.mark.parametrize(("over", "sign"), [pytest.param(-0.1, 1, id="crest"), pytest.param(0.1, -1, id="dip")])
def test_z_points_down(over, sign):
    """The grade changes by 0.1 half-way: the road then lies 0.1 m lower (crest) or higher (dip) per metre."""
    level = scene()
    here_m = level.drive.along_m[NOW] + CAMERA_M
    grade = np.where(0.5 * np.arange(3001) < here_m + 10, 0.0, over)

    found_m = waypoints(scene(grade=grade).drive, NOW, latency_s=0.0)

    np.testing.assert_allclose(found_m[:, 2], sign * 0.1 * np.array([0, 0, 5, 10, 15, 20]), atol=0.03)


def test_road_that_climbs_evenly_is_level_for_who_climbs_it():
    np.testing.assert_allclose(waypoints(scene(grade=0.08).drive, NOW)[:, 2], 0, atol=1e-9)


def test_waypoints_lie_lower_for_a_car_that_looks_up():
    found_m = waypoints(scene().drive, NOW, pitch_rad=0.01)

    np.testing.assert_allclose(found_m[:, 2], 0.01 * found_m[:, 0], atol=1e-9)


# Signals


def told(driven, seeds=60, blinker=0, trim_deg=0.0):
    return [signals(driven, NOW, blinker, trim_deg, np.random.default_rng(seed)) for seed in range(seeds)]


def test_signals_of_an_even_drive():
    rows = told(scene(curvature_per_m=0.02).drive, trim_deg=1.0)

    means = {name: np.mean([row[name] for row in rows]) for name in ("vEgo", "aEgo", "steeringAngleDeg")}
    assert means["vEgo"] == pytest.approx(10, abs=0.02)
    assert means["aEgo"] == pytest.approx(0, abs=0.05)
    assert means["steeringAngleDeg"] == pytest.approx(15 * np.degrees(np.arctan(2.7 * 0.02)) + 1.0, rel=0.02)
    assert {(row["brake"], row["brakePressed"], row["gearShifter"]) for row in rows} == {(0.0, False, "drive")}
    assert all(
        row["steeringTorque"] == round(row["steeringTorque"]) and abs(row["steeringTorque"]) <= 700 for row in rows
    )
    gas = np.array([row["gas"] for row in rows])
    np.testing.assert_allclose(gas * 200, (gas * 200).round(), atol=1e-9)


def test_signals_at_rest():
    rows = told(drive(route(), driver(departs_s=100.0), 0.0), seeds=400)

    speeds_mps = np.array([row["vEgo"] for row in rows])
    assert all(row["brakePressed"] and not row["gasPressed"] and row["gas"] == 0 for row in rows)
    assert (speeds_mps < 0).any() and np.abs(speeds_mps).max() < 0.14 and np.abs(speeds_mps).min() < 1e-20
    assert {row["gearShifter"] for row in rows} >= {"drive", "park"}


@pytest.mark.parametrize(
    ("mood_mps2", "brakes", "gas"),
    [
        pytest.param(-1.0, True, False, id="brakes"),
        pytest.param(0.5, False, True, id="speeds-up"),
        pytest.param(-0.2, False, False, id="coasts"),
    ],
)
def test_pedals_say_what_the_driver_asks_for(mood_mps2, brakes, gas):
    moods_mps2 = np.zeros(STEPS)
    moods_mps2[NOW - 1] = mood_mps2

    rows = told(drive(route(), driver(moods_mps2=moods_mps2), 10.0))

    assert {(row["brakePressed"], row["gasPressed"]) for row in rows} == {(brakes, gas)}
    assert all((row["gas"] > 0) == gas for row in rows)


@pytest.mark.parametrize(("blinker", "flags"), [(1, (True, False)), (-1, (False, True)), (0, (False, False))])
def test_blinkers_are_two_flags(blinker, flags):
    assert {(row["leftBlinker"], row["rightBlinker"]) for row in told(scene().drive, 3, blinker)} == {flags}


@pytest.mark.parametrize(
    ("along_m", "blinker"),
    [
        pytest.param(30, 0, id="far-off"),
        pytest.param(60, -1, id="before-the-turn"),
        pytest.param(105, -1, id="in-the-turn"),
        pytest.param(130, 0, id="behind-it"),
    ],
)
def test_turn_is_announced_by_the_blinker_of_its_side(along_m, blinker):
    turn, crossing = (Junction(at_m, way, ()) for at_m, way in ((100.0, "right"), (65.0, "straight")))

    assert turn_blinker((crossing, turn), along_m, speed_mps=9.0) == blinker


def test_backstreets_wind_more_than_highways():
    rng = np.random.default_rng(0)
    winding = [np.abs(draw_route(kind, 5.0, 800.0, None, rng).centreline.curvature_per_m).mean() for kind in ROAD_KINDS]

    assert winding[0] > winding[1] > winding[2]
    assert ROAD_KINDS[0] is BACKSTREET
