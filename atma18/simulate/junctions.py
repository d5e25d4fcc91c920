"""Junctions and their traffic lights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atma18.simulate.kinds import RoadKind
from atma18.simulate.road import Centreline

YELLOW_S, ARROW_S = 3.0, 9.0
STOP_LINE_M = 3.0
"""Distance of the stop line before a junction."""
BEYOND_M = 4.0
"""Distance of the traffic lights beyond a junction."""
ARROWS = (("straight",), ("left",), ("right",), ("left", "straight"))
OTHERS_ARROWS = (("left",), ("right",), ("left", "right"))
ARROW_SHARE = 0.6
"""Share of the traffic lights that have arrows."""

Pose = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """The traffic lights of a junction, which all show the same."""

    stop_m: float
    """Position of the stop line along the road."""
    way: str
    """Direction of the route here: straight, left or right."""
    green_s: float
    red_s: float
    green_from_s: float
    """A time of the scene at which green begins; the cycle repeats."""
    arrows: tuple[str, ...] = ()
    """Directions with a green arrow during the first seconds of red: some of straight, left, right."""
    arrow_s: float = ARROW_S
    """Duration of the arrows."""
    heads: tuple[Pose, ...] = ()
    """x, y in the world frame and height above the road of each head, in m."""

    def shows(self, time_s: float) -> tuple[str, tuple[str, ...]]:
        """Return the colour and the lit arrows at this time."""
        phase_s = (time_s - self.green_from_s) % (self.green_s + YELLOW_S + self.red_s)
        if phase_s < self.green_s:
            return "green", ()
        if phase_s < self.green_s + YELLOW_S:
            return "yellow", ()
        return "red", self.arrows if phase_s < self.green_s + YELLOW_S + self.arrow_s else ()

    def lets_go(self, time_s: float) -> bool:
        """Return whether the car may pass: on green, or on red with an arrow in its direction."""
        colour, arrows = self.shows(time_s)
        return colour == "green" or self.way in arrows


@dataclass(frozen=True)
class Junction:
    """A crossing, or a place where the route leaves the street."""

    along_m: float
    """Position of its beginning along the road."""
    way: str
    """Direction of the route here: straight, left or right."""
    arms: tuple[Pose, ...]
    """x, y in m and heading in rad, world frame, at which other streets begin."""
    light: Light | None = None


def draw_junctions(
    kind: RoadKind, centreline: Centreline, ways: Sequence[tuple[float, str]], rng: np.random.Generator
) -> tuple[Junction, ...]:
    """Draw a junction for each pair of a position along the road and a direction of the route."""
    return tuple(
        Junction(along_m, way, _arms(kind, centreline, along_m, way), _draw_light(kind, centreline, along_m, way, rng))
        for along_m, way in sorted(ways)
    )


def draw_queue(
    kind: RoadKind, centreline: Centreline, along_m: float, green_from_s: float, rng: np.random.Generator
) -> Junction:
    """Draw a junction whose light is red until a time, and green for the rest of the scene."""
    light = Light(
        stop_m=along_m - STOP_LINE_M,
        way="straight",
        green_s=90.0,
        red_s=1000.0,
        green_from_s=green_from_s,
        arrows=OTHERS_ARROWS[rng.integers(len(OTHERS_ARROWS))] if rng.random() < ARROW_SHARE / 3 else (),
        arrow_s=1000.0,
        heads=_draw_heads(kind, centreline, along_m, rng),
    )
    return Junction(along_m, "straight", _arms(kind, centreline, along_m, "straight"), light)


def _arms(kind: RoadKind, centreline: Centreline, along_m: float, way: str) -> tuple[Pose, ...]:
    if way != "straight":
        return (_pose(centreline, along_m),)  # the street continues where the route turns
    x_m, y_m, heading_rad = _pose(centreline, along_m + kind.width_m / 2)
    return tuple((x_m, y_m, heading_rad + turn_rad) for turn_rad in (np.pi / 2, -np.pi / 2))


def _draw_light(
    kind: RoadKind, centreline: Centreline, along_m: float, way: str, rng: np.random.Generator
) -> Light | None:
    if rng.random() >= kind.light_share:
        return None
    green_s, red_s = float(rng.uniform(40, 80)), float(rng.uniform(6, 13))
    return Light(
        stop_m=along_m - STOP_LINE_M,
        way=way,
        green_s=green_s,
        red_s=red_s,
        green_from_s=float(rng.uniform(0, green_s + YELLOW_S + red_s)),
        arrows=ARROWS[rng.integers(len(ARROWS))] if rng.random() < ARROW_SHARE else (),
        heads=_draw_heads(kind, centreline, along_m, rng),
    )


def _draw_heads(kind: RoadKind, centreline: Centreline, along_m: float, rng: np.random.Generator) -> tuple[Pose, ...]:
    """Place one to three heads beyond the junction, beside the street that leads straight on."""
    x_m, y_m, heading_rad = _pose(centreline, along_m)
    forward_m, height_m = kind.width_m + BEYOND_M, float(rng.uniform(2.8, 4.6))
    cosine, sine = np.cos(heading_rad), np.sin(heading_rad)
    places_m = (kind.right_edge_m - 0.8, kind.left_edge_m + 0.8, 0.3)[: rng.integers(1, 4)]
    return tuple(
        (x_m + forward_m * cosine - left_m * sine, y_m + forward_m * sine + left_m * cosine, height_m)
        for left_m in places_m
    )


def _pose(centreline: Centreline, along_m: float) -> Pose:
    x_m, y_m, heading_rad = centreline.poses(along_m).tolist()
    return x_m, y_m, heading_rad
