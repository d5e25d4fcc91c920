"""Scenes: one minute of a drive, and the samples taken from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atma18.schema import WAYPOINT_TIMES_S, Float32Array, FloatArray, IntArray
from atma18.simulate.canbus import Signals, signals, turn_blinker
from atma18.simulate.driving import END_S, START_S, STEP_S, STEPS, Drive, Driver, drive, step_of
from atma18.simulate.kinds import ROAD_KINDS, RoadKind
from atma18.simulate.road import seen_from
from atma18.simulate.route import draw_route

SPLITS = ("train", "test")
SCENES_BY_SIZE = {"train": (533, 650, 851, 951, 1227, 4841), "test": (157, 22, 23, 46, 47, 173)}
"""Published numbers of scenes with 1, 2 … 6 samples."""
DECISECONDS = (20, 120, 220, 320, 420, 520)
LATENCY_S = 0.048
"""The published waypoints lag behind their times by about one step of 20 Hz."""
CAMERA_M = 1.6
"""Distance of the camera, the origin of the vehicle frame, before the rear axle."""
SQUAT_RAD_PER_MPS2 = 0.0017
"""Pitch of the car per acceleration: the waypoint at 3.0 s is 0.045 m lower per m/s², as published."""


ANNOUNCED_S = 3.0
"""Time between the start of the blinker and the lane change."""

DAYLIGHT, DAYLIGHT_SHARES = ((0.75, 1.05), (0.3, 0.6), (0.1, 0.2)), (0.65, 0.2, 0.15)
"""Ranges of the daylight by day, at dusk and at night, and the share of each."""

# Drivers and cars; the benchmark of the simulator measures the effect of these numbers.
STANDING_SHARE, LEAVES_WITHIN_S = 0.11, 600.0
TURNED_SHARE, TURNED_RAD = 0.3, 0.2
MOOD_MPS2, MOOD_SPREAD, WORST_MOOD_MPS2, MOOD_S = 0.355, 0.95, 1.05, 4.0
SWING, SWING_PERIOD_S, SWING_S = 1.0, 11.0, 12.0
WISH, WISH_S = 0.03, 30.0
AIM_M, AIM_S = 0.22, 6.0
LANE_CHANGE_SHARE = 0.7
TRIM_DEG = (-0.3, 3.1)
BUMPS_RAD, BUMPS_S = 0.002, 0.4

# Errors of the positioning.
LATENCY_STD_S, YAW_RAD, PITCH_RAD, DRIFT_MPS, NOISE_M = 0.006, 0.003, 0.0051, 0.006, 0.006


@dataclass(frozen=True)
class Sample:
    """One row of the tables, and its step of the drive."""

    sample_id: str
    step: int
    signals: Signals
    targets_m: FloatArray
    """(18,) metres, vehicle frame at t: x forward, y left, z down."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One minute of a drive, its samples by time, and the properties that their frames share."""

    samples: tuple[Sample, ...]
    drive: Drive
    pitch_rad: FloatArray
    """(T,) upward pitch of the camera relative to the road."""
    daylight: float
    """1 at noon, 0.1 at night."""
    texture: Float32Array
    """(256, 256) in [-1, 1], the texture of the ground and of the objects beside the road."""
    noise: np.random.SeedSequence
    """Seed of the frames' sensor noise."""


