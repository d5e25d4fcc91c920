"""Figures from tables: colours that colour-blind readers tell apart, units on every axis, the same scales in every run.

Each figure is a `matplotlib.figure.Figure` of its own; pyplot and its global state are not involved.
"""

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from atma18 import metrics
from atma18.camera import Camera
from atma18.dataset import Dataset
from atma18.schema import AXES, FRAME_HEIGHT_PX, FRAME_WIDTH_PX, TARGETS, WAYPOINT_TIMES_S, FloatArray, UInt8Array

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Okabe and Ito's palette."""
AXIS_LABELS = ("x, forward", "y, left", "z, vertical")
"""Which way z points is not settled for the competition; the simulated one points down."""
MARKERS = ("o", "s", "^")
_CHAIN: dict[str, Any] = {"markeredgecolor": "black", "markeredgewidth": 0.8}
TRUTH = _CHAIN | {"color": "#56B4E9", "marker": "s", "markersize": 8, "linewidth": 3, "label": "truth"}
PREDICTED = _CHAIN | {"color": "#E69F00", "marker": "o", "markersize": 4.5, "linewidth": 1.5, "label": "predicted"}
"""The truth is drawn first and broader, so that it shows behind a perfect prediction."""

MAE_RANGE_M = (0.01, 5.0)
"""From the best z at 0.5 s to a poor x at 3.0 s."""
LEARNING_RANGE_M = (0.1, 10.0)
TARGET_RANGES_M = ((-10.0, 85.0), (-20.0, 20.0), (-2.0, 2.0))
"""Nearly all of the competition's x, y, z at 3.0 s."""
REACHES_M = (10.0, 20.0, 40.0, 90.0)
"""Lengths of the bird's-eye panel; the truth decides, so that a sample looks the same in every run."""


def mae_by_horizon(predicted_m: FloatArray, truth_m: FloatArray) -> Figure:
    """Draw how the error of each axis grows with the horizon.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
    """
    mae_m = metrics.mae_m(predicted_m, truth_m)
    by_target_m = np.abs(_waypoints(predicted_m) - _waypoints(truth_m)).mean(axis=0)  # (6, 3)
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for a, (label, colour, marker) in enumerate(zip(AXIS_LABELS, COLOURS, MARKERS, strict=False)):
        name = f"{label}: mean {by_target_m[:, a].mean():.3f} m"
        axes.plot(WAYPOINT_TIMES_S, by_target_m[:, a], color=colour, marker=marker, label=name)
    axes.set(title=f"MAE {mae_m:.4f} m over {len(truth_m):,} samples", xlabel="horizon (s)", ylabel="MAE (m)")
    axes.set_xticks(WAYPOINT_TIMES_S)
    _logarithmic(axes, MAE_RANGE_M, by_target_m)
    axes.legend()
    return figure


def oof_against_target(predicted_m: FloatArray, truth_m: FloatArray) -> Figure:
    """Draw the last waypoint of every sample, predicted against true, one panel per axis.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
    """
    predicted_xyz_m, truth_xyz_m = _waypoints(predicted_m)[:, -1], _waypoints(truth_m)[:, -1]  # (N, 3)
    maes_m = np.abs(predicted_xyz_m - truth_xyz_m).mean(axis=0)
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    for a, axes in enumerate(figure.subplots(1, len(AXES))):
        predicted, truth = predicted_xyz_m[:, a], truth_xyz_m[:, a]
        limits_m = _wide_enough(TARGET_RANGES_M[a], np.concatenate([predicted, truth]))
        axes.plot(limits_m, limits_m, color="0.4", linewidth=0.8, linestyle="--")
        axes.scatter(truth, predicted, s=5, alpha=_alpha(len(truth)), color=COLOURS[a], linewidths=0, rasterized=True)
        axes.set(xlim=limits_m, ylim=limits_m, aspect="equal", title=f"{AXIS_LABELS[a]}: MAE {maes_m[a]:.3f} m")
        axes.set(xlabel=f"{AXES[a]} at 3.0 s, truth (m)", ylabel=f"{AXES[a]} at 3.0 s, out-of-fold (m)")
        axes.grid(alpha=0.3)
    return figure


