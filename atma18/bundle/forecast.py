"""Forecasts: predict any dataset with a servable, some whole scenes at a time, with bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from atma18.bundle.servable import Servable
from atma18.compute.progress import progress
from atma18.data.dataset import Dataset
from atma18.data.predictions import prediction_table
from atma18.data.submission import SUBMISSION, submission_table
from atma18.schema import OUTSIDE, TARGETS, FloatArray, IntArray, Samples, StrArray, first_few

PREDICTIONS = "predictions.parquet"
FILES = (PREDICTIONS, SUBMISSION)
"""The files of `write`."""
_SAMPLES_AT_A_TIME = 512


def predict(servable: Servable, samples: Samples, at_a_time: int = _SAMPLES_AT_A_TIME) -> FloatArray:
    """Predict (N, 18) waypoints in metres, vehicle frame at t.

    Args:
        servable: the servable of any step.
        samples: N samples; scenes may be incomplete.
        at_a_time: largest number of samples in memory, except for a larger scene.

    Raises:
        ValueError: If the samples lack a sensor that the models read, or a prediction is not finite.
    """
    predicted_m = np.empty((len(samples), len(TARGETS)))
    with progress(total=len(samples), desc="predict", unit="sample") as bar:
        for rows in whole_scenes(samples.scenes, at_a_time):
            predicted_m[rows] = servable.predict(samples.take(rows))
            bar.update(len(rows))
    bad = samples.ids[~np.isfinite(predicted_m).all(axis=1)]
    if len(bad):
        raise ValueError(f"expected finite predictions, found others for {first_few(bad.tolist())}")
    return predicted_m


def whole_scenes(scenes: StrArray, at_a_time: int) -> Iterator[IntArray]:
    """Yield the rows of as many whole scenes as fit into `at_a_time` rows, at least one.

    Args:
        scenes: (N,) the scene of each row; rows of a scene are adjacent.
        at_a_time: largest number of rows of several scenes.
    """
    ends = np.flatnonzero(np.append(scenes[1:] != scenes[:-1], True)) + 1
    start = 0
    while start < len(scenes):
        first, beyond = np.searchsorted(ends, [start, start + at_a_time], side="right")
        end = int(ends[max(first, beyond - 1)])
        yield np.arange(start, end)
        start = end


def write(folder: Path, dataset: Dataset, predicted_m: FloatArray, outside: StrArray) -> None:
    """Write the (M, 18) predictions of a dataset's test samples with IDs, and as a submission.

    Args:
        folder: the new folder.
        dataset: the drives.
        predicted_m: (M, 18) metres, vehicle frame at t.
        outside: (M,) the signals of each sample that lie outside the range of the training drives.
    """
    submission = submission_table(dataset, predicted_m)
    folder.mkdir(parents=True)
    table = prediction_table(dataset.test.ids, predicted_m).assign(**{OUTSIDE: outside.astype(object)})
    table.to_parquet(folder / PREDICTIONS, index=False)
    submission.to_csv(folder / SUBMISSION, index=False)
