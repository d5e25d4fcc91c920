"""Closed-form motion must agree with lines and circles drawn on paper."""

import numpy as np
import pytest

from atma18.kinematics import arc_waypoints, constant_velocity_waypoints

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
