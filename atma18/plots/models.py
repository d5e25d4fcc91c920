"""Figures of models: learning curves, blend weights, feature importance and embeddings."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from atma18 import metrics
from atma18.plots.style import COLOURS, ink_on, logarithmic, short
from atma18.schema import FloatArray

LEARNING_RANGE_M = (0.1, 10.0)
SIMILARITY_RANGE = (0.7, 1.0)
MOST_FEATURES = 20


def learning_curves(train_mae_m: Sequence[FloatArray], held_out_mae_m: Sequence[FloatArray | None]) -> Figure:
    """Draw the training and the held-out error of each fold's model over the epochs.

    Args:
        train_mae_m: K times (epochs of that fold,) metres.
        held_out_mae_m: K times the same for the held-out scenes of the training part; None if there are none.
    """
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for k, (train, held_out) in enumerate(zip(train_mae_m, held_out_mae_m, strict=True)):
        colour = COLOURS[k % len(COLOURS)]
        _curve(axes, train, colour, "--", f"fold {k}, training")
        if held_out is not None:
            _curve(axes, held_out, colour, "-", f"fold {k}, held-out scenes")
    drawn = [np.asarray(curve) for curve in (*train_mae_m, *held_out_mae_m) if curve is not None]
    axes.set(title="Error while training", xlabel="epoch", ylabel="MAE (m)")
    axes.set_xlim(left=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    logarithmic(axes, LEARNING_RANGE_M, np.concatenate(drawn) if drawn else np.empty(0))
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _curve(axes: Axes, values_m: FloatArray, colour: str, linestyle: str, label: str) -> None:
    epochs = np.arange(1, len(values_m) + 1)
    axes.plot(epochs, values_m, color=colour, linestyle=linestyle, label=label, marker=".", markersize=4, linewidth=1.2)


def blend_weights(
    weights: FloatArray, names: Sequence[str], group_labels: Sequence[str], gains_m: FloatArray, best: str
) -> Figure:
    """Draw the weights of a blend, one bar per set of weights, and the gain of the blend where they are used.

    Args:
        weights: (G, M) weights, each row summing to 1.
        names: M names of the blended predictions.
        group_labels: G names of groups of scene sizes, or of groups and axes.
        gains_m: (G, 3) gain over the best input in metres: lower end of the interval, gain, upper end; NaN for a group
            without samples.
        best: the name of the best input.

    Raises:
        ValueError: If the numbers of names or gains do not fit the weights.
    """
    if weights.shape != (len(group_labels), len(names)) or len(gains_m) != len(weights):
        expected = f"weights of shape {(len(group_labels), len(names))} and as many gains as groups"
        raise ValueError(f"expected {expected}, found {weights.shape} and {len(gains_m)}")
    figure = Figure(figsize=(11, 1.6 + 0.6 * len(group_labels)), layout="constrained")
    axes, gains = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    starts = np.cumsum(weights, axis=1) - weights
    for m, name in enumerate(names):
        colour = COLOURS[m % len(COLOURS)]
        bars = axes.barh(range(len(group_labels)), weights[:, m], left=starts[:, m], color=colour)
        shares = [f"{name}\n{w:.0%}" if w >= 0.1 else "" for w in weights[:, m]]
        axes.bar_label(bars, shares, label_type="center", fontsize="small", color=ink_on(colour))
        bars.set_label(name)
    axes.set_yticks(range(len(group_labels)), list(group_labels))
    axes.set(xlim=(0, 1), xlabel="weight (share of 1)", ylabel="scene size (samples)", title="Blend weights")
    axes.invert_yaxis()
    low_m, gain_m, high_m = gains_m.T
    gains.hlines(range(len(gains_m)), low_m, high_m, color=COLOURS[0], linewidth=2)
    gains.plot(gain_m, range(len(gains_m)), color=COLOURS[0], marker="o", linestyle="none")
    gains.axvline(0, color="0.4", linewidth=0.8, linestyle="--")
    gains.set(xlabel="gain (m)", ylabel="scene size (samples)", title=f"Gain over {best}, 95 % over scenes")
    gains.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def feature_importance(gain: pd.Series) -> Figure:
    """Draw the importance of features: the share of each group, and of the most important features.

    Args:
        gain: share of the total gain by the feature's name, `group/feature`, largest first.
    """
    groups = gain.groupby([str(name).split("/")[0] for name in gain.index]).sum().sort_values(ascending=False)
    colours = {group: COLOURS[i % len(COLOURS)] for i, group in enumerate(groups.index)}
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(1, 2)
    named = [
        (groups, "Groups of features"),
        (gain.iloc[:MOST_FEATURES], f"The {MOST_FEATURES} most important features"),
    ]
    for axes, (shares, title) in zip(panels, named, strict=True):
        shown = [colours[str(name).split("/")[0]] for name in shares.index]
        axes.bar_label(axes.barh(range(len(shares)), shares, color=shown), fmt="{:.1%}", padding=2, fontsize="small")
        axes.set_yticks(range(len(shares)), [str(name) for name in shares.index], fontsize="small")
        axes.set(title=title, xlabel="gain (share of 1)", ylabel="feature", xlim=(0, max(0.1, 1.15 * shares.max())))
        axes.invert_yaxis()
    return figure


def error_correlation(errors_m: FloatArray, names: Sequence[str]) -> Figure:
    """Draw the correlation of the errors of a blend's inputs: an input with different errors helps a blend more.

    Args:
        errors_m: (M, N, 18) predicted less true, metres.
        names: M names.

    Raises:
        ValueError: If the numbers of names and of inputs differ.
    """
    if len(names) != len(errors_m):
        raise ValueError(f"expected {len(errors_m)} names, found {len(names)}")
    scale_m = errors_m.std(axis=(0, 1))
    unit = np.divide(errors_m, scale_m, out=np.zeros_like(errors_m), where=scale_m > 0).reshape(len(names), -1)
    with np.errstate(invalid="ignore"):  # an input without errors has no correlation
        matrix = np.atleast_2d(np.corrcoef(unit))
    figure = Figure(figsize=(1.6 + 1.1 * len(names), 1.4 + 1.0 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="cividis")
    for (row, column), value in np.ndenumerate(matrix):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    axes.set_xticks(range(len(names)), list(names))
    axes.set_yticks(range(len(names)), list(names))
    axes.set(title="How alike the inputs err", xlabel="input", ylabel="input")
    figure.colorbar(image, ax=axes, label="correlation (share of 1)")
    return figure


def explained_variance(shares: FloatArray, columns: int) -> Figure:
    """Draw the variance of each cell that the first components of its SVD explain.

    Args:
        shares: (cells, components) shares of the variance, row by row of the frame.
        columns: number of cells in a row of the frame.
    """
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    components = np.arange(1, shares.shape[1] + 1)
    for cell, cumulated in enumerate(np.cumsum(shares, axis=1)):
        colour, style = COLOURS[cell % columns % len(COLOURS)], ("-", "--", ":", "-.")[cell // columns % 4]
        name = f"row {cell // columns}, column {cell % columns}"
        axes.plot(components, cumulated, color=colour, linestyle=style, marker=".", label=name)
    axes.set(ylim=(0, 1), xlabel="component", ylabel="explained variance (share of 1)")
    axes.set_title(f"Cells of the frame at t: {shares.sum(axis=1).mean():.0%} explained on average")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def similarity_by_speed(similarity: FloatArray, speed_mps: FloatArray) -> Figure:
    """Draw the similarity of frames half a second apart over the speed of the car.

    Args:
        similarity: (N, 2) mean cosine over the cells: t with t-0.5 s, t-0.5 s with t-1.0 s.
        speed_mps: (N,) m/s.
    """
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    band = metrics.speed_band(speed_mps)
    lowest = SIMILARITY_RANGE[0]
    present = [b for b in range(len(metrics.SPEED_BANDS)) if (band == b).any()]
    for pair, (name, colour) in enumerate(zip(("t and t-0.5 s", "t-0.5 s and t-1.0 s"), COLOURS, strict=False)):
        low, middle, high = (
            np.array([np.quantile(similarity[band == b, pair], q) for b in present]) for q in (0.1, 0.5, 0.9)
        )
        places = np.array(present) + 0.12 * (2 * pair - 1)
        lowest = min(lowest, float(low.min()))
        axes.errorbar(places, middle, (middle - low, high - middle), color=colour, marker="o", capsize=3, label=name)
    axes.set_xticks(range(len(metrics.SPEED_BANDS)), [short(name) for name in metrics.SPEED_BANDS])
    axes.set(ylim=(lowest, SIMILARITY_RANGE[1]), xlabel="speed (m/s)", ylabel="cosine (share of 1)")
    axes.set_title("Similarity of cells: median, and 80 % of the samples")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    return figure
