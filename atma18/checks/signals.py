"""Checks of signals against waypoints, of the test drives against the training drives, and of columns' names."""

import difflib

import numpy as np

from atma18.checks.suspicion import Suspicion
from atma18.data.dataset import Dataset
from atma18.geometry.kinematics import WHEELBASE_M, MotionModel
from atma18.schema import AXES, CAN_SIGNALS, GEAR, NUMERIC_SIGNALS, WAYPOINT_TIMES_S, FloatArray, first_few

UNITS = {"km/h": 3.6, "miles per hour": 2.23694, "knots": 1.94384, "feet per second": 3.28084}
"""Units in which somebody may have written a speed, and how many of them make 1 m/s."""
_TOLERANCE = 0.2
"""A car that brakes or speeds up drives up to a fifth less or more in half a second than by vEgo, in the median."""
_UNIT_TOLERANCE = 0.12
_FEWEST = 20
_WHEEL_RATIOS = (6.0, 60.0)
"""Degrees of the steering wheel per degree of the wheels: cars have 12 to 20, and a wheel goes back within a second."""
_OTHER_ANGLES = {
    np.deg2rad(15.0): ("radians", "multiply steeringAngleDeg by 180/π"),
    1.0: ("the angle of the front wheels", "give the angle of the steering wheel"),
    np.rad2deg(15.0): ("degrees that were converted twice", "multiply steeringAngleDeg by π/180"),
}
"""What else an angle may be, by how many of it would turn the wheels by 1°."""
_UNDERSTEER_S2PM2 = MotionModel().understeer_s2pm2
_SEEN_HORIZON = 1  # 1.0 s: the wheel has hardly moved
_NEVER_STILL = ("vEgo", "aEgo", "steeringAngleDeg", "steeringTorque")
_ALIKE = 0.8
_OUTSIDE, _SHARE_OUTSIDE = 0.1, 0.1


def check_speed(dataset: Dataset) -> list[Suspicion]:
    """Compare the distance of the first half second with vEgo: its unit, and the sign of x."""
    speed_mps = dataset.train.signals["vEgo"].to_numpy(np.float64)
    points_m = _waypoints_m(dataset)
    moving = np.abs(points_m[:, -1, 0]) > 3.0
    if moving.sum() < _FEWEST or not np.abs(speed_mps[moving]).any():
        return []
    driven_mps = points_m[moving, 0, 0] / WAYPOINT_TIMES_S[0]
    ratio = float(np.median(driven_mps[speed_mps[moving] != 0] / speed_mps[moving][speed_mps[moving] != 0]))
    if abs(ratio - 1) <= _TOLERANCE:
        return []
    if ratio < 0:
        return [
            Suspicion(
                "sign of x",
                f"waypoints lie behind the car where vEgo is positive ({ratio:+.2f} of its distance)",
                "x is forward, and vEgo negative in reverse",
            )
        ]
    units = [name for name, factor in UNITS.items() if abs(ratio * factor - 1) <= _UNIT_TOLERANCE]
    named = f"vEgo looks like {units[0]}" if units else "vEgo or the waypoints have another unit"
    advice = f"divide vEgo by {UNITS[units[0]]:g}" if units else "vEgo is in m/s, and waypoints are in metres"
    found = f"in the first 0.5 s cars drive {ratio:.2f} of the distance that vEgo says; {named}"
    return [Suspicion("unit of vEgo", found, f"{advice}, in both files")]


def steering_curvature_per_m(dataset: Dataset) -> FloatArray | None:
    """Return the (N,) curvature of the circles that the training cars steer, 1/m; None without steering."""
    if "steeringAngleDeg" not in dataset.train.signals:
        return None
    return MotionModel().arcs(dataset.train.signals)[0]


def waypoint_curvature_per_m(dataset: Dataset, horizon: int = -1) -> FloatArray:
    """Return the (N,) curvature of the circles from the cars' origin to a waypoint, 1/m; 0 for standing cars."""
    x_m, y_m, _ = _waypoints_m(dataset)[:, horizon].T
    square_m2 = x_m**2 + y_m**2
    return np.where(square_m2 > 1.0, 2 * y_m / np.maximum(square_m2, 1.0), 0.0)


