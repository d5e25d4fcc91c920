"""Extrapolation of the car's motion: constant velocity, a circular arc, and a fitted motion model."""

import json
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from atma18.compute.once import once
from atma18.schema import AXES, WAYPOINT_TIMES_S, FloatArray, IntArray, Samples, StrArray
from atma18.storage import strict_json

WHEELBASE_M = 2.7
_SLOW_MPS = 2.0
_STEP_S = 0.25
_WAYPOINT_AFTER = {round(time_s / _STEP_S): k for k, time_s in enumerate(WAYPOINT_TIMES_S)}
"""The waypoint that is reached after so many steps."""
_MOST_ROWS = 4000
_SMALL_STEP = 2.0**-26
"""A difference quotient's step, as a share of a parameter's range: the root of the precision of a number."""
_SMALL_M = 0.1
"""The loss is quadratic for errors below this size, as for noise, and linear above it."""
_BOUNDS: FloatArray = np.array(
    [[0.0, 0.2], [0.0, 2.0], [0.2, 30.0], [-0.1, 0.1], [5.0, 40.0], [0.0, 0.02], [0.2, 30.0], [-0.1, 0.1]]
)
"""Physically possible range of each of a `MotionModel`'s parameters."""
_SPREAD: FloatArray = np.array([0.03, 0.2, 1.5, 0.01, 6.0, 0.002, 3.0, 0.015])
"""How far a car's parameters are expected from those of `MotionModel`, before any of its drives are seen; in the order
and the units of its fields."""
_SCENES_OF_PRIOR = 1.0
"""How many scenes this expectation weighs; chosen on 2 to 100 simulated scenes (docs/decisions.md)."""


def pace(signals: pd.DataFrame) -> FloatArray:
    """Return the (N,) scale of a car's deviation from its baseline, relative to that of a standing car.

    Bends and slopes of the road shift a waypoint in proportion to the distance driven.
    """
    return np.asarray(1.0 + np.maximum(signals["vEgo"].to_numpy(np.float64), 0.0) / _SLOW_MPS)


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

    # The chord of an arc of angle 2b is sinc(b) times its length, at an angle b: no division by a zero yaw rate.
    bearing_rad = yaw_rate_radps[:, None] * WAYPOINT_TIMES_S / 2  # (N, 6)
    chord_m = speed_mps[:, None] * WAYPOINT_TIMES_S * np.sinc(bearing_rad / np.pi)
    flat_m = chord_m[..., None] * np.stack([np.cos(bearing_rad), np.sin(bearing_rad)], axis=-1)  # (N, 6, 2)
    return np.concatenate([flat_m, np.zeros_like(chord_m)[..., None]], axis=-1)


