"""Where the car goes if nobody touches anything."""

import numpy as np

from atma18.schema import WAYPOINT_TIMES_S, FloatArray


def constant_velocity_waypoints(speed_mps: FloatArray) -> FloatArray:
    """Extrapolate straight ahead.

    Args:
        speed_mps: (N,) m/s at time t, negative in reverse.

    Returns:
        (N, 6, 3) waypoints in metres, vehicle frame at t; y and z are 0.
    """
    return arc_waypoints(speed_mps, np.zeros_like(speed_mps))


def arc_waypoints(speed_mps: FloatArray, yaw_rate_radps: FloatArray) -> FloatArray:
    """Extrapolate along the circle that the car is on.

    Args:
        speed_mps: (N,) m/s at time t, negative in reverse.
        yaw_rate_radps: (N,) rad/s at time t, positive to the left.

    Returns:
        (N, 6, 3) waypoints in metres, vehicle frame at t; z is 0.

    Raises:
        ValueError: If the inputs are not two vectors of one length.
    """
    if speed_mps.ndim != 1 or speed_mps.shape != yaw_rate_radps.shape:
        raise ValueError(f"expected two vectors (N,), found shapes {speed_mps.shape} and {yaw_rate_radps.shape}")

    # The chord of an arc of angle 2b is sinc(b) of its length and points b to the side: no division by a zero yaw rate.
    bearing_rad = yaw_rate_radps[:, None] * WAYPOINT_TIMES_S / 2  # (N, 6)
    chord_m = speed_mps[:, None] * WAYPOINT_TIMES_S * np.sinc(bearing_rad / np.pi)
    flat_m = chord_m[..., None] * np.stack([np.cos(bearing_rad), np.sin(bearing_rad)], axis=-1)  # (N, 6, 2)
    return np.concatenate([flat_m, np.zeros_like(chord_m)[..., None]], axis=-1)
