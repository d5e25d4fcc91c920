"""The common style of all figures: colours, fixed scales and rendering."""

from collections.abc import Sized

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from atma18.schema import AXES, WAYPOINT_TIMES_S, FloatArray

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Okabe and Ito's palette."""
AXIS_LABELS = ("x, forward", "y, left", "z, vertical")
"""The direction of z is not documented for the competition; in simulated drives z points down."""
MARKERS = ("o", "s", "^")
MAE_RANGE_M = (0.01, 5.0)
"""From the smallest error of z at 0.5 s to a large error of x at 3.0 s."""
TARGET_RANGES_M = ((-10.0, 85.0), (-20.0, 20.0), (-2.0, 2.0))
"""Ranges of nearly all of the competition's x, y, z at 3.0 s."""
RESIDUAL_RANGES_M = ((-4.0, 4.0), (-2.0, 2.0), (-0.5, 0.5))
"""Ranges of 90 % of a good net's errors at 3.0 s."""


def check_lengths(what: str, *parts: Sized) -> None:
    """Refuse parts of different lengths, or empty ones."""
    lengths = {len(part) for part in parts}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(f"expected as many frames as {what}, found lengths {sorted(lengths)}")


def waypoints(targets_m: FloatArray) -> FloatArray:
    """Reshape (N, 18) targets to (N, 6, 3)."""
    return targets_m.reshape(-1, len(WAYPOINT_TIMES_S), len(AXES))


def wide_enough(fixed: tuple[float, float], values: FloatArray) -> tuple[float, float]:
    """Return the fixed range, extended only where values lie outside."""
    return min(fixed[0], float(values.min())), max(fixed[1], float(values.max()))


def row_of_panels(width_in: float, height_in: float, count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure and its panels, side by side at fixed places: a layout takes longer to compute than to draw."""
    left_in, right_in, bottom_in, top_in = 0.75, 0.15, 0.75, 0.4
    panel_in = (width_in - right_in) / count - left_in
    figure = Figure(figsize=(width_in, height_in))
    places = {
        "left": left_in / width_in,
        "right": 1 - right_in / width_in,
        "bottom": bottom_in / height_in,
        "top": 1 - top_in / height_in,
        "wspace": left_in / panel_in,
    }
    return figure, list(figure.subplots(1, count, squeeze=False, gridspec_kw=places)[0])


def logarithmic(axes: Axes, fixed_m: tuple[float, float], values_m: FloatArray) -> None:
    """Scale the y axis logarithmically, so that 3 cm and 3 m can both be read, with the same range in every run."""
    positive_m = values_m[values_m > 0]
    axes.set_ylim(wide_enough(fixed_m, np.append(positive_m, fixed_m)))  # first: zeros alone have no log scale
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)


def alpha(points: int) -> float:
    """Return the opacity for this number of points."""
    return float(np.clip(1000 / max(points, 1), 0.1, 0.8))


def ink_on(colour: str) -> str:
    """Return a text colour that is readable on a background colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "black"


def short(part: str) -> str:
    """Return the name of a part without its unit, which the axis label has."""
    return part.replace("mps", "").replace("_", " ").strip()
