"""Simulation of a driver and a car on a route at 20 Hz: speed, steering, and the car in front."""

from dataclasses import dataclass
from functools import cached_property
from math import atan, cos, sin, tan

import numpy as np

from atma18.schema import FloatArray
from atma18.simulate.junctions import Light
from atma18.simulate.road import GRID_M
from atma18.simulate.route import Route

STEP_S = 0.05
START_S, END_S = -8.0, 55.1
"""The scene begins at 0 s; the time before lets speeds and gaps settle."""
STEPS = round((END_S - START_S) / STEP_S) + 1
WHEELBASE_M = 2.7
FRONT_M, REAR_M = 3.6, 0.9
"""From the rear axle, which is the car's reference point, to the front and rear bumper."""
PEDAL_LAG_S, STEERING_LAG_S = 0.35, 0.2
WHEEL_RATE_RADPS, WHEEL_LIMIT_RAD = 0.6, 0.58
HARDEST_MPS2 = 4.5
CREEP_MPS = 0.05
"""A car below this speed whose driver does not accelerate stands still."""
STOPPING_MPS2, PASSING_MPS2 = 0.8, 3.0
"""A stop that needs less deceleration is delayed; a yellow light that needs more is passed."""


@dataclass(frozen=True)
class Driver:
    """The hidden properties of a driver; arrays are (T,)."""

    moods_mps2: FloatArray
    """Random accelerations without a visible cause."""
    wishes: FloatArray
    """Factors of the allowed speed."""
    aims_m: FloatArray
    """The desired position in the lane, to the left of its middle."""
    departs_s: float = START_S
    """The car stands still until this time."""
    gap_s: float = 1.3
    """The time gap to the car in front."""


@dataclass(slots=True)
class Car:
    """The state of a car."""

    along_m: float
    speed_mps: float
    accel_mps2: float = 0.0
    demand_mps2: float = 0.0
    """The acceleration that the driver demands with the pedals."""
    left_m: float = 0.0
    heading_rad: float = 0.0
    """Relative to the road."""
    wheel_rad: float = 0.0
    """Angle of the front wheels."""


@dataclass(frozen=True, eq=False)
class Drive:
    """A simulated drive, step by step; arrays are (T,)."""

    route: Route
    along_m: FloatArray
    left_m: FloatArray
    heading_rad: FloatArray
    """Relative to the road."""
    speed_mps: FloatArray
    accel_mps2: FloatArray
    demand_mps2: FloatArray
    wheel_rad: FloatArray
    lead_along_m: FloatArray
    """The rear axle of the car in front; NaN without one, as in its other arrays."""
    lead_speed_mps: FloatArray
    lead_demand_mps2: FloatArray

    @cached_property
    def poses(self) -> FloatArray:
        """(T, 3) x, y in m and heading in rad in the world, of the rear axle."""
        poses = self.route.centreline.poses(self.along_m, self.left_m)
        poses[:, 2] += self.heading_rad
        return poses

    @property
    def has_lead(self) -> bool:
        """Whether there is a car in front."""
        return not np.isnan(self.lead_along_m[0])

    @property
    def gaps_m(self) -> FloatArray:
        """(T,) metres from bumper to bumper; NaN without a car in front."""
        return self.lead_along_m - REAR_M - FRONT_M - self.along_m


def step_of(time_s: float) -> int:
    """Return the step at this time of the scene."""
    return round((time_s - START_S) / STEP_S)


def drive(
    route: Route, driver: Driver, start_mps: float, lead: tuple[Driver, float] | None = None, wheel_rad: float = 0.0
) -> Drive:
    """Simulate a drive along a route from its start.

    Args:
        route: the route.
        driver: the driver of the car.
        start_mps: speed at the start.
        lead: the driver of the car in front, and the gap to that car in m at the start.
        wheel_rad: angle of the front wheels at the start.
    """
    way = _Way(route)
    car = Car(0.0, start_mps, left_m=float(driver.aims_m[0]), wheel_rad=wheel_rad)
    no_lead = (np.nan, np.nan, np.nan)
    ahead = Car(lead[1] + FRONT_M + REAR_M, start_mps) if lead else None
    rows = []
    for step in range(STEPS):
        time_s = START_S + step * STEP_S
        now = (car.along_m, car.left_m, car.heading_rad, car.speed_mps, car.accel_mps2, car.demand_mps2, car.wheel_rad)
        rows.append(now + ((ahead.along_m, ahead.speed_mps, ahead.demand_mps2) if ahead else no_lead))
        wanted_mps2 = way.wanted_mps2(car, driver.wishes[step], time_s)
        if lead and ahead:
            wanted_mps2 = min(wanted_mps2, follow_mps2(car, ahead, driver.gap_s))
            press(ahead, way.wanted_mps2(ahead, lead[0].wishes[step], time_s), lead[0], step)
            roll(ahead, 0.0)
        press(car, wanted_mps2, driver, step)
        steer(car, way.curvature_per_m(car), driver.aims_m[step])
        roll(car, way.curvature_per_m(car))
    return Drive(route, *np.array(rows).T)


