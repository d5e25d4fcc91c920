"""A figure of what a look at drives has measured."""

from typing import Any

from matplotlib.figure import Figure

from atma18.plots.style import COLOURS, row_of_panels
from atma18.schema import FloatArray

_DOTS: dict[str, Any] = {"linestyle": "none", "marker": ".", "markersize": 4, "alpha": 0.5}
_PAIRS = ("t and t-0.5 s", "t-0.5 s and t-1.0 s")


def look_at_drives(
    speed_mps: FloatArray,
    driven_mps: FloatArray,
    wheel_deg: FloatArray,
    curvature_per_m: FloatArray,
    multiples: FloatArray,
    matches: FloatArray,
) -> Figure:
    """Draw the distance of the first half second over vEgo, turns over steering, and where the road in frames matches.

    Args:
        speed_mps: (N,) vEgo.
        driven_mps: (N,) x of the first waypoint divided by its time, m/s.
        wheel_deg: (N,) steeringAngleDeg; (0,) without steering.
        curvature_per_m: (N,) curvature of the driven path, 1/m, positive to the left.
        multiples: (M,) multiples of the distance by vEgo.
        matches: (2, M) correlation of the road in each pair of frames.
    """
    figure, (speed, steering, road) = row_of_panels(15, 4.5, 3)
    speed.plot(speed_mps, driven_mps, color=COLOURS[0], **_DOTS)
    speed.axline((0, 0), slope=1, color="0.3", linewidth=1)
    speed.set(xlabel="vEgo (m/s)", ylabel="x of the first waypoint / 0.5 s (m/s)", title="On the line: vEgo in m/s")
    if len(wheel_deg):
        steering.plot(wheel_deg, curvature_per_m, color=COLOURS[0], **_DOTS)
        steering.axhline(0, color="0.3", linewidth=1)
        steering.axvline(0, color="0.3", linewidth=1)
    steering.set(xlabel="steeringAngleDeg (°)", ylabel="curvature of the path (1/m), + left")
    steering.set_title("Rising: steering and y have one sign")
    for pair, match, colour in zip(_PAIRS, matches, COLOURS, strict=False):
        road.plot(multiples, match, marker="o", markersize=3, color=colour, label=pair)
    road.axvline(1, color="0.3", linewidth=1)
    road.set(xlabel="distance of the road between frames / distance by vEgo", ylabel="correlation of the road")
    road.set_title("Highest at 1: right order and camera")
    road.legend(frameon=False, loc="upper left")
    return figure
