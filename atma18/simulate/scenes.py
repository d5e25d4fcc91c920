"""Draw scenes: the statistics of the drives, and what the CAN signals say of them."""

from dataclasses import dataclass, replace
from math import atan, degrees, sqrt

import numpy as np

from atma18.schema import GEAR, Float32Array, FloatArray, IntArray
from atma18.simulate.road import STRAIGHT_PER_M
from atma18.simulate.world import LATENCY_S, SIDE_MPS2, Lead, Light, Moment, drive_on, wanted_accel_mps2, waypoints

SPLITS = ("train", "test")
SCENES_BY_SIZE = {"train": (533, 650, 851, 951, 1227, 4841), "test": (157, 22, 23, 46, 47, 173)}
"""Published numbers of scenes with 1, 2 … 6 samples."""
DECISECONDS = (20, 120, 220, 320, 420, 520)
WHEELBASE_M, STEERING_RATIO = 2.7, 15.0
SHOULDER_M = 0.5


@dataclass(frozen=True)
class Road:
    """A kind of road: how it is driven and what it looks like."""

    share: float
    cruise_mps: tuple[float, float]
    lanes: int
    lane_m: float
    turn_share: float
    """Samples with a sharp bend ahead."""
    light_share: float
    lead_share: float
    building_m: float
    """Height of what stands beside the road."""
    verge_rgb: tuple[int, int, int]
    building_rgb: tuple[int, int, int]

    @property
    def right_edge_m(self) -> float:
        """Where the asphalt ends, to the left of the middle of the rightmost lane, in which the car drives."""
        return -0.5 * self.lane_m - SHOULDER_M

    @property
    def left_edge_m(self) -> float:
        """Where the asphalt ends on the other side."""
        return (self.lanes - 0.5) * self.lane_m + SHOULDER_M


ROADS = {
    "residential": Road(0.25, (2, 11), 2, 2.9, 0.35, 0.10, 0.25, 5.0, (96, 122, 66), (150, 96, 78)),
    "urban": Road(0.53, (3, 17), 3, 3.3, 0.25, 0.24, 0.45, 9.0, (142, 136, 126), (118, 112, 116)),
    "highway": Road(0.22, (18, 26), 4, 3.7, 0.0, 0.0, 0.40, 3.0, (122, 116, 62), (58, 88, 56)),
}

Signals = dict[str, float | bool | str]


@dataclass(frozen=True)
class Sample:
    """One row of the tables and the moment that its frames show."""

    sample_id: str
    moment: Moment
    signals: Signals
    targets_m: FloatArray
    """(18,) metres, vehicle frame at t."""


@dataclass(frozen=True)
class Scene:
    """The samples of one drive, by time, and what their frames have in common."""

    samples: tuple[Sample, ...]
    road: Road
    brightness: float
    texture: Float32Array
    """(256, 256) in [-1, 1], laid over the ground and the buildings."""
    noise: np.random.SeedSequence
    """Where the sensor noise of the frames starts from."""


