"""CAN signals of one step of a drive, in the published units and resolutions."""

from math import degrees

import numpy as np

from atma18.schema import GEAR
from atma18.simulate.driving import STEP_S, Drive
from atma18.simulate.junctions import Junction

STEERING_RATIO = 15.0
BRAKE_MPS2, GAS_MPS2 = -0.38, -0.04
"""Demanded accelerations: the brake is pressed below the first, the gas above the second, no pedal between them."""
GAS_STEP, TORQUE_LIMIT = 0.005, 700

Signals = dict[str, float | bool | str]


def signals(drive: Drive, step: int, blinker: int, trim_deg: float, rng: np.random.Generator) -> Signals:
    """Return the signals of a step.

    Args:
        drive: the simulated drive.
        step: the step of the drive.
        blinker: 1 left, -1 right, 0 none.
        trim_deg: the angle of the steering wheel on a straight road.
        rng: random numbers for the sensor noise.
    """
    speed_mps, demand_mps2 = float(drive.speed_mps[step]), float(drive.demand_mps2[step])
    stands = speed_mps == 0
    demand_mps2 += rng.normal(0, 0.03)
    gas_pressed = not stands and demand_mps2 > GAS_MPS2
    gas = 0.05 + 0.0085 * speed_mps + 0.12 * max(demand_mps2, 0.0) + rng.normal(0, 0.012)
    wheel_deg, turned_deg = (degrees(STEERING_RATIO * rad) for rad in _wheel(drive, step))
    torque = rng.normal(-15, 103) + 0.25 * wheel_deg + 0.35 * turned_deg / STEP_S
    return {
        "vEgo": _at_rest(rng) if stands else speed_mps + rng.normal(0, 0.03),
        "aEgo": _at_rest(rng) if stands else float(drive.accel_mps2[step]) + rng.normal(0, 0.1),
        "steeringAngleDeg": wheel_deg + trim_deg + rng.laplace(0, 0.25),
        "steeringTorque": float(np.clip(np.rint(torque), -TORQUE_LIMIT, TORQUE_LIMIT)),
        "brake": 0.0,
        "brakePressed": stands or demand_mps2 < BRAKE_MPS2,
        "gas": round(min(max(gas, GAS_STEP), 1.0) / GAS_STEP) * GAS_STEP if gas_pressed else 0.0,
        "gasPressed": gas_pressed,
        GEAR: _gear(stands, rng),
        "leftBlinker": blinker > 0,
        "rightBlinker": blinker < 0,
    }


def _wheel(drive: Drive, step: int) -> tuple[float, float]:
    return float(drive.wheel_rad[step]), float(drive.wheel_rad[step] - drive.wheel_rad[step - 1])


def _at_rest(rng: np.random.Generator) -> float:
    """Return a speed or acceleration of a standing car: the estimate decays, down to 1e-29, with either sign."""
    return float(rng.choice([-1, 1]) * 10 ** rng.uniform(-29, -1.2))


def _gear(stands: bool, rng: np.random.Generator) -> str:
    if not stands:
        return "drive"
    return str(rng.choice(["drive", "park", "neutral"], p=[0.979, 0.02, 0.001]))


def turn_blinker(junctions: tuple[Junction, ...], along_m: float, speed_mps: float) -> int:
    """Return 1 before and in a turn to the left, -1 for one to the right, otherwise 0."""
    for junction in junctions:
        if -20 < junction.along_m - along_m < max(55.0, 6 * speed_mps) and junction.way != "straight":
            return 1 if junction.way == "left" else -1
    return 0