def trajectories(
    frames: UInt8Array, predicted_m: FloatArray, truth_m: FloatArray, camera: Camera, titles: Sequence[str]
) -> Figure:
    """Draw each sample's waypoints into its frame and, beside it, from above.

    Args:
        frames: (n, 64, 128, 3) RGB at t.
        predicted_m: (n, 18) metres, vehicle frame at t.
        truth_m: (n, 18) metres, vehicle frame at t.
        camera: that took the frames.
        titles: n titles, of the frames.

    Raises:
        ValueError: If the lengths differ or are 0.
    """
    _check_lengths("predictions, truths and titles", frames, predicted_m, truth_m, titles)
    figure = Figure(figsize=(11, 2.9 * len(titles) + 0.4), layout="constrained")
    panels = figure.subplots(len(titles), 2, squeeze=False)
    chains_m = np.stack([_waypoints(truth_m), _waypoints(predicted_m)], axis=1)  # (n, 2, 6, 3)
    for (left, right), frame, chain_m, title in zip(panels, frames, chains_m, titles, strict=True):
        _draw_in_frame(left, frame, chain_m, camera)
        _draw_from_above(right, chain_m)
        left.set_title(title)
        right.set_title(f"MAE {np.abs(chain_m[1] - chain_m[0]).mean():.3f} m")
    figure.legend(*panels[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def contact_sheet(
    frames: UInt8Array,
    truth_m: FloatArray,
    boxes_px: Sequence[FloatArray],
    camera: Camera,
    titles: Sequence[str],
) -> Figure:
    """Draw samples one below the other: the three frames by time, the last with what follows, and that from above.

    Args:
        frames: (n, 3, 64, 128, 3) RGB at t, t-0.5 s, t-1.0 s.
        truth_m: (n, 18) metres, vehicle frame at t.
        boxes_px: n times (B, 4) left, top, right and bottom of traffic lights at t.
        camera: that took the frames.
        titles: n titles.

    Raises:
        ValueError: If the lengths differ or are 0.
    """
    _check_lengths("targets, boxes and titles", frames, truth_m, boxes_px, titles)
    figure = Figure(figsize=(20, 2.9 * len(titles) + 0.4), layout="constrained")
    panels = figure.subplots(len(titles), 4, squeeze=False)
    for row, shots, chain_m, boxes, title in zip(panels, frames, _waypoints(truth_m), boxes_px, titles, strict=True):
        for axes, shot, when in zip(row, shots[::-1], ("t - 1.0 s", "t - 0.5 s"), strict=False):
            _draw_in_frame(axes, shot, chain_m[:0], camera)
            axes.set_title(when)
        _draw_in_frame(row[2], shots[0], chain_m[None], camera)
        for left, top, right, bottom in boxes:
            row[2].add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="#F0E442"))
        _draw_from_above(row[3], chain_m[None])
        row[2].set_title(f"t: {title}")
        row[3].set_title("0.5 … 3.0 s")
    return figure