def scene_sizes(split: str, scenes: int, seed: int) -> IntArray:
    """Draw (scenes,) sizes from the published distribution, by systematic sampling.

    The quantiles lie on a grid of `scenes` steps with one random offset, so that even a few scenes hold close to the
    published mean number of samples per scene; the order is shuffled.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    quantiles = (np.arange(scenes) + rng.random()) / max(scenes, 1)
    counts = np.cumsum(SCENES_BY_SIZE[split])
    sizes = 1 + np.searchsorted(counts, quantiles * counts[-1], side="right")
    return np.asarray(rng.permutation(sizes), dtype=np.int64)


def draw_scene(seed: int, split: str, index: int, size: int) -> Scene:
    """Draw one scene; it depends on the arguments alone, not on other scenes."""
    drawn, noise = np.random.SeedSequence([seed, SPLITS.index(split), index]).spawn(2)
    rng = np.random.default_rng(drawn)
    roads = list(ROADS.values())
    road = roads[rng.choice(len(roads), p=[road.share for road in roads])]
    dusk = rng.random() < 0.25
    return Scene(
        samples=_draw_samples(road, size, rng),
        road=road,
        brightness=rng.uniform(0.35, 0.5) if dusk else rng.uniform(0.8, 1.05),
        texture=rng.uniform(-1, 1, (256, 256)).astype(np.float32),
        noise=noise,
    )


def _draw_samples(road: Road, size: int, rng: np.random.Generator) -> tuple[Sample, ...]:
    scene_id = rng.bytes(16).hex()
    cruise_mps = rng.uniform(*road.cruise_mps)
    speed_mps = 0.0 if rng.random() < 0.24 else max(0.0, cruise_mps + _laplace(rng, 1.5))
    samples = []
    for decisecond in _deciseconds(size, rng):
        waits = speed_mps == 0 and rng.random() < 0.7
        moment = draw_moment(road, speed_mps, 0.0 if waits else cruise_mps + rng.normal(0, 1), rng)
        targets_m, end_mps = _drive(moment, rng)
        samples.append(Sample(f"{scene_id}_{decisecond}", moment, can_signals(moment, rng), targets_m.ravel()))
        if end_mps > 0 or rng.random() < 0.2:
            speed_mps = end_mps + 0.3 * (cruise_mps - end_mps) + _laplace(rng, 1.3)
        speed_mps = speed_mps if speed_mps > 0.3 else 0.0
    return tuple(samples)


def _drive(moment: Moment, rng: np.random.Generator) -> tuple[FloatArray, float]:
    track_m, end_mps = drive_on(moment, push_mps2=_laplace(rng, 0.2), drift_per_m=_laplace(rng, 2.5e-4))
    waypoints_m = waypoints(track_m, moment.accel_mps2, _laplace(rng, 0.0055), latency_s=rng.normal(LATENCY_S, 0.006))
    return waypoints_m + rng.laplace(0, 0.008, waypoints_m.shape), end_mps


def _deciseconds(size: int, rng: np.random.Generator) -> list[int]:
    if rng.random() < 0.1:
        return sorted(rng.choice(DECISECONDS, size, replace=False).tolist())
    first = rng.integers(0, len(DECISECONDS) - size, endpoint=True)
    return list(DECISECONDS[first : first + size])


def draw_moment(road: Road, speed_mps: float, cruise_mps: float, rng: np.random.Generator) -> Moment:
    """Draw the world around a car of this speed, and how far its driver has reacted to it."""
    curvature_per_m = _curvature_per_m(rng, speed_mps, 0.2 * road.turn_share)
    turn_m = rng.uniform(0.1, 1.4) / max(abs(curvature_per_m), STRAIGHT_PER_M)
    bend_start_m = min(3 + speed_mps * rng.uniform(0.2, 3), turn_m)
    reachable_mps = sqrt(max(speed_mps**2 - 4 * bend_start_m, 1.0))  # braking at 2 m/s² until the bend
    moment = Moment(
        speed_mps=speed_mps,
        curvature_per_m=curvature_per_m,
        cruise_mps=cruise_mps,
        bend_start_m=bend_start_m,
        bend_per_m=_curvature_per_m(rng, reachable_mps, road.turn_share),
        left_of_lane_m=rng.normal(0, 0.25),
        lead=_lead(rng, speed_mps) if rng.random() < road.lead_share else None,
        light=_light(rng, speed_mps) if rng.random() < road.light_share else None,
        odometer_m=rng.uniform(0, 1000),
    )
    return replace(moment, accel_mps2=_accel_mps2(moment, rng))


def _laplace(rng: np.random.Generator, scale: float) -> float:
    return float(rng.laplace(0.0, scale))


def _curvature_per_m(rng: np.random.Generator, speed_mps: float, sharp_share: float) -> float:
    curvature_per_m = _laplace(rng, 0.0012)
    if rng.random() < sharp_share:
        curvature_per_m = float(rng.choice([-1, 1]) * np.exp(rng.uniform(np.log(0.008), np.log(0.15))))
    limit_per_m = min(0.2, SIDE_MPS2 / max(speed_mps, 1.0) ** 2)
    return min(max(curvature_per_m, -limit_per_m), limit_per_m)


def _lead(rng: np.random.Generator, speed_mps: float) -> Lead:
    if speed_mps < 0.5:
        pulls_away = rng.random() < 0.3
        return Lead(rng.uniform(3, 6), rng.uniform(0.5, 3) if pulls_away else 0.0, brakes=not pulls_away)
    gap_m = 4 + speed_mps * rng.uniform(0.6, 2.5)
    return Lead(gap_m, max(0.0, speed_mps + rng.normal(-0.4, 1.5)), brakes=rng.random() < 0.25)


def _light(rng: np.random.Generator, speed_mps: float) -> Light:
    braking_m = speed_mps**2 / 5
    return Light("red" if rng.random() < 0.5 else "green", 2 + braking_m + speed_mps * rng.uniform(0, 2.5))


def _accel_mps2(moment: Moment, rng: np.random.Generator) -> float:
    if moment.speed_mps == 0:
        return 0.0
    reacted = rng.uniform(0.3, 1) if rng.random() < 0.7 else 0.0
    lead_mps = moment.lead.speed_mps if moment.lead else 0.0
    wanted_mps2 = wanted_accel_mps2(moment, moment.speed_mps, 0.0, moment.past_gap_m(0.0), lead_mps)
    return reacted * wanted_mps2 + _laplace(rng, 0.3)


def can_signals(moment: Moment, rng: np.random.Generator) -> Signals:
    """Return what the car's bus says at time t, in the published units and steps."""
    stands = moment.speed_mps == 0
    angle_deg = degrees(STEERING_RATIO * atan(WHEELBASE_M * moment.curvature_per_m)) + _laplace(rng, 1.0)
    pedal_mps2 = moment.accel_mps2 + _laplace(rng, 0.05)
    gas_pressed = not stands and pedal_mps2 > -0.05
    gas = 0.06 + 0.005 * moment.speed_mps + 0.1 * max(pedal_mps2, 0.0) + _laplace(rng, 0.02)
    turn = moment.bend_per_m if abs(moment.bend_per_m) > 0.02 and rng.random() < 0.7 else 0.0
    turn = float(rng.choice([-1, 1])) if rng.random() < 0.08 else turn
    return {
        "vEgo": moment.speed_mps + (1e-3 if stands else 0.05) * rng.normal(),
        "aEgo": moment.accel_mps2 + (1e-3 if stands else 0.05) * rng.normal(),
        "steeringAngleDeg": angle_deg,
        "steeringTorque": float(np.clip(np.rint(angle_deg + rng.normal(-19, 90)), -700, 700)),
        "brake": 0.0,
        "brakePressed": stands or pedal_mps2 < -0.3,
        "gas": round(min(max(gas, 0.005), 1.0) * 200) / 200 if gas_pressed else 0.0,
        "gasPressed": gas_pressed,
        GEAR: "park" if stands and rng.random() < 0.02 else "drive",
        "leftBlinker": turn > 0,
        "rightBlinker": turn < 0,
    }
