"""Kinds of road: their bends, junctions, traffic and buildings.

The numbers give the drives the published statistics; `benchmarks/simulator.py` compares them.
"""

from dataclasses import dataclass

SHOULDER_M = 0.5


@dataclass(frozen=True)
class Bends:
    """The distribution of a road's bends."""

    every_m: float
    """Mean length of the straight before each bend."""
    radius_m: tuple[float, float]
    angle_deg: tuple[float, float]


@dataclass(frozen=True)
class RoadKind:
    """A kind of road."""

    name: str
    share: float
    """Share of the scenes."""
    pace_mps: tuple[float, float]
    """Range of the drivers' speeds on a free, straight road."""
    lanes: int
    lane_m: float
    turns: Bends | None
    """Sharp bends: corners, and turns into another street."""
    sweeps: Bends
    """Long bends, to the left and to the right in turn."""
    wander_per_m: float
    """Scale of the random curvature of straights."""
    junction_share: float
    """Share of the turns that lead into another street."""
    crossing_every_m: float | None
    """Mean distance between junctions that the route crosses straight on."""
    light_share: float
    """Share of the junctions that have traffic lights."""
    lead_share: float
    """Share of the scenes with a car in front."""
    building_m: float
    """Height of the buildings beside the road."""
    verge_rgb: tuple[int, int, int]
    building_rgb: tuple[int, int, int]

    @property
    def right_edge_m(self) -> float:
        """The right edge of the asphalt, to the left of the middle of the rightmost lane."""
        return -0.5 * self.lane_m - SHOULDER_M

    @property
    def left_edge_m(self) -> float:
        """The left edge of the asphalt, to the left of the middle of the rightmost lane."""
        return (self.lanes - 0.5) * self.lane_m + SHOULDER_M

    @property
    def width_m(self) -> float:
        """The width of the asphalt."""
        return self.left_edge_m - self.right_edge_m


BACKSTREET = RoadKind(
    name="backstreet",
    share=0.28,
    pace_mps=(0.4, 6.6),
    lanes=2,
    lane_m=2.9,
    turns=Bends(every_m=90.0, radius_m=(4.8, 13.0), angle_deg=(60.0, 170.0)),
    sweeps=Bends(every_m=200.0, radius_m=(25.0, 80.0), angle_deg=(20.0, 70.0)),
    wander_per_m=0.0006,
    junction_share=0.9,
    crossing_every_m=120.0,
    light_share=0.15,
    lead_share=0.2,
    building_m=5.0,
    verge_rgb=(96, 122, 66),
    building_rgb=(150, 96, 78),
)
URBAN = RoadKind(
    name="urban",
    share=0.50,
    pace_mps=(6.5, 19.5),
    lanes=3,
    lane_m=3.3,
    turns=Bends(every_m=2600.0, radius_m=(7.0, 16.0), angle_deg=(40.0, 150.0)),
    sweeps=Bends(every_m=300.0, radius_m=(120.0, 400.0), angle_deg=(25.0, 80.0)),
    wander_per_m=0.0004,
    junction_share=0.9,
    crossing_every_m=95.0,
    light_share=0.7,
    lead_share=0.5,
    building_m=9.0,
    verge_rgb=(142, 136, 126),
    building_rgb=(118, 112, 116),
)
HIGHWAY = RoadKind(
    name="highway",
    share=0.22,
    pace_mps=(18.0, 23.5),
    lanes=4,
    lane_m=3.7,
    turns=None,
    sweeps=Bends(every_m=100.0, radius_m=(400.0, 1300.0), angle_deg=(10.0, 35.0)),
    wander_per_m=0.0003,
    junction_share=0.0,
    crossing_every_m=None,
    light_share=0.0,
    lead_share=0.5,
    building_m=4.0,
    verge_rgb=(122, 116, 62),
    building_rgb=(58, 88, 56),
)
ROAD_KINDS = (BACKSTREET, URBAN, HIGHWAY)