def learning_curves(train_mae_m: Sequence[FloatArray], held_out_mae_m: Sequence[FloatArray | None]) -> Figure:
    """Draw the training and the held-out error of each fold's model, epoch by epoch.

    Args:
        train_mae_m: K times (epochs of that fold,) metres.
        held_out_mae_m: K times the same for the scenes held out of the training part; None if there are none.
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
    _logarithmic(axes, LEARNING_RANGE_M, np.concatenate(drawn) if drawn else np.empty(0))
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def blend_weights(weights: FloatArray, names: Sequence[str], group_labels: Sequence[str]) -> Figure:
    """Draw what each prediction contributes to the blend, one bar per group of scene sizes.

    Args:
        weights: (G, M) shares, each row adding up to 1.
        names: M names of the blended predictions.
        group_labels: G names of the groups.

    Raises:
        ValueError: If the numbers of names do not fit the weights.
    """
    if weights.shape != (len(group_labels), len(names)):
        raise ValueError(f"expected weights of shape {(len(group_labels), len(names))}, found {weights.shape}")
    figure = Figure(figsize=(7.2, 1.4 + 0.6 * len(group_labels)), layout="constrained")
    axes = figure.add_subplot()
    starts = np.cumsum(weights, axis=1) - weights
    for m, name in enumerate(names):
        colour = COLOURS[m % len(COLOURS)]
        bars = axes.barh(range(len(group_labels)), weights[:, m], left=starts[:, m], color=colour, edgecolor="white")
        shares = [f"{name}\n{w:.0%}" if w >= 0.1 else "" for w in weights[:, m]]
        axes.bar_label(bars, shares, label_type="center", fontsize="small", color=_ink_on(colour))
        bars.set_label(name)
    axes.set_yticks(range(len(group_labels)), list(group_labels))
    axes.set(xlim=(0, 1), xlabel="weight (share of 1)", ylabel="scene size (samples)", title="Blend weights")
    axes.invert_yaxis()
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def leaderboard(board: pd.DataFrame) -> Figure:
    """Draw what `scores.beside` found: the errors of all, and by how much the first is better than each other.

    Args:
        board: a row per model and part; the first model is the one that is compared.
    """
    models, parts = (
        list(dict.fromkeys(board["model"])),
        list(dict.fromkeys(zip(board["by"], board["part"], strict=True))),
    )
    figure = Figure(figsize=(11, 1.6 + 0.32 * len(parts)), layout="constrained")
    errors, gains = figure.subplots(1, 2, sharey=True)
    for m, model in enumerate(models):
        rows = board[board["model"] == model]
        colour, marker = COLOURS[m % len(COLOURS)], MARKERS[m % len(MARKERS)]
        places = np.arange(len(parts)) + 0.16 * (m - (len(models) - 1) / 2)
        for axes, mean, low, high in (
            (errors, "mae_m", "low_m", "high_m"),
            *[(gains, "gain_m", "gain_low_m", "gain_high_m")] * (m > 0),
        ):
            axes.hlines(places, rows[low], rows[high], color=colour, linewidth=1.2)
            axes.plot(rows[mean], places, color=colour, marker=marker, markersize=4, linestyle="none", label=model)
    gains.axvline(0, color="0.4", linewidth=0.8, linestyle="--")
    errors.set_yticks(range(len(parts)), [f"{by} {part}".strip().replace("_", " ") for by, part in parts])
    errors.invert_yaxis()
    errors.set_xscale("log")
    errors.xaxis.set_major_formatter("{x:g}")
    errors.xaxis.set_minor_formatter("{x:g}")
    errors.set(xlabel="MAE (m), 95 % over scenes", title="Error")
    gains.set(xlabel="gain (m), 95 % over scenes", title=f"{models[0]} is better by")
    for axes in (errors, gains):
        axes.grid(alpha=0.3)
    figure.legend(*errors.get_legend_handles_labels(), loc="outside upper center", ncols=len(models), frameon=False)
    return figure


def _check_lengths(what: str, *parts: Sized) -> None:
    lengths = {len(part) for part in parts}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(f"expected as many frames as {what}, found lengths {sorted(lengths)}")


def _waypoints(targets_m: FloatArray) -> FloatArray:
    return targets_m.reshape(-1, len(WAYPOINT_TIMES_S), len(AXES))


def _wide_enough(fixed: tuple[float, float], values: FloatArray) -> tuple[float, float]:
    """Return the fixed range, widened only where values would fall outside."""
    return min(fixed[0], float(values.min())), max(fixed[1], float(values.max()))


def _logarithmic(axes: Axes, fixed_m: tuple[float, float], values_m: FloatArray) -> None:
    """Scale the y axis so that 3 cm and 3 m can both be read, and lie where they lie in every run."""
    positive_m = values_m[values_m > 0]
    axes.set_ylim(_wide_enough(fixed_m, np.append(positive_m, fixed_m)))  # first: zeros alone have no log scale
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)


def _alpha(points: int) -> float:
    return float(np.clip(1000 / max(points, 1), 0.1, 0.8))


def _curve(axes: Axes, values_m: FloatArray, colour: str, linestyle: str, label: str) -> None:
    epochs = np.arange(1, len(values_m) + 1)
    axes.plot(epochs, values_m, color=colour, linestyle=linestyle, label=label, marker=".", markersize=4, linewidth=1.2)


def _draw_in_frame(axes: Axes, frame: UInt8Array, chains_m: FloatArray, camera: Camera) -> None:
    """Draw true and predicted waypoints, (0 to 2, 6, 3), over a frame; what is outside or behind is not seen."""
    axes.imshow(frame, interpolation="nearest")
    per_frame = np.array([FRAME_WIDTH_PX, FRAME_HEIGHT_PX]) / camera.image_size_px
    for pixels, style in zip(camera.project(chains_m) * per_frame, (TRUTH, PREDICTED), strict=False):
        axes.plot(pixels[:, 0], pixels[:, 1], **style)
    axes.set(xlim=(-0.5, FRAME_WIDTH_PX - 0.5), ylim=(FRAME_HEIGHT_PX - 0.5, -0.5))
    axes.set(xlabel="u, right (px)", ylabel="v, down (px)")


def _draw_from_above(axes: Axes, chains_m: FloatArray) -> None:
    """Draw true and predicted waypoints, (1 or 2, 6, 3), from above, the car at the origin and heading right."""
    needed_m = max(chains_m[0, :, 0].max(), 4.5 * np.abs(chains_m[0, :, 1]).max())
    reach_m = next((reach for reach in REACHES_M if 0.9 * reach >= needed_m), float(np.ceil(needed_m / 0.9)))
    axes.plot(0, 0, marker=">", markersize=9, color="0.3", linestyle="none")
    for chain_m, style in zip(chains_m, (TRUTH, PREDICTED), strict=False):
        axes.plot(chain_m[:, 0], chain_m[:, 1], **style)
    axes.set(xlim=(-0.1 * reach_m, 0.9 * reach_m), ylim=(-0.25 * reach_m, 0.25 * reach_m), aspect="equal")
    axes.set(xlabel="x, forward (m)", ylabel="y, left (m)")
    axes.grid(alpha=0.3)


def _ink_on(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "black"


def of_predictions(dataset: Dataset, oof_m: FloatArray) -> dict[str, Figure]:
    """Draw what every step's run shows: errors, scatter, and waypoints on frames.

    Args:
        dataset: whose training samples were predicted.
        oof_m: (N, 18) out-of-fold predictions, metres, vehicle frame at t.

    Returns:
        Figures by name.
    """
    error_m = np.abs(oof_m - dataset.targets_m).mean(axis=1)
    lateral_m = np.abs(dataset.targets_m[:, TARGETS.index("y_5")])
    chosen = {
        "typical": int(np.argsort(error_m)[len(error_m) // 2]),
        "sharpest turn": int(np.argmax(lateral_m)),
        "worst": int(np.argmax(error_m)),
    }
    rows = np.array(list(chosen.values()))
    titles = [f"{name}: MAE {error_m[row]:.2f} m" for name, row in chosen.items()]
    frames = dataset.train.frames[rows][:, 0]
    return {
        "mae_by_horizon": mae_by_horizon(oof_m, dataset.targets_m),
        "oof_against_target": oof_against_target(oof_m, dataset.targets_m),
        "trajectories": trajectories(frames, oof_m[rows], dataset.targets_m[rows], dataset.camera, titles),
    }
