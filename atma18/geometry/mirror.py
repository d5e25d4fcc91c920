"""Mirrored samples: left and right are exchanged in frames, signals, traffic lights and waypoints.

Roads and cars are nearly symmetric, so a mirrored sample is a further training sample, and a prediction for it,
mirrored back, is a second prediction. Traffic keeps to one side of the road, so the symmetry is not exact.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from atma18.compute.once import once
from atma18.schema import AXES, FRAME_WIDTH_PX, FloatArray, Samples

NEGATED = ("steeringAngleDeg", "steeringTorque")
EXCHANGED = {"leftBlinker": "rightBlinker", "rightBlinker": "leftBlinker"}
_LIGHTS = {"left": "right", "right": "left"}


def signals(table: pd.DataFrame) -> pd.DataFrame:
    """Mirror (N, signals); a signal whose counterpart is absent stays."""
    both = {name: other for name, other in EXCHANGED.items() if name in table and other in table}
    exchanged = table.assign(**{name: table[other] for name, other in both.items()})
    return exchanged.assign(**{name: -table[name] for name in NEGATED if name in table})


def waypoints(values_m: FloatArray) -> FloatArray:
    """Mirror (N, 18) waypoints: y changes its sign."""
    signs = np.where(np.array(AXES) == "y", -1.0, 1.0)
    return np.asarray(values_m * np.tile(signs, values_m.shape[-1] // len(AXES)))


@once
def samples(given: Samples) -> Samples:
    """Mirror samples."""
    return replace(
        given,
        signals=signals(given.signals),
        traffic_lights=None if given.traffic_lights is None else _mirrored_lights(given.traffic_lights),
        frames=given.frames.flipped(),
    )


def _mirrored_lights(lights: pd.DataFrame) -> pd.DataFrame:
    edges = {"x1_px": FRAME_WIDTH_PX - lights["x2_px"], "x2_px": FRAME_WIDTH_PX - lights["x1_px"]}
    return lights.assign(**{"class": lights["class"].replace(_LIGHTS)}, **edges)
