"""A car on a road, what is ahead of it, and how its driver goes on."""

from dataclasses import dataclass
from math import cos, exp, inf, sin

import numpy as np

from atma18.schema import WAYPOINT_TIMES_S, FloatArray
from atma18.simulate.road import STRAIGHT_PER_M, Arcs, curvature_at

STEP_S = 0.05
LATENCY_S = 0.048  # the published waypoints lag behind their times by about one 20 Hz step
SIDE_MPS2 = 2.5  # the sideways acceleration that drivers accept in a bend
LEAD_BRAKE_MPS2 = 2.5


@dataclass(frozen=True)
class Lead:
    """The car in front."""

    gap_m: float
    speed_mps: float
    brakes: bool

    def speed_in_mps(self, ahead_s: float) -> float:
        """Return its speed in so many seconds."""
        return max(0.0, self.speed_mps - (LEAD_BRAKE_MPS2 * ahead_s if self.brakes else 0.0))


@dataclass(frozen=True)
class Light:
    """A traffic light ahead."""

    colour: str
    stop_m: float
    """Distance to the stop line; the lamps hang beyond it."""


@dataclass(frozen=True)
class Moment:
    """The car and its road at time t; lengths count along the lane from the car, left is positive."""

    speed_mps: float
    accel_mps2: float = 0.0
    curvature_per_m: float = 0.0
    cruise_mps: float = 0.0
    """The speed that the driver would like: no sensor tells it."""
    bend_start_m: float = 40.0
    bend_per_m: float = 0.0
    """Curvature of the bend ahead; beyond it the road is straight."""
    left_of_lane_m: float = 0.0
    lead: Lead | None = None
    light: Light | None = None
    odometer_m: float = 0.0
    """Where along the scene's textures the car is."""

    @property
    def arcs(self) -> Arcs:
        """The road ahead; no bend turns by more than 1.4 rad."""
        bend_m = min(60.0, 1.4 / max(abs(self.bend_per_m), STRAIGHT_PER_M))
        return (self.bend_start_m, self.curvature_per_m), (bend_m, self.bend_per_m), (inf, 0.0)

    def came_m(self, seconds_ago: float) -> float:
        """Return how far the car has come since then, if it sped up or slowed down all the time as it does at t."""
        started_ago_s = self.speed_mps / self.accel_mps2 if self.accel_mps2 > 0 else inf
        moving_s = min(seconds_ago, started_ago_s)
        return self.speed_mps * moving_s - self.accel_mps2 * moving_s**2 / 2

    def past_gap_m(self, seconds_ago: float) -> float:
        """Return the gap to the lead car then, at least 3 m; infinite without a lead car."""
        if self.lead is None:
            return inf
        braking_mps2 = LEAD_BRAKE_MPS2 if self.lead.brakes and self.lead.speed_mps > 0 else 0.0
        lead_came_m = self.lead.speed_mps * seconds_ago + braking_mps2 * seconds_ago**2 / 2
        return max(3.0, self.lead.gap_m + self.came_m(seconds_ago) - lead_came_m)


def wanted_accel_mps2(moment: Moment, speed_mps: float, gone_m: float, gap_m: float, lead_mps: float) -> float:
    """Return what the driver wants: the cruise speed, unless the lead car, the bend or a red light asks for less.

    Args:
        moment: the world as it was at time t.
        speed_mps: the car's speed now.
        gone_m: how far it has come since t.
        gap_m: the gap to the lead car now.
        lead_mps: the lead car's speed now.
    """
    wishes = [min(max((moment.cruise_mps - speed_mps) / 5, -1.0), 1.2)]
    if moment.lead is not None:
        wishes.append(0.12 * (gap_m - 4 - 1.1 * speed_mps) + 0.6 * (lead_mps - speed_mps))
    to_bend_m, bend_mps2 = moment.bend_start_m - gone_m, SIDE_MPS2 / max(abs(moment.bend_per_m), STRAIGHT_PER_M)
    if to_bend_m > 0 and speed_mps**2 > bend_mps2:
        wishes.append((bend_mps2 - speed_mps**2) / (2 * max(to_bend_m, 3.0)))
    if moment.light is not None and moment.light.colour == "red":
        to_stop_m = moment.light.stop_m - gone_m
        wishes.append(-(speed_mps**2) / (2 * max(to_stop_m, 0.5)) if speed_mps > 0 else -1.0)
    return max(min(wishes), -4.0)


def drive_on(moment: Moment, push_mps2: float = 0.0, drift_per_m: float = 0.0) -> tuple[FloatArray, float]:
    """Drive on for three seconds.

    Args:
        moment: where the drive starts.
        push_mps2: acceleration for reasons that nobody sees.
        drift_per_m: curvature for reasons that nobody sees.

    Returns:
        (61, 3) x, y and distance driven, every 0.05 s, in metres, vehicle frame at t; and the speed at the end in m/s.
    """
    speed_mps, gone_m, heading_rad, x_m, y_m = moment.speed_mps, 0.0, 0.0, 0.0, 0.0
    gap_m, track = moment.past_gap_m(0.0), [(0.0, 0.0, 0.0)]
    for ahead_s in np.arange(0, WAYPOINT_TIMES_S[-1] - STEP_S / 2, STEP_S).tolist():
        lead_mps = moment.lead.speed_in_mps(ahead_s) if moment.lead else 0.0
        wanted_mps2 = wanted_accel_mps2(moment, speed_mps, gone_m, gap_m, lead_mps)
        pushed_mps2 = wanted_mps2 + push_mps2 * (speed_mps > 0)
        kept = exp(-ahead_s / 1.5)  # the share of the acceleration at t that is still there
        accel_mps2 = kept * moment.accel_mps2 + (1 - kept) * pushed_mps2
        before_mps, speed_mps = speed_mps, max(0.0, speed_mps + accel_mps2 * STEP_S)

        moved_m = (before_mps + speed_mps) / 2 * STEP_S
        turned_rad = moved_m * (curvature_at(moment.arcs, gone_m + moved_m / 2) + drift_per_m)
        x_m += moved_m * cos(heading_rad + turned_rad / 2)
        y_m += moved_m * sin(heading_rad + turned_rad / 2)
        heading_rad, gone_m, gap_m = heading_rad + turned_rad, gone_m + moved_m, gap_m + lead_mps * STEP_S - moved_m
        track.append((x_m, y_m - moment.left_of_lane_m * (1 - exp(-gone_m / 20)), gone_m))
    return np.array(track), speed_mps


def waypoints(track_m: FloatArray, accel_mps2: float, grade: float = 0.0, latency_s: float = LATENCY_S) -> FloatArray:
    """Read the waypoints off a track; the slope of the road and the pitch of the car move z.

    Args:
        track_m: (61, 3) as `drive_on` returns it.
        accel_mps2: acceleration at t.
        grade: rise of the road per metre.
        latency_s: how much earlier than its time a waypoint is read.

    Returns:
        (6, 3) metres, vehicle frame at t.
    """
    read_s, track_s = WAYPOINT_TIMES_S - latency_s, np.arange(len(track_m)) * STEP_S
    x_m, y_m, gone_m = (np.interp(read_s, track_s, column) for column in track_m.T)
    return np.stack([x_m, y_m, grade * gone_m + 0.015 * accel_mps2 * WAYPOINT_TIMES_S], axis=-1)