def turn_agreement(dataset: Dataset) -> float | None:
    """Return the share of turning samples whose steering and waypoints go to the same side; None if they are few."""
    if (steered := steering_curvature_per_m(dataset)) is None:
        return None
    driven = waypoint_curvature_per_m(dataset)
    turning = (np.abs(driven) > np.quantile(np.abs(driven), 0.7)) & (
        np.abs(steered) > np.quantile(np.abs(steered), 0.5)
    )
    return float((np.sign(driven) == np.sign(steered))[turning].mean()) if turning.sum() >= _FEWEST else None


def check_steering_unit(dataset: Dataset) -> list[Suspicion]:
    """Compare the steering wheel's angle with the turns that follow: degrees of the wheel, or something else."""
    if "steeringAngleDeg" not in dataset.train.signals:
        return []
    signals = dataset.train.signals
    angle_rad = np.deg2rad(signals["steeringAngleDeg"].to_numpy(np.float64))
    speed_mps = np.maximum(signals["vEgo"].to_numpy(np.float64), 0.0)
    wheels_rad = waypoint_curvature_per_m(dataset, _SEEN_HORIZON) * WHEELBASE_M * (1 + _UNDERSTEER_S2PM2 * speed_mps**2)
    used = (np.linalg.norm(_waypoints_m(dataset)[:, _SEEN_HORIZON, :2], axis=1) > 2.0) & (angle_rad != 0)
    if used.sum() < _FEWEST:
        return []
    slope = float((wheels_rad * angle_rad)[used].sum() / (angle_rad[used] ** 2).sum())
    ratio = 1 / max(abs(slope), 1e-9)
    low, high = _WHEEL_RATIOS
    if low <= ratio <= high:
        return []
    guess, advice = min(_OTHER_ANGLES.items(), key=lambda known: abs(np.log(ratio / known[0])))[1]
    found = f"the wheels turn by 1° for {ratio:.2g}° of steeringAngleDeg, and not for 12 to 20°; it looks like {guess}"
    return [Suspicion("unit of steeringAngleDeg", found, f"{advice}, in both files")]


def check_constant(dataset: Dataset) -> list[Suspicion]:
    """Name numbers that never change; pedals may rest for ever."""
    signals = dataset.train.signals
    still = [name for name in _NEVER_STILL if name in signals and signals[name].nunique() == 1]
    if not still or len(signals) < _FEWEST:
        return []
    found = ", ".join(f"{name} is {signals[name].iloc[0]:g}" for name in still)
    return [Suspicion("constant signal", f"{found} in every training row", "empty the column where there is no sensor")]


def check_ranges(dataset: Dataset) -> list[Suspicion]:
    """Name signals of the test drives that lie outside those of the training drives."""
    train, test = dataset.train.signals, dataset.test.signals
    outside = {}
    for name in (name for name in NUMERIC_SIGNALS if name in train):
        low, high = train[name].min(), train[name].max()
        margin = _OUTSIDE * (high - low)
        share = float(((test[name] < low - margin) | (test[name] > high + margin)).mean())
        if share > _SHARE_OUTSIDE:
            outside[name] = f"{share:.0%} of {name} (training: {low:g} to {high:g})"
    if not outside:
        return []
    found = f"the test drives are outside the range of the training drives in {first_few(outside.values())}"
    return [Suspicion("other test drives", found, "expect errors larger than out of fold; train on drives like these")]


def check_columns(dataset: Dataset) -> list[Suspicion]:
    """Name columns that are not read, and are nearly spelt as one that is missing."""
    missing = {_plain(name): name for name in (*CAN_SIGNALS, GEAR) if name in dataset.absent}
    near = []
    for column in dataset.unread_columns:
        if match := difflib.get_close_matches(_plain(column), missing, n=1, cutoff=_ALIKE):
            near.append(f"{column} for {missing[match[0]]}")
    if not near:
        return []
    return [
        Suspicion("column names", f"these columns are not read: {first_few(near, 12)}", "rename them in both files")
    ]


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _waypoints_m(dataset: Dataset) -> FloatArray:
    """Return the (N, 6, 3) waypoints of the training samples."""
    return dataset.targets_m.reshape(-1, len(WAYPOINT_TIMES_S), len(AXES))
