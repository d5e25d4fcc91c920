"""Random routes: a road with bends, junctions, speed limits and hills."""

from dataclasses import dataclass

import numpy as np

from atma18.schema import FloatArray
from atma18.simulate.junctions import Junction, Light, draw_junctions, draw_queue
from atma18.simulate.kinds import Bends, RoadKind
from atma18.simulate.road import GRID_M, Bend, Centreline, grid

COMFORT_MPS2 = 0.8
"""Deceleration of drivers before bends and lower speed limits."""
SIDE_MPS2 = (0.8, 1.8)
"""Range of the largest lateral acceleration that drivers accept in bends."""
RIGHT_SHARE = 0.57
"""Share of the turns that lead to the right."""
LIMITS = (0.75, 1.1)
"""Range of the later speed limits, as factors of the first one."""
LIMIT_EVERY_M = 220.0
HILL_EVERY_M, HILL_GRADE = 90.0, 0.012
WANDER_EVERY_M = 45.0
QUEUE_M = (35.0, 65.0)
"""Distance to the junction at which cars wait that stand at the start."""
CLEAR_M = 40.0
"""Smallest distance between junctions."""
VIEW_M = 220.0
"""The road continues for this distance beyond the end of the drive, for the frames to show."""


@dataclass(frozen=True, eq=False)
class Route:
    """A road and its speed limits; cars drive in its rightmost lane."""

    kind: RoadKind
    centreline: Centreline
    junctions: tuple[Junction, ...]
    limits: tuple[tuple[float, float], ...]
    """Positions in metres along the road, each with the allowed speed in m/s from there on."""
    allowed_mps: FloatArray
    """(G,) the largest speed of the driver, every `GRID_M`."""

    @property
    def lights(self) -> tuple[Light, ...]:
        """The traffic lights, in driving order."""
        return tuple(junction.light for junction in self.junctions if junction.light is not None)


def draw_route(
    kind: RoadKind, pace_mps: float, length_m: float, green_from_s: float | None, rng: np.random.Generator
) -> Route:
    """Draw a road of this kind.

    Args:
        kind: the kind of road.
        pace_mps: the driver's speed on a free, straight road.
        length_m: length of the drivable part.
        green_from_s: the time until which a light near the start stays red; None for no such light.
        rng: random numbers for everything that is drawn.
    """
    grid_m = grid(length_m + VIEW_M)
    bends, turns, crossings_m = _draw_bends(kind, length_m, rng)
    wander_per_m = _draw_smooth(rng, grid_m, WANDER_EVERY_M, kind.wander_per_m)
    centreline = Centreline.lay(grid_m[-1], bends, wander_per_m, _draw_smooth(rng, grid_m, HILL_EVERY_M, HILL_GRADE))

    ways = [(bend.start_m, bend.side) for bend in turns if rng.random() < kind.junction_share]
    junctions = draw_junctions(kind, centreline, ways + [(along_m, "straight") for along_m in crossings_m], rng)
    if green_from_s is not None:
        queue = draw_queue(kind, centreline, float(rng.uniform(*QUEUE_M)), green_from_s, rng)
        junctions = (queue, *(j for j in junctions if j.along_m > queue.along_m + CLEAR_M))
    limits = _draw_limits(pace_mps, length_m, rng)
    return Route(kind, centreline, junctions, limits, allowed_speeds(centreline, limits, rng.uniform(*SIDE_MPS2)))


def allowed_speeds(centreline: Centreline, limits: tuple[tuple[float, float], ...], side_mps2: float) -> FloatArray:
    """Return the (G,) largest speeds in m/s within speed limits, lateral acceleration and comfortable braking.

    At a distance d before a position, v² may be larger than the v² allowed there by 2 · `COMFORT_MPS2` · d.
    """
    grid_m = GRID_M * np.arange(len(centreline.curvature_per_m))
    starts_m, limits_mps = np.array(limits).T
    limit_mps = limits_mps[np.searchsorted(starts_m, grid_m, side="right") - 1]
    square = np.minimum(limit_mps**2, side_mps2 / np.maximum(np.abs(centreline.curvature_per_m), 1e-6))
    budget = square + 2 * COMFORT_MPS2 * grid_m
    return np.asarray(np.sqrt(np.minimum.accumulate(budget[::-1])[::-1] - 2 * COMFORT_MPS2 * grid_m))


def _draw_bends(
    kind: RoadKind, length_m: float, rng: np.random.Generator
) -> tuple[list[Bend], list[Bend], list[float]]:
    """Return all bends, the turns among them, and the positions of straight crossings between them."""
    bends, turns, crossings_m = [], [], []
    along_m, side = 0.0, int(rng.choice([-1, 1]))
    sorts = [kind.sweeps] if kind.turns is None else [kind.sweeps, kind.turns]
    while along_m < length_m:
        start_m, sort = min(((along_m + 6 + float(rng.exponential(s.every_m)), s) for s in sorts), key=lambda at: at[0])
        crossings_m += _draw_crossings(kind, along_m, min(start_m, length_m), rng)
        side = -side if sort is kind.sweeps else int(rng.choice([-1, 1], p=[RIGHT_SHARE, 1 - RIGHT_SHARE]))
        bends.append(_draw_bend(sort, start_m, side, rng))
        turns += [bends[-1]] if sort is kind.turns else []
        along_m = bends[-1].end_m
    return bends, turns, crossings_m


def _draw_bend(sort: Bends, start_m: float, side: int, rng: np.random.Generator) -> Bend:
    return Bend.turning(start_m, side * np.radians(rng.uniform(*sort.angle_deg)), rng.uniform(*sort.radius_m))


def _draw_crossings(kind: RoadKind, start_m: float, end_m: float, rng: np.random.Generator) -> list[float]:
    if kind.crossing_every_m is None:
        return []
    places_m, along_m = [], start_m + 15 + float(rng.exponential(kind.crossing_every_m))
    while along_m < end_m - CLEAR_M:
        places_m.append(along_m)
        along_m += CLEAR_M + float(rng.exponential(kind.crossing_every_m))
    return places_m


def _draw_limits(pace_mps: float, length_m: float, rng: np.random.Generator) -> tuple[tuple[float, float], ...]:
    limits, along_m = [(0.0, pace_mps)], float(rng.exponential(LIMIT_EVERY_M))
    while along_m < length_m:
        limits.append((along_m, pace_mps * float(rng.uniform(*LIMITS))))
        along_m += 60 + float(rng.exponential(LIMIT_EVERY_M))
    return tuple(limits)


def _draw_smooth(rng: np.random.Generator, grid_m: FloatArray, every_m: float, scale: float) -> FloatArray:
    """Draw (G,) values by linear interpolation between Laplace-distributed ones."""
    knots_m = np.arange(0, grid_m[-1] + 2 * every_m, every_m)
    return np.asarray(np.interp(grid_m, knots_m, rng.laplace(0, scale, len(knots_m))))