@dataclass(frozen=True)
class MotionModel:
    """A kinematic car model with decaying acceleration and steering, fitted to waypoints.

    At a time τ after t, the acceleration is `gain * aEgo * exp(-τ / pedal_fade_s) - drag_per_s * speed`, and the
    curvature is that of a bicycle, `tan(δ) / (WHEELBASE_M * (1 + understeer_s2pm2 * speed²))`, where the wheels' angle
    δ is `steeringAngleDeg / steering_ratio`, decaying with `exp(-τ / wheel_fade_s)` (Rajamani, Vehicle Dynamics and
    Control, 2012, sections 2.2 and 3.3). Waypoints determine only the product of ratio and wheelbase, so the wheelbase
    is a constant. A car never rolls back, and waypoints lag behind the signals by `delay_s`.
    """

    delay_s: float = 0.048
    gain: float = 1.0
    pedal_fade_s: float = 3.0
    drag_per_s: float = 0.0
    steering_ratio: float = 15.0
    understeer_s2pm2: float = 0.002
    wheel_fade_s: float = 3.0
    pitch_s: float = 0.015
    """z in metres at a horizon is `pitch_s` times aEgo times the horizon."""

    @classmethod
    def fit(cls, signals: pd.DataFrame, targets_m: FloatArray, scenes: StrArray) -> Self:
        """Fit the parameters to waypoints by robust least squares, and to what is expected of any car.

        The loss is quadratic for small errors and linear for large ones, so drivers who brake or turn later have little
        influence. The parameters of this class are expected, with a weight of a scene: without it, a few scenes alone,
        all straight or all at one speed, would leave some parameters to chance. Of many rows, some thousand at even
        distances are used.

        Args:
            signals: N rows; without steering the car goes straight, without aEgo it keeps its speed.
            targets_m: (N, 18) metres, vehicle frame at t.
            scenes: (N,) the scene of each row.
        """
        from scipy.optimize import least_squares  # predictions do without it

        rows = np.unique(np.linspace(0, len(signals) - 1, _MOST_ROWS).astype(np.int64))
        chosen, truth_m = signals.iloc[rows], targets_m[rows].reshape(len(rows), -1, len(AXES))

        given, expected = _read(chosen), cls().numbers
        of_prior = _SMALL_M / _SPREAD  # a parameter that is off by its spread counts as much as an error of this size
        of_scene = _SCENES_OF_PRIOR * truth_m.size / len(np.unique(scenes))
        weights = np.concatenate([np.ones(truth_m.size), np.full(len(expected), of_scene)])

        def errors(numbers: FloatArray) -> FloatArray:
            return np.concatenate([(_drive(numbers, *given) - truth_m).ravel(), of_prior * (numbers - expected)])

        def slopes(numbers: FloatArray) -> FloatArray:
            step = _SMALL_STEP * (_BOUNDS[:, 1] - _BOUNDS[:, 0])
            step = np.where(numbers + step > _BOUNDS[:, 1], -step, step)
            here, *moved = _drive(numbers + np.vstack([np.zeros(len(step)), np.diag(step)]), *given)
            columns = [((there - here) / size).ravel() for there, size in zip(moved, step, strict=True)]
            return np.vstack([np.stack(columns, axis=1), np.diag(of_prior)])

        def loss(squares: FloatArray) -> FloatArray:
            root = np.sqrt(1 + squares)
            return np.asarray(weights * np.stack([2 * (root - 1), 1 / root, -0.5 / root**3]))

        solution = least_squares(
            errors,
            expected,
            slopes,
            bounds=_BOUNDS.T,
            x_scale=np.abs(_BOUNDS).max(axis=1),
            loss=loss,
            f_scale=_SMALL_M,
        )
        return cls.of(solution.x)

    @classmethod
    def of(cls, numbers: FloatArray) -> Self:
        """Return the model with these `numbers`."""
        return cls(*numbers.tolist())

    @classmethod
    def predict_oof(cls, signals: pd.DataFrame, targets_m: FloatArray, scenes: StrArray, folds: IntArray) -> FloatArray:
        """Predict each fold's rows by a model fitted to the other folds.

        Args:
            signals: N rows, as in `fit`.
            targets_m: (N, 18) metres, vehicle frame at t.
            scenes: (N,) the scene of each row.
            folds: (N,) the fold of each row.

        Returns:
            (N, 18) metres.
        """
        found_m = np.empty(targets_m.shape)
        for k in np.unique(folds):
            inside = folds == k
            model = cls.fit(signals[~inside], targets_m[~inside], scenes[~inside])
            found_m[inside] = model.waypoints(signals[inside]).reshape(inside.sum(), -1)
        return found_m

    def write(self, path: Path) -> None:
        """Write the parameters as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the parameters from JSON.

        Raises:
            ValueError: If a parameter is not finite.
            TypeError: If a parameter is missing or unknown.
        """
        numbers = strict_json.loads(path.read_bytes())
        if not np.isfinite(list(numbers.values())).all():
            raise ValueError(f"{path}: expected finite numbers, found others")
        return cls(**numbers)

    @property
    def numbers(self) -> FloatArray:
        """(8,) parameters in the order of the fields."""
        return np.array(astuple(self))

    def arcs(self, signals: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
        """Return the circles that come closest to the paths of the next 3 s.

        The wheels' angle fades with time. The circle moves a car of constant speed as far aside in 3 s as the fading
        curvature does, which is its mean weighted by the time that is left.

        Args:
            signals: N rows.

        Returns:
            (N,) curvatures in 1/m, positive to the left, and (N,) lengths of the paths in metres; 0 in reverse.
        """
        speed_mps, _, wheel_deg = _read(signals)
        end_s, fade_s = WAYPOINT_TIMES_S[-1], self.wheel_fade_s
        kept = 2 * fade_s / end_s**2 * (end_s + fade_s * np.expm1(-end_s / fade_s))
        curvature_per_m = (
            _curvature_per_m(wheel_deg, self.steering_ratio) * kept / (1 + self.understeer_s2pm2 * speed_mps**2)
        )
        steps_m = np.diff(self.waypoints(signals)[..., :2], axis=1, prepend=0.0)
        return curvature_per_m, np.where(speed_mps > 0, np.linalg.norm(steps_m, axis=-1).sum(axis=1), 0.0)

    def waypoints(self, signals: pd.DataFrame) -> FloatArray:
        """Return (N, 6, 3) waypoints in metres, vehicle frame at t."""
        return _drive(self.numbers, *_read(signals))

    def waypoints_of(self, samples: Samples) -> FloatArray:
        """Return the (N, 6, 3) waypoints of samples, computed once for them."""
        return _waypoints_of(samples, self)


@once
def _waypoints_of(samples: Samples, model: MotionModel) -> FloatArray:
    return model.waypoints(samples.signals)


def _drive(
    numbers: FloatArray, speed_mps: FloatArray, acceleration_mps2: FloatArray, wheel_deg: FloatArray
) -> FloatArray:
    """Return the waypoints of a `MotionModel` with each set of `numbers`.

    Args:
        numbers: (..., 8) parameters, in the order of the model's fields.
        speed_mps: (N,) m/s at time t.
        acceleration_mps2: (N,) m/s² at time t.
        wheel_deg: (N,) degrees of the steering wheel at time t.

    Returns:
        (..., N, 6, 3) metres, vehicle frame at t.
    """
    parameters = np.moveaxis(numbers[..., None], -2, 0)  # 8 x (..., 1)
    delay_s, gain, pedal_fade_s, drag_per_s, steering_ratio, understeer_s2pm2, wheel_fade_s, pitch_s = parameters
    bend_per_m = _curvature_per_m(wheel_deg, steering_ratio)
    x_m, y_m, heading_rad = np.zeros((3, *bend_per_m.shape))
    waypoints_m = np.zeros((*bend_per_m.shape, len(WAYPOINT_TIMES_S), len(AXES)))
    for step in range(round(WAYPOINT_TIMES_S[-1] / _STEP_S)):
        middle_s = (step + 0.5) * _STEP_S
        pedal_mps2 = gain * acceleration_mps2 * np.exp(-middle_s / pedal_fade_s)
        change_mps = (pedal_mps2 - drag_per_s * speed_mps) * _STEP_S
        next_mps = np.where(speed_mps > 0, np.maximum(speed_mps + change_mps, 0.0), speed_mps)
        mean_mps = (speed_mps + next_mps) / 2
        bend = bend_per_m * np.exp(-middle_s / wheel_fade_s) / (1 + understeer_s2pm2 * mean_mps**2)
        turned_rad = bend * mean_mps * _STEP_S
        x_m = x_m + mean_mps * _STEP_S * np.cos(heading_rad + turned_rad / 2)
        y_m = y_m + mean_mps * _STEP_S * np.sin(heading_rad + turned_rad / 2)
        heading_rad, speed_mps = heading_rad + turned_rad, next_mps
        if (at := _WAYPOINT_AFTER.get(step + 1)) is not None:
            late_m = delay_s * speed_mps
            waypoints_m[..., at, 0] = x_m - late_m * np.cos(heading_rad)
            waypoints_m[..., at, 1] = y_m - late_m * np.sin(heading_rad)
    waypoints_m[..., 2] = (pitch_s * acceleration_mps2)[..., None] * WAYPOINT_TIMES_S
    return waypoints_m


def _curvature_per_m(wheel_deg: FloatArray, steering_ratio: FloatArray | float) -> FloatArray:
    """Return the curvature of a bicycle that rolls slowly with the steering wheel held as it is."""
    angle_rad = np.deg2rad(wheel_deg) / steering_ratio
    return np.asarray(np.tan(np.clip(angle_rad, -1.0, 1.0)) / WHEELBASE_M)


def _read(signals: pd.DataFrame) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (N,) speed in m/s, acceleration in m/s² and angle of the steering wheel in degrees."""
    return _values(signals, "vEgo"), _values(signals, "aEgo"), _values(signals, "steeringAngleDeg")


def _values(signals: pd.DataFrame, name: str) -> FloatArray:
    """Return the (N,) values of a signal; zeros if it is absent."""
    return signals[name].to_numpy(np.float64) if name in signals else np.zeros(len(signals))
