"""Serving check: a registered version predicts raw frames in a fresh process, as it does when it is served."""

import os
import subprocess
import sys
from dataclasses import dataclass

import mlflow
import numpy as np
import pandas as pd

from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.schema import TARGETS, rows_of
from atma18.serving.rehearsal import TOLERANCE_M, some_scenes
from atma18.serving.request_rows import raw_rows
from atma18.tracking import store
from atma18.tracking.processes import PROCESS_TAG, Process
from atma18.tracking.upstream import Upstream

SCENES = 8
_ANSWER = """
import sys
import mlflow, pandas as pd

model = mlflow.pyfunc.load_model(sys.argv[1])
model.predict(pd.read_parquet("request.parquet")).to_parquet("answer.parquet")
"""


@dataclass(frozen=True)
class ServingCheck:
    """The differences between a servable's predictions and those that its run stored."""

    samples: int
    worst_m: float
    share: float
    """The share of the numbers within `TOLERANCE_M`."""
    same_machine: bool
    """Whether this is the machine that made the run."""


def check_serving(uri: str, upstream: Upstream, dataset: Dataset, cache: Cache) -> ServingCheck:
    """Predict some test scenes from their files with a registered version, and compare with its run's predictions.

    The version is loaded in a fresh process outside the project's folder; that process reads no pickle.

    Args:
        uri: `models:/NAME/VERSION`.
        upstream: the run of the version.
        dataset: the drives that the run predicted.
        cache: the cache that holds the request's file.

    Raises:
        ValueError: If the servable does not load or does not predict.
    """
    rows = some_scenes(dataset.test, SCENES)
    test = dataset.test.take(rows)
    with cache.scratch("rehearsals") as folder:
        folder.mkdir()
        raw_rows(test, dataset.folder).to_parquet(folder / "request.parquet")
        handed_down = ("PYTHONPATH", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")
        environment = {name: value for name, value in os.environ.items() if name not in handed_down}
        environment |= {
            "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        }
        words = [sys.executable, "-c", _ANSWER, uri]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ValueError(f"{uri}: expected a servable that answers, found: {done.stderr.strip().splitlines()[-1]}")
        answer = pd.read_parquet(folder / "answer.parquet")
    stored = upstream.stored_predictions
    stored_m = stored.aligned(stored.train_ids, dataset.test.ids, uri).test_m[rows]
    answered = rows_of(test.ids, answer["ID"].to_numpy(dtype=np.str_), f"{uri}, answer")
    off_m = np.abs(answer[list(TARGETS)].to_numpy(np.float64)[answered] - stored_m)
    made_by = Process.parse(store.client().get_run(upstream.run_id).data.tags[PROCESS_TAG])
    return ServingCheck(len(answer), float(off_m.max()), float((off_m <= TOLERANCE_M).mean()), made_by.on_this_machine)
