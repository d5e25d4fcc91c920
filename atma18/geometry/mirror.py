"""The same drive seen in a mirror: frames are flipped, left is right, and what points to the left points the other way.

Roads and cars are nearly symmetric, so a mirrored sample is a second sample, and what a model says of it, mirrored
back, is a second opinion. Traffic keeps to one side, which a mirror does not know.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from atma18.schema import AXES, FRAME_WIDTH_PX, FloatArray, Samples

NEGATED = ("steeringAngleDeg", "steeringTorque")
EXCHANGED = {"leftBlinker": "rightBlinker", "rightBlinker": "leftBlinker"}
_LIGHTS = {"left": "right", "right": "left"}


def signals(table: pd.DataFrame) -> pd.DataFrame:
    """Return (N, signals) as they would be in the mirror; a signal whose other side is absent stays."""
    both = {name: other for name, other in EXCHANGED.items() if name in table and other in table}
    found = table.assign(**{name: table[other] for name, other in both.items()})
    return found.assign(**{name: -table[name] for name in NEGATED if name in table})


def waypoints(values_m: FloatArray) -> FloatArray:
    """Return (N, 18) waypoints as they would be in the mirror: y has the other sign."""
    signs = np.where(np.array(AXES) == "y", -1.0, 1.0)
    return np.asarray(values_m * np.tile(signs, values_m.shape[-1] // len(AXES)))


def samples(given: Samples) -> Samples:
    """Return samples as they would be in the mirror."""
    return replace(
        given,
        signals=signals(given.signals),
        lights=None if given.lights is None else _mirrored_lights(given.lights),
        frames=replace(given.frames, mirrored=not given.frames.mirrored),
    )


def _mirrored_lights(lights: pd.DataFrame) -> pd.DataFrame:
    edges = {"x1_px": FRAME_WIDTH_PX - lights["x2_px"], "x2_px": FRAME_WIDTH_PX - lights["x1_px"]}
    return lights.assign(**{"class": lights["class"].replace(_LIGHTS)}, **edges)
