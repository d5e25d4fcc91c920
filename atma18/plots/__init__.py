"""Figures from tables: colours that colour-blind readers tell apart, units on every axis, the same scales in every run.

Each figure is a `matplotlib.figure.Figure` of its own; pyplot and its global state are not involved. `style` is what
they share, `drives` shows samples, `errors` how good predictions are, `models` what was learnt.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from atma18.dataset import Dataset
from atma18.plots.drives import REACHES_M, contact_sheet, trajectories
from atma18.plots.errors import (
    leaderboard,
    mae_by_horizon,
    mae_by_part,
    oof_against_target,
    residuals,
    scene_by_scene,
)
from atma18.plots.models import (
    LEARNING_RANGE_M,
    blend_weights,
    error_correlation,
    explained_variance,
    feature_importance,
    learning_curves,
    similarity_by_speed,
)
from atma18.plots.style import MAE_RANGE_M, RESIDUAL_RANGES_M, TARGET_RANGES_M
from atma18.schema import TARGETS, FloatArray
from atma18.scores import Score

__all__ = [
    "LEARNING_RANGE_M",
    "MAE_RANGE_M",
    "REACHES_M",
    "RESIDUAL_RANGES_M",
    "TARGET_RANGES_M",
    "blend_weights",
    "contact_sheet",
    "error_correlation",
    "explained_variance",
    "feature_importance",
    "leaderboard",
    "learning_curves",
    "mae_by_horizon",
    "mae_by_part",
    "of_predictions",
    "oof_against_target",
    "residuals",
    "scene_by_scene",
    "similarity_by_speed",
    "trajectories",
]


def of_predictions(dataset: Dataset, oof_m: FloatArray, scores: Sequence[Score]) -> dict[str, Figure]:
    """Draw what every step's run shows: errors, scatter, and waypoints on frames.

    Args:
        dataset: whose training samples were predicted.
        oof_m: (N, 18) out-of-fold predictions, metres, vehicle frame at t.
        scores: of their parts.

    Returns:
        Figures by name.
    """
    error_m = np.abs(oof_m - dataset.targets_m).mean(axis=1)
    chosen = _telling(dataset, error_m)
    rows = np.array(list(chosen.values()))
    titles = [f"{name}: MAE {error_m[row]:.2f} m" for name, row in chosen.items()]
    frames = dataset.train.frames[rows][:, 0]
    return {
        "mae_by_horizon": mae_by_horizon(oof_m, dataset.targets_m),
        "mae_by_part": mae_by_part(scores),
        "residuals": residuals(oof_m, dataset.targets_m),
        "oof_against_target": oof_against_target(oof_m, dataset.targets_m),
        "trajectories": trajectories(frames, oof_m[rows], dataset.targets_m[rows], dataset.camera, titles),
    }


def _telling(dataset: Dataset, error_m: FloatArray) -> dict[str, int]:
    """Choose a row of each kind that people look for; all but the first and the last are the same in every run."""
    speed_mps = dataset.train.signals["vEgo"].to_numpy(np.float64)
    lateral_m, ahead_m = (np.abs(dataset.targets_m[:, TARGETS.index(name)]) for name in ("y_5", "x_5"))
    slowing = np.where(speed_mps > 0, ahead_m - 3 * speed_mps, 0.0)  # 3 s at constant speed, less what was driven
    alone = np.flatnonzero(dataset.train.scene_sizes == 1)
    typical = int(np.argsort(error_m)[len(error_m) // 2])
    return {
        "typical": typical,
        "sharpest turn": int(np.argmax(lateral_m)),
        "hardest stop": int(np.argmin(slowing)),
        **({"alone in its scene": int(alone[0])} if len(alone) else {}),
        "worst": int(np.argmax(error_m)),
    }
