"""Simulated drives on simple roads, for which expected values can be computed by hand."""

import numpy as np

from atma18.simulate.driving import STEPS, Driver, drive
from atma18.simulate.junctions import Junction, Light
from atma18.simulate.kinds import URBAN
from atma18.simulate.road import Centreline
from atma18.simulate.route import Route, allowed_speeds
from atma18.simulate.scenes import Scene

ROAD_M = 1500.0


def driver(**changed):
    """A driver without random accelerations who stays in the middle of the lane."""
    calm = {"moods_mps2": np.zeros(STEPS), "wishes": np.ones(STEPS), "aims_m": np.zeros(STEPS)}
    return Driver(**calm | changed)


def route(limit_mps=10.0, bends=(), grade=0.0, light=None, kind=URBAN, curvature_per_m=0.0, junctions=()):
    """A road with one speed limit; bends do not limit the speed."""
    centreline = Centreline.lay(ROAD_M, bends, curvature_per_m, grade)
    junctions = junctions if light is None else (Junction(light.stop_m + 3, "straight", (), light),)
    limits = ((0.0, limit_mps),)
    return Route(kind, centreline, junctions, limits, allowed_speeds(centreline, limits, np.inf))


def scene(road=None, start_mps=10.0, lead=None, who=None, daylight=1.0, **on_road):
    """A scene with even surfaces and no samples."""
    road = road or route(limit_mps=start_mps, **on_road)
    return Scene(
        samples=(),
        drive=drive(road, who or driver(), start_mps, lead),
        pitch_rad=np.zeros(STEPS),
        daylight=daylight,
        texture=np.zeros((256, 256), dtype=np.float32),
        noise=np.random.SeedSequence(0),
    )


def light(stop_m, colour, heads=()):
    """A light that shows one colour all the time; yellow only at 20 s."""
    cycles = {"green": (1000.0, 1.0, -100.0), "yellow": (1.0, 1.0, 18.0), "red": (1.0, 1000.0, -100.0)}
    green_s, red_s, green_from_s = cycles[colour]
    return Light(stop_m, "straight", green_s, red_s, green_from_s, heads=heads)


def contents(folder):
    """The bytes of every file of a folder, by path."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