def scene_sizes(split: str, scenes: int, seed: int) -> IntArray:
    """Draw (scenes,) sizes from the published distribution, by systematic sampling.

    The quantiles lie on a grid of `scenes` steps with one random offset, so even a few scenes have nearly the
    published mean number of samples per scene. The order is shuffled.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    quantiles = (np.arange(scenes) + rng.random()) / max(scenes, 1)
    counts = np.cumsum(SCENES_BY_SIZE[split])
    sizes = 1 + np.searchsorted(counts, quantiles * counts[-1], side="right")
    return np.asarray(rng.permutation(sizes), dtype=np.int64)


def draw_scene(seed: int, split: str, index: int, size: int) -> Scene:
    """Draw one scene; it depends only on the arguments, not on other scenes."""
    drawn, noise = np.random.SeedSequence([seed, SPLITS.index(split), index]).spawn(2)
    rng = np.random.default_rng(drawn)
    kind = ROAD_KINDS[rng.choice(len(ROAD_KINDS), p=[kind.share for kind in ROAD_KINDS])]
    driven, changing = _drive(kind, rng)
    pitch_rad = SQUAT_RAD_PER_MPS2 * driven.accel_mps2 + _restless(rng, BUMPS_RAD, BUMPS_S) * (driven.speed_mps > 0)
    return Scene(
        samples=_take_samples(driven, changing, pitch_rad, size, rng),
        drive=driven,
        pitch_rad=pitch_rad,
        daylight=float(rng.uniform(*DAYLIGHT[rng.choice(len(DAYLIGHT), p=DAYLIGHT_SHARES)])),
        texture=rng.uniform(-1, 1, (256, 256)).astype(np.float32),
        noise=noise,
    )


def _drive(kind: RoadKind, rng: np.random.Generator) -> tuple[Drive, IntArray]:
    """Return a drive, and for each of its (T,) steps the side of an announced lane change, or 0."""
    pace_mps = rng.uniform(*kind.pace_mps)
    departs_s = _departure_s(rng)
    queues = departs_s > START_S and rng.random() < kind.light_share
    green_from_s = departs_s - rng.uniform(1, 3) if queues else None
    route = draw_route(kind, pace_mps, 1.7 * pace_mps * (END_S - START_S) + 300, green_from_s, rng)
    start_mps = 0.0 if departs_s > START_S else float(route.allowed_mps[0] * rng.uniform(0.6, 1.0))
    lead = None
    if rng.random() < kind.lead_share:
        gap_m = 3 + start_mps * rng.uniform(0.8, 3.0)
        lead = _draw_driver(rng, max(START_S, departs_s - 1), rng.normal(0.95, 0.12), 0.0), gap_m
    change = _lane_change(kind, rng) if lead is None else np.zeros(STEPS)
    driver = _draw_driver(rng, departs_s, rng.normal(1.0, 0.05), kind.lane_m * change)
    driven = drive(route, driver, start_mps, lead, _parked_wheel_rad(rng) if start_mps == 0 else 0.0)
    return driven, _announced(np.sign(np.gradient(change)).astype(int))


def _announced(changing: IntArray) -> IntArray:
    """Return the (T,) signs of lane changes, each from three seconds before it begins."""
    ahead = round(ANNOUNCED_S / STEP_S)
    sooner = np.concatenate([changing[ahead:], np.zeros(ahead, dtype=int)])
    return np.where(changing != 0, changing, sooner)


def _departure_s(rng: np.random.Generator) -> float:
    """Return the departure time: before the scene, in it, or after it."""
    return float(rng.uniform(0, LEAVES_WITHIN_S)) if rng.random() < STANDING_SHARE else START_S


def _parked_wheel_rad(rng: np.random.Generator) -> float:
    """Return the angle of the front wheels of a standing car: mostly 0."""
    return float(rng.laplace(0, TURNED_RAD)) if rng.random() < TURNED_SHARE else 0.0


def _draw_driver(rng: np.random.Generator, departs_s: float, haste: float, lane_m: float | FloatArray) -> Driver:
    mood_mps2 = min(MOOD_MPS2 * np.exp(rng.normal(0, MOOD_SPREAD)), WORST_MOOD_MPS2)
    moods_mps2 = _restless(rng, mood_mps2, MOOD_S) + _swinging(rng, SWING * mood_mps2, SWING_PERIOD_S, SWING_S)
    return Driver(
        moods_mps2=moods_mps2,
        wishes=haste * (1 + _restless(rng, WISH, WISH_S)),
        aims_m=lane_m + _restless(rng, AIM_M, AIM_S),
        departs_s=departs_s,
        gap_s=rng.uniform(0.9, 1.9),
    )


def _lane_change(kind: RoadKind, rng: np.random.Generator) -> FloatArray:
    """Return the (T,) lane, counted from the right: 0, or a change from 0 to 1 or back in about five seconds."""
    if kind.lanes < 3 or rng.random() > LANE_CHANGE_SHARE:
        return np.zeros(STEPS)
    times_s = START_S + STEP_S * np.arange(STEPS)
    share = np.clip((times_s - rng.uniform(START_S, END_S)) / rng.uniform(4, 6), 0, 1)
    gone: FloatArray = share**2 * (3 - 2 * share)
    return gone if rng.random() < 0.5 else 1 - gone


def _restless(rng: np.random.Generator, std: float, time_s: float) -> FloatArray:
    """Draw (T,) values of an Ornstein-Uhlenbeck process with this correlation time."""
    kept = float(np.exp(-STEP_S / time_s))
    shocks = rng.normal(0, std * np.sqrt(1 - kept**2), STEPS)
    shocks[0] = rng.normal(0, std)
    return _autoregressive(shocks, [1.0, -kept])


def _swinging(rng: np.random.Generator, std: float, period_s: float, time_s: float) -> FloatArray:
    """Draw (T,) values of a damped random oscillation with this period and correlation time."""
    kept, turn_rad = float(np.exp(-STEP_S / time_s)), 2 * np.pi * STEP_S / period_s
    # the variance of an autoregressive process of second order with poles kept · exp(±i turn)
    gain = (1 + kept**2) / ((1 - kept**2) * (1 + kept**4 - 2 * kept**2 * np.cos(2 * turn_rad)))
    settling = round(3 * time_s / STEP_S)
    shocks = rng.normal(0, std / np.sqrt(gain), settling + STEPS)
    return _autoregressive(shocks, [1.0, -2 * kept * np.cos(turn_rad), kept**2])[settling:]


def _autoregressive(shocks: FloatArray, coefficients: Sequence[float]) -> FloatArray:
    """Return (T,) values whose sum, weighted by the coefficients back in time, is the shock of each time."""
    from scipy.signal import lfilter  # reading drives does without it

    return np.asarray(lfilter([1.0], coefficients, shocks), dtype=np.float64)


def _take_samples(
    driven: Drive, changing: IntArray, pitch_rad: FloatArray, size: int, rng: np.random.Generator
) -> tuple[Sample, ...]:
    scene_id, trim_deg = rng.bytes(16).hex(), float(rng.normal(*TRIM_DEG))
    samples = []
    for decisecond in _deciseconds(size, rng):
        step = step_of(decisecond / 10)
        turning = turn_blinker(driven.route.junctions, driven.along_m[step], driven.speed_mps[step])
        can_signals = signals(driven, step, int(changing[step]) or turning, trim_deg, rng)
        targets_m = _measured(waypoints(driven, step, pitch_rad[step], rng.normal(LATENCY_S, LATENCY_STD_S)), rng)
        samples.append(Sample(f"{scene_id}_{decisecond}", step, can_signals, targets_m.ravel()))
    return tuple(samples)


def _deciseconds(size: int, rng: np.random.Generator) -> list[int]:
    if rng.random() < 0.1:
        return sorted(rng.choice(DECISECONDS, size, replace=False).tolist())
    first = rng.integers(0, len(DECISECONDS) - size, endpoint=True)
    return list(DECISECONDS[first : first + size])


def waypoints(driven: Drive, step: int, pitch_rad: float = 0.0, latency_s: float = LATENCY_S) -> FloatArray:
    """Return the waypoints of a step.

    Args:
        driven: the simulated drive.
        step: the step at time t.
        pitch_rad: upward pitch of the car at t, relative to the road under it.
        latency_s: how much earlier than its nominal time each waypoint is taken.

    Returns:
        (6, 3) metres, vehicle frame at t, of the point of the road under the camera: x forward, y left, z down, as the
        published formula of the camera reads it (a larger z is lower in the image).
    """
    now, read = step, step + (WAYPOINT_TIMES_S - latency_s) / STEP_S
    steps = np.arange(step, step + round(WAYPOINT_TIMES_S[-1] / STEP_S) + 1)
    along_m = np.interp(read, steps, driven.along_m[steps]) + CAMERA_M
    rear = np.stack([np.interp(read, steps, column) for column in driven.poses[steps].T], axis=-1)
    pose = under_camera(driven.poses[now])
    seen_m = seen_from(pose, under_camera(rear)[:, :2])
    line = driven.route.centreline
    start_m = driven.along_m[now] + CAMERA_M
    risen_m = line.heights_m(along_m) - line.heights_m(start_m)
    tilt = line.grade_at(start_m) + pitch_rad
    return np.column_stack([seen_m, tilt * (along_m - start_m) - risen_m])


def under_camera(poses: FloatArray) -> FloatArray:
    """Return the (…, 3) poses of the point under the camera, from the poses of the rear axle."""
    moved = np.array(poses, dtype=np.float64)
    moved[..., 0] += CAMERA_M * np.cos(poses[..., 2])
    moved[..., 1] += CAMERA_M * np.sin(poses[..., 2])
    return moved


def _measured(waypoints_m: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Add the errors of the positioning: yaw and pitch of its axes at t, a drift, and noise."""
    yaw_rad, pitch_rad = rng.laplace(0, YAW_RAD), rng.laplace(0, PITCH_RAD)
    forward_m = waypoints_m[:, :1]
    drift_mps = rng.laplace(0, DRIFT_MPS, 3)
    noise_m = rng.laplace(0, NOISE_M, waypoints_m.shape)
    return waypoints_m + forward_m * [0, yaw_rad, pitch_rad] + WAYPOINT_TIMES_S[:, None] * drift_mps + noise_m
