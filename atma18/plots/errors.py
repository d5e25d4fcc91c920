"""Figures of errors: by horizon, axis, scene size and speed, and compared with other predictions."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from atma18 import metrics
from atma18.metrics.scores import Score
from atma18.plots.style import (
    AXIS_LABELS,
    COLOURS,
    MAE_RANGE_M,
    MARKERS,
    RESIDUAL_RANGES_M,
    TARGET_RANGES_M,
    alpha,
    logarithmic,
    row_of_panels,
    short,
    waypoints,
    wide_enough,
)
from atma18.schema import AXES, WAYPOINT_TIMES_S, FloatArray, StrArray

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def mae_by_horizon(predicted_m: FloatArray, truth_m: FloatArray) -> Figure:
    """Draw the error of each axis over the horizon.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
    """
    mae_m = metrics.mae_m(predicted_m, truth_m)
    by_target_m = np.abs(waypoints(predicted_m) - waypoints(truth_m)).mean(axis=0)  # (6, 3)
    figure, [axes] = row_of_panels(6.4, 4.2, 1)
    for a, (label, colour, marker) in enumerate(zip(AXIS_LABELS, COLOURS, MARKERS, strict=False)):
        name = f"{label}: mean {by_target_m[:, a].mean():.3f} m"
        axes.plot(WAYPOINT_TIMES_S, by_target_m[:, a], color=colour, marker=marker, label=name)
    axes.set(title=f"MAE {mae_m:.4f} m over {len(truth_m):,} samples", xlabel="horizon (s)", ylabel="MAE (m)")
    axes.set_xticks(WAYPOINT_TIMES_S)
    logarithmic(axes, MAE_RANGE_M, by_target_m)
    axes.legend()
    return figure


def oof_against_target(predicted_m: FloatArray, truth_m: FloatArray) -> Figure:
    """Draw the last waypoint of every sample, predicted against true, one panel per axis.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
    """
    predicted_xyz_m, truth_xyz_m = waypoints(predicted_m)[:, -1], waypoints(truth_m)[:, -1]  # (N, 3)
    maes_m = np.abs(predicted_xyz_m - truth_xyz_m).mean(axis=0)
    figure, panels = row_of_panels(12, 4.4, len(AXES))
    for a, axes in enumerate(panels):
        predicted, truth = predicted_xyz_m[:, a], truth_xyz_m[:, a]
        limits_m = wide_enough(TARGET_RANGES_M[a], np.concatenate([predicted, truth]))
        axes.plot(limits_m, limits_m, color="0.4", linewidth=0.8, linestyle="--")
        axes.scatter(truth, predicted, s=5, alpha=alpha(len(truth)), color=COLOURS[a], linewidths=0, rasterized=True)
        axes.set(xlim=limits_m, ylim=limits_m, aspect="equal", title=f"{AXIS_LABELS[a]}: MAE {maes_m[a]:.3f} m")
        axes.set(xlabel=f"{AXES[a]} at 3.0 s, truth (m)", ylabel=f"{AXES[a]} at 3.0 s, out-of-fold (m)")
        axes.grid(alpha=0.3)
    return figure


def mae_by_part(scores: Sequence[Score]) -> Figure:
    """Draw the error by scene size and by speed band, with the 95 % interval over scenes.

    Args:
        scores: scores; those of parts by size or speed are drawn.
    """
    kinds = {"size": "scene size (samples)", "speed": "speed (m/s)"}
    figure, panels = row_of_panels(11, 4.2, len(kinds))
    for axes, (kind, label), colour in zip(panels, kinds.items(), COLOURS, strict=False):
        of_kind = [score for score in scores if score.part.by == kind]
        mae_m, low_m, high_m = (np.array([getattr(s, name) for s in of_kind]) for name in ("mae_m", "low_m", "high_m"))
        places = np.arange(len(of_kind))
        axes.vlines(places, low_m, high_m, color=colour, linewidth=2)
        axes.plot(places, mae_m, color=colour, marker="o", linestyle="none")
        for place, score in zip(places.tolist(), of_kind, strict=True):
            axes.annotate(f"{score.mae_m:.3f}", (place, score.mae_m), (7, -3), textcoords="offset points", fontsize=8)
        axes.set_xticks(places, [f"{short(score.part.name)}\n{score.part.samples:,}" for score in of_kind])
        axes.set(
            title="MAE, 95 % over scenes; samples below", xlabel=label, ylabel="MAE (m)", xlim=(-0.5, len(of_kind))
        )
        logarithmic(axes, MAE_RANGE_M, np.concatenate([low_m, high_m]))
    return figure


def residuals(predicted_m: FloatArray, truth_m: FloatArray) -> Figure:
    """Draw the residuals (predicted less true) by horizon: the median, and the ranges of 50 % and 90 % of the samples.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
    """
    found_m = waypoints(predicted_m) - waypoints(truth_m)  # (N, 6, 3)
    figure, panels = row_of_panels(12, 4.0, len(AXES))
    for a, axes in enumerate(panels):
        lowest, low, middle, high, highest = np.quantile(found_m[:, :, a], _QUANTILES, axis=0)
        axes.fill_between(WAYPOINT_TIMES_S, lowest, highest, color=COLOURS[a], alpha=0.2, label="90 % of samples")
        axes.fill_between(WAYPOINT_TIMES_S, low, high, color=COLOURS[a], alpha=0.45, label="half of them")
        axes.plot(WAYPOINT_TIMES_S, middle, color=COLOURS[a], marker=MARKERS[a], label="median")
        axes.axhline(0, color="0.4", linewidth=0.8, linestyle="--")
        axes.set(title=f"{AXIS_LABELS[a]}: median {middle[-1]:+.3f} m at 3.0 s", xlabel="horizon (s)")
        axes.set(ylabel="predicted less true (m)", ylim=wide_enough(RESIDUAL_RANGES_M[a], np.append(lowest, highest)))
        axes.set_xticks(WAYPOINT_TIMES_S)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", fontsize="small")
    return figure


def leaderboard(board: pd.DataFrame) -> Figure:
    """Draw the table of `scores.beside`: the errors of all models, and the gain of the first over each other.

    Args:
        board: a row per model and part; the first model is compared with the others.
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


def scene_by_scene(ours_m: FloatArray, other_m: FloatArray, scenes: StrArray, names: tuple[str, str]) -> Figure:
    """Draw each scene's error under two models: above the diagonal, the first model is better.

    Args:
        ours_m: (N,) mean absolute error of each sample, metres.
        other_m: (N,) the same for the other model.
        scenes: (N,) the scene of each sample.
        names: names of the two models.
    """
    table = pd.DataFrame({"ours": ours_m, "other": other_m}).groupby(np.asarray(scenes)).mean()
    better = float((table["ours"] < table["other"]).mean())
    limits_m = wide_enough(MAE_RANGE_M, table.to_numpy().ravel().clip(min=MAE_RANGE_M[0]))
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(limits_m, limits_m, color="0.4", linewidth=0.8, linestyle="--")
    shown = table.clip(lower=limits_m[0])
    axes.scatter(shown["ours"], shown["other"], s=8, alpha=alpha(len(table)), color=COLOURS[0], linewidths=0)
    axes.set(xscale="log", yscale="log", xlim=limits_m, ylim=limits_m, aspect="equal")
    axes.set(xlabel=f"{names[0]}: MAE of a scene (m)", ylabel=f"{names[1]}: MAE of a scene (m)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_title(f"{names[0]} is better in {better:.0%} of {len(table):,} scenes")
    axes.grid(alpha=0.3)
    return figure
