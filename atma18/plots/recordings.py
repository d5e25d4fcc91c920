"""A figure of a recorded drive over time: speed, yaw rate, gaps and samples."""

import numpy as np
from matplotlib.figure import Figure

from atma18.plots.style import COLOURS, short
from atma18.schema import FloatArray


def timeline(time_s: FloatArray, speed_mps: FloatArray, yaw_rate_radps: FloatArray, samples_s: FloatArray) -> Figure:
    """Draw a drive over time.

    Args:
        time_s: (n,) seconds since the first frame.
        speed_mps: (n,) NaN where the poses have a gap, which is shaded.
        yaw_rate_radps: (n,) positive to the left.
        samples_s: (m,) times of the samples.
    """
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    for axes, values, name in ((above, speed_mps, "speed, m/s"), (below, np.rad2deg(yaw_rate_radps), "yaw rate, °/s")):
        axes.plot(time_s, values, color=COLOURS[0], linewidth=1)
        low, high = axes.get_ylim()
        axes.fill_between(time_s, low, high, where=np.isnan(values), color="0.85", linewidth=0, label="gap")
        axes.set_ylim(low, high)
        axes.set_ylabel(short(name))
        axes.grid(alpha=0.3)
    above.plot(samples_s, np.interp(samples_s, time_s, speed_mps), ".", color=COLOURS[1], markersize=4, label="samples")
    above.legend(loc="upper right", ncols=2, frameon=False)
    below.set_xlabel("seconds since the first frame")
    return figure
