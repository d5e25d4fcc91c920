"""What a step reports of its images if they show the road along paths."""

import logging

import numpy as np

from atma18 import plots
from atma18.geometry.images import Imaged, images_of
from atma18.geometry.kinematics import MotionModel
from atma18.run_context import RunContext
from atma18.schema import FloatArray
from atma18.tracking import StepRun

_log = logging.getLogger(__name__)


def tell_camera(run: StepRun, context: RunContext, config: Imaged) -> None:
    """Report, before the work, if the drives do not say which camera lays the grids."""
    if config.view == "path" and context.dataset.train.frames.camera is None:
        folder = context.dataset.folder
        _log.info(f"{run.identity.step}: {folder} has no camera.json: the competition's camera is assumed")


def keep_path_grids(run: StepRun, context: RunContext, config: Imaged, motion: FloatArray) -> None:
    """Draw what the first fold's model reads of scenes outside its training.

    Args:
        run: the run of the step.
        context: the dataset and the folds.
        config: the view.
        motion: the numbers of the first fold's motion model.
    """
    dataset = context.dataset
    shown = plots.example_rows(dataset, np.flatnonzero(context.folds.of(dataset.train.ids) == 0))
    rows = np.unique(list(shown.values()))
    names = [", ".join(name for name, row in shown.items() if row == chosen) for chosen in rows]
    images = images_of(config, dataset.train.take(rows), motion, dataset.camera)
    model = MotionModel.of(motion)
    run.keep_figure("path_grids", plots.of_paths(dataset, rows, images, model, dataset.camera, names))
