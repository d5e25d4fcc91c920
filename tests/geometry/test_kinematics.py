"""Closed-form motion must equal lines and circles calculated by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from atma18.geometry.kinematics import WHEELBASE_M, MotionModel, arc_waypoints, constant_velocity_waypoints

HALF_TURN_RADPS = np.pi / 3  # 180 degrees in three seconds, 90 in the first 1.5


def test_constant_velocity_goes_straight_at_half_second_steps():
    waypoints_m = constant_velocity_waypoints(np.array([8.0, -2.0]))

    assert waypoints_m.shape == (2, 6, 3)
    np.testing.assert_allclose(waypoints_m[0, :, 0], [4, 8, 12, 16, 20, 24])
    np.testing.assert_allclose(waypoints_m[1, :, 0], [-1, -2, -3, -4, -5, -6])
    assert (waypoints_m[..., 1:] == 0).all()


@pytest.mark.parametrize(
    ("speed_mps", "yaw_rate_radps", "third_xy_m", "last_xy_m"),
    [
        pytest.param(0.0, HALF_TURN_RADPS, (0, 0), (0, 0), id="parked"),
        pytest.param(10.0, 0.0, (15, 0), (30, 0), id="straight"),
        pytest.param(6 * HALF_TURN_RADPS, HALF_TURN_RADPS, (6, 6), (0, 12), id="left-on-radius-6"),
        pytest.param(6 * HALF_TURN_RADPS, -HALF_TURN_RADPS, (6, -6), (0, -12), id="right-on-radius-6"),
        pytest.param(-6 * HALF_TURN_RADPS, HALF_TURN_RADPS, (-6, -6), (0, -12), id="reverse"),
    ],
)
def test_arc_is_a_circle(speed_mps, yaw_rate_radps, third_xy_m, last_xy_m):
    waypoints_m = arc_waypoints(np.array([speed_mps]), np.array([yaw_rate_radps]))

    np.testing.assert_allclose(waypoints_m[0, 2], (*third_xy_m, 0), atol=1e-9)
    np.testing.assert_allclose(waypoints_m[0, 5], (*last_xy_m, 0), atol=1e-9)


def test_vanishing_yaw_rate_tends_to_the_straight_line():
    waypoints_m = arc_waypoints(np.full(2, 12.0), np.array([0.0, 1e-11]))

    np.testing.assert_allclose(waypoints_m[1], waypoints_m[0], atol=1e-8)


@pytest.mark.parametrize(
    ("speed_shape", "yaw_shape"), [pytest.param((3,), (2,), id="lengths"), pytest.param((2, 1), (2, 1), id="rank")]
)
def test_inputs_other_than_two_equal_vectors_are_refused(speed_shape, yaw_shape):
    with pytest.raises(ValueError, match=r"expected two vectors .* found shapes \(.*\) and \(.*\)"):
        arc_waypoints(np.zeros(speed_shape), np.zeros(yaw_shape))


# The motion model

STILL = MotionModel(delay_s=0.0, drag_per_s=0.0, understeer_s2pm2=0.0, pedal_fade_s=1e9, wheel_fade_s=1e9)
TIMES_S = 0.5 * np.arange(1, 7)


def signals_of(**columns):
    return pd.DataFrame({name: np.asarray(values, np.float64) for name, values in columns.items()})


def test_a_car_that_keeps_its_acceleration_goes_as_far_as_on_paper():
    found_m = STILL.waypoints(signals_of(vEgo=[10.0, 10.0], aEgo=[2.0, -5.0]))

    np.testing.assert_allclose(found_m[0, :, 0], 10 * TIMES_S + TIMES_S**2, rtol=1e-7)
    np.testing.assert_allclose(found_m[1, :, 0], [4.375, 7.5, 9.375, 10, 10, 10], rtol=1e-7)  # it stands after 2 s
    assert (found_m[..., 1] == 0).all()


def test_a_car_that_keeps_its_wheel_goes_in_a_circle():
    angle_rad = np.arctan(WHEELBASE_M / 20)  # of the front wheels, for a radius of 20 m
    wheel_deg = np.rad2deg(angle_rad) * STILL.steering_ratio

    found_m = STILL.waypoints(signals_of(vEgo=[8.0, 8.0], steeringAngleDeg=[wheel_deg, -wheel_deg]))

    circle_m = arc_waypoints(np.array([8.0, 8.0]), np.array([0.4, -0.4]))  # 8 m/s over 20 m
    np.testing.assert_allclose(found_m[..., :2], circle_m[..., :2], rtol=0, atol=0.01)  # chords of a quarter second


@pytest.mark.parametrize(
    ("changed", "signals", "last_m"),
    [
        pytest.param({"delay_s": 0.1}, {"vEgo": [10.0]}, (29.0, 0, 0), id="a tenth of a second late"),
        pytest.param({"pitch_s": 0.02}, {"vEgo": [0.0], "aEgo": [1.0]}, (0, 0, 0.06), id="a nose that lifts"),
        pytest.param({}, {"vEgo": [-2.0], "aEgo": [0.0]}, (-6.0, 0, 0), id="reverse"),
        pytest.param({"gain": 0.5}, {"vEgo": [10.0], "aEgo": [2.0]}, (34.5, 0, None), id="half of the acceleration"),
        pytest.param({}, {"vEgo": [10.0]}, (30.0, 0, 0), id="no other sensor"),
    ],
)
def test_each_number_does_what_its_name_says(changed, signals, last_m):
    [found_m] = replace(STILL, **changed).waypoints(signals_of(**signals))[:, -1]

    for found, expected in zip(found_m, last_m, strict=True):
        assert expected is None or found == pytest.approx(expected, abs=1e-6)


def test_understeer_makes_fast_cars_turn_less_and_fading_makes_all_turn_less():
    signals = signals_of(vEgo=[5.0, 20.0], steeringAngleDeg=[20.0, 20.0])
    straightness = []
    for model in (STILL, replace(STILL, understeer_s2pm2=0.01), replace(STILL, wheel_fade_s=1.0)):
        x_m, y_m = model.waypoints(signals)[:, -1, :2].T
        straightness.append(y_m / x_m**2)

    assert (straightness[1] / straightness[0])[1] < 0.3 < (straightness[1] / straightness[0])[0]
    assert (straightness[2] < 0.8 * straightness[0]).all()


def each_alone(count):
    """A scene for each row."""
    return np.array([f"{row:04}" for row in range(count)])


@pytest.mark.parametrize("scenes", [1, 2, 8])
def test_what_is_expected_of_a_car_weighs_as_much_as_a_scene(scenes):
    """Errors of z are far below 0.1 m, where the loss is quadratic: the pitch is the weighted mean of two values."""
    usual, driven = MotionModel(), MotionModel(pitch_s=0.018)
    signals = signals_of(vEgo=np.full(24, 20.0), aEgo=np.full(24, 3.0))
    of_drives = (3.0 * np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0])) ** 2  # z is pitch_s * aEgo * horizon
    of_expected = 18 * (0.1 / 0.015) ** 2 / scenes  # 0.015 s off count as 0.1 m in each of a scene's numbers
    share = of_drives.sum() / (of_drives.sum() + of_expected)
    of_scene = np.repeat([f"s{i}" for i in range(scenes)], 24 // scenes)

    found = MotionModel.fit(signals, driven.waypoints(signals).reshape(24, 18), of_scene)

    assert found.pitch_s == pytest.approx(usual.pitch_s + share * 0.003, rel=0.002)
    assert found.steering_ratio == usual.steering_ratio


def test_what_was_driven_is_fitted():
    rng = np.random.default_rng(0)
    truth = MotionModel(0.08, 0.9, 2.0, 0.01, 12.0, 0.004, 1.5, 0.02)
    signals = signals_of(
        vEgo=rng.uniform(0, 25, 400), aEgo=rng.normal(0, 1, 400), steeringAngleDeg=rng.normal(0, 40, 400)
    )

    found = MotionModel.fit(signals, truth.waypoints(signals).reshape(400, 18), each_alone(400))

    np.testing.assert_allclose(found.numbers, truth.numbers, rtol=0.02, atol=1e-4)
    assert MotionModel.of(found.numbers) == found


def test_nobody_is_predicted_by_a_model_that_was_fitted_to_him():
    """Two halves with other steering: each is predicted as the other half steers."""
    rng = np.random.default_rng(0)
    signals = signals_of(
        vEgo=rng.uniform(0, 25, 800), aEgo=rng.normal(0, 1, 800), steeringAngleDeg=rng.normal(0, 40, 800)
    )
    folds = np.arange(800) % 2
    first_m, second_m = (
        MotionModel(0.08, 0.9, 2.0, 0.01, ratio, 0.004, 1.5, 0.02).waypoints(signals).reshape(800, 18)
        for ratio in (12.0, 18.0)
    )
    of_first = (folds == 0)[:, None]

    found_m = MotionModel.predict_oof(signals, np.where(of_first, first_m, second_m), each_alone(800), folds)

    np.testing.assert_allclose(found_m, np.where(of_first, second_m, first_m), rtol=0, atol=0.05)
    assert np.abs(first_m - second_m).max() > 1.0


def test_a_few_wild_drivers_decide_little():
    rng = np.random.default_rng(1)
    signals = signals_of(vEgo=rng.uniform(1, 25, 400), aEgo=rng.normal(0, 1, 400))
    targets_m = STILL.waypoints(signals).reshape(400, 18)
    targets_m[::20] += 15.0

    found = MotionModel.fit(signals, targets_m, each_alone(400))

    error_m = np.abs(found.waypoints(signals).reshape(400, 18) - STILL.waypoints(signals).reshape(400, 18))
    assert np.median(error_m) < 0.05