class _Way:
    """A route as plain lists: reading one number is ten times as fast as from arrays."""

    def __init__(self, route: Route) -> None:
        self._curvatures_per_m: list[float] = route.centreline.curvature_per_m.tolist()
        self._allowed_mps: list[float] = route.allowed_mps.tolist()
        self._lights = route.lights

    def curvature_per_m(self, car: Car) -> float:
        return self._curvatures_per_m[int(car.along_m / GRID_M)]

    def wanted_mps2(self, car: Car, wish: float, time_s: float) -> float:
        """Return the acceleration for the speed limits and traffic lights of the route."""
        allowed_mps = wish * self._allowed_mps[int((car.along_m + 0.5 * car.speed_mps) / GRID_M)]
        wanted_mps2 = min((allowed_mps - car.speed_mps) / (4.5 if allowed_mps > car.speed_mps else 2.0), 1.2)
        for light in self._lights:
            to_stop_m = light.stop_m - car.along_m - FRONT_M
            if to_stop_m > -1:
                return min(wanted_mps2, stop_mps2(car, light, to_stop_m, time_s))
        return wanted_mps2


def stop_mps2(car: Car, light: Light, to_stop_m: float, time_s: float) -> float:
    """Return the constant deceleration to a stop one metre before the stop line, once the light requires it."""
    needed_mps2 = car.speed_mps**2 / (2 * max(to_stop_m - 1, 0.3))
    if (needed_mps2 < STOPPING_MPS2 and to_stop_m > 3) or light.lets_go(time_s):
        return HARDEST_MPS2
    if light.shows(time_s)[0] == "yellow" and needed_mps2 > PASSING_MPS2:
        return HARDEST_MPS2
    return -max(needed_mps2, 0.5)


def follow_mps2(car: Car, ahead: Car, gap_s: float) -> float:
    """Return the acceleration that keeps a gap of 2.5 m plus a time gap to the car in front, and its speed."""
    gap_m = ahead.along_m - REAR_M - FRONT_M - car.along_m
    closing_mps = car.speed_mps - ahead.speed_mps
    hold_mps2 = 0.15 * (gap_m - 2.5 - gap_s * car.speed_mps) - 0.7 * closing_mps
    if closing_mps <= 0:
        return hold_mps2
    return min(hold_mps2, 0.5 - closing_mps**2 / (2 * max(gap_m - 2, 0.5)))


def press(car: Car, wanted_mps2: float, driver: Driver, step: int) -> None:
    """Update the pedals; the acceleration of the car follows with a lag."""
    time_s = START_S + step * STEP_S
    if car.speed_mps < CREEP_MPS and (wanted_mps2 < 0.15 or time_s < driver.departs_s):
        car.demand_mps2 = car.accel_mps2 = car.speed_mps = 0.0
        return
    car.demand_mps2 = min(max(wanted_mps2 + driver.moods_mps2[step], -HARDEST_MPS2), 2.8)
    car.accel_mps2 += (car.demand_mps2 - car.accel_mps2) * STEP_S / PEDAL_LAG_S


def steer(car: Car, curvature_per_m: float, aim_m: float) -> None:
    """Turn the wheels: follow the curvature of the lane, and return to the desired position in it."""
    reach_m = max(4.0, 1.0 * car.speed_mps)
    wanted_per_m = curvature_per_m - 2 * (car.left_m - aim_m) / reach_m**2 - 2 * car.heading_rad / reach_m
    wanted_rad = min(max(atan(WHEELBASE_M * wanted_per_m), -WHEEL_LIMIT_RAD), WHEEL_LIMIT_RAD)
    turn_rad = (wanted_rad - car.wheel_rad) * STEP_S / STEERING_LAG_S
    most_rad = WHEEL_RATE_RADPS * STEP_S * (car.speed_mps > 0.3)
    car.wheel_rad += min(max(turn_rad, -most_rad), most_rad)


def roll(car: Car, curvature_per_m: float) -> None:
    """Move a car by one step of the bicycle model, in the coordinates of the road."""
    before_mps = car.speed_mps
    car.speed_mps = max(0.0, before_mps + car.accel_mps2 * STEP_S)
    if car.speed_mps == 0:
        car.accel_mps2 = 0.0
    moved_m = (before_mps + car.speed_mps) / 2 * STEP_S
    along_m = moved_m * cos(car.heading_rad) / (1 - curvature_per_m * car.left_m)
    car.along_m += along_m
    car.left_m += moved_m * sin(car.heading_rad)
    car.heading_rad += moved_m * tan(car.wheel_rad) / WHEELBASE_M - curvature_per_m * along_m
