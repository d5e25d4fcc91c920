"""Figures: colours for colour-blind readers, units on every axis, and the same scales in every run.

Each figure is a `matplotlib.figure.Figure`; pyplot and its global state are not used. `style` holds the common style,
`drives` draws samples, `errors` the errors of predictions, and `models` learning curves, weights and importances.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from atma18 import metrics
from atma18.data.dataset import Dataset
from atma18.geometry.kinematics import MotionModel
from atma18.geometry.path_grid import Paths, cell_pixels
from atma18.metrics.scores import Score
from atma18.plots.drives import REACHES_M, contact_sheet, path_grids, trajectories
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
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, TARGETS, FloatArray, FrameCamera, FrameRows, IntArray

__all__ = [
    "LEARNING_RANGE_M",
    "MAE_RANGE_M",
    "REACHES_M",
    "RESIDUAL_RANGES_M",
    "TARGET_RANGES_M",
    "blend_weights",
    "contact_sheet",
    "error_correlation",
    "example_rows",
    "explained_variance",
    "feature_importance",
    "leaderboard",
    "learning_curves",
    "mae_by_horizon",
    "mae_by_part",
    "of_paths",
    "of_predictions",
    "of_samples",
    "oof_against_target",
    "path_grids",
    "residuals",
    "scene_by_scene",
    "similarity_by_speed",
    "trajectories",
]


def of_predictions(dataset: Dataset, oof_m: FloatArray, scores: Sequence[Score]) -> dict[str, Figure]:
    """Draw the figures of every step: errors, scatter plots, and waypoints on frames.

    Args:
        dataset: the dataset with the predicted training samples.
        oof_m: (N, 18) out-of-fold predictions, metres, vehicle frame at t.
        scores: the scores of the predictions' parts.

    Returns:
        Figures by name.
    """
    error_m = np.abs(oof_m - dataset.targets_m).mean(axis=1)
    by_error = np.argsort(error_m)
    chosen = {"typical": int(by_error[len(by_error) // 2]), **example_rows(dataset), "worst": int(by_error[-1])}
    rows = np.array(list(chosen.values()))
    return {
        "mae_by_horizon": mae_by_horizon(oof_m, dataset.targets_m),
        "mae_by_part": mae_by_part(scores),
        "residuals": residuals(oof_m, dataset.targets_m),
        "oof_against_target": oof_against_target(oof_m, dataset.targets_m),
        "trajectories": of_samples(dataset, rows, oof_m[rows], list(chosen)),
    }


def of_samples(dataset: Dataset, rows: IntArray, predicted_m: FloatArray, names: Sequence[str]) -> Figure:
    """Draw waypoints of some samples on their frames and from above.

    Args:
        dataset: the dataset with these training samples.
        rows: (n,) rows of the samples.
        predicted_m: (n, 18) metres, vehicle frame at t.
        names: n names for the kinds of the samples.
    """
    frames, truth_m = dataset.train.frames[rows][:, 0], dataset.targets_m[rows]
    errors_m = metrics.absolute_errors_m(predicted_m, truth_m).mean(axis=1)
    titles = [f"{name}: MAE {error_m:.2f} m" for name, error_m in zip(names, errors_m, strict=True)]
    return trajectories(frames, predicted_m, truth_m, dataset.camera, titles)


def of_paths(
    dataset: Dataset, rows: IntArray, images: FrameRows, motion: MotionModel, camera: FrameCamera, names: Sequence[str]
) -> Figure:
    """Draw the grids that a net with view path reads of some samples, beside the frames that they are taken from.

    Args:
        dataset: the dataset with these training samples.
        rows: (n,) rows of the samples.
        images: the n grids.
        motion: the motion model that lays the paths.
        camera: the camera of the frames.
        names: n names for the kinds of the samples.
    """
    paths, shape = Paths.of(motion, dataset.train.signals.iloc[rows]), images.shape[2:4]
    per_frame = np.array([FRAME_WIDTH_PX, FRAME_HEIGHT_PX]) / camera.image_size_px
    cells_px = cell_pixels(paths, (shape[0], shape[1]), camera) * per_frame
    return path_grids(
        dataset.train.frames[rows][:, 0], images[:][:, 0], cells_px, paths.distances_m(camera, shape[0]), names
    )


def example_rows(dataset: Dataset, among: IntArray | None = None) -> dict[str, int]:
    """Choose one training sample of each interesting kind; the choice does not depend on predictions.

    Args:
        dataset: the dataset of the samples.
        among: (n,) the rows to choose from; None for all.

    Returns:
        Rows by the name of the kind.
    """
    rows = np.arange(len(dataset.train)) if among is None else among
    speed_mps = dataset.train.signals["vEgo"].to_numpy(np.float64)[rows]
    lateral_m, ahead_m = (np.abs(dataset.targets_m[rows, TARGETS.index(name)]) for name in ("y_5", "x_5"))
    slowing = np.where(speed_mps > 0, ahead_m - 3 * speed_mps, 0.0)  # 3 s at constant speed, less the distance driven
    alone = rows[dataset.train.scene_sizes[rows] == 1]
    return {
        "sharpest turn": int(rows[np.argmax(lateral_m)]),
        "hardest stop": int(rows[np.argmin(slowing)]),
        **({"alone in its scene": int(alone[0])} if len(alone) else {}),
    }
