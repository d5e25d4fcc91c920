"""Whole `main` commands, of this build and of an earlier one, and single steps, as a person runs them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from atma18 import metrics, simulate
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.data.predictions import Predictions
from atma18.metrics import evaluation
from atma18.schema import FloatArray, IntArray, StrArray, rows_of, split_id
from atma18.storage.digests import PROJECT_FOLDER


@dataclass(frozen=True)
class Main:
    """One finished `main`."""

    seconds: float
    run_ids: Mapping[str, str]
    """Per step the run that it made or took again."""
    figures: Mapping[str, Mapping[str, float]]
    """Per step the metrics of its run."""

    @property
    def mae_m(self) -> dict[str, float]:
        """The error out of fold of each step, metres."""
        return {step: figures["oof/mae_m"] for step, figures in self.figures.items()}


def run_command(
    build: Path, store: Path, drives: Path, command: str, *options: str, threads: int | None = None
) -> float:
    """Run a command of a build as a person does, and enter its store; return the seconds that it took.

    Args:
        build: the folder of the build.
        store: the folder of the store and the cache; made if there is none.
        drives: the dataset folder.
        command: `main` or a step.
        options: further options of the command.
        threads: the number of threads; None leaves it to the build.
    """
    store.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "OMP_", "GOMP_"))}
    environment = kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
        "ATMA18_CACHE": f"{store}/cache",
        "PYTHONPATH": str(build),
    }
    words = [sys.executable, "-m", f"steps.{command}", f"--data={drives}", *options]
    counted = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    started_s = time.perf_counter()
    with (store / "log.txt").open("a") as log:
        subprocess.run(words, cwd=store, env=environment | counted, check=True, stdout=log, stderr=log)
    seconds = time.perf_counter() - started_s
    os.environ.update(environment)
    return seconds


def run_main(build: Path, store: Path, drives: Path, *options: str, threads: int | None = None) -> Main:
    """Run `main` of a build, and read what its runs record; see `run_command`."""
    seconds = run_command(build, store, drives, "main", *options, threads=threads)
    from atma18 import tracking  # here, for MLflow reads the environment

    run_ids = tracking.delivered()
    return Main(seconds, run_ids, {step: tracking.figures_of(run_id) for step, run_id in run_ids.items()})


@contextmanager
def build_of(commit: str, folder: Path) -> Iterator[Path]:
    """Lay the build of a commit into a folder, as a worktree that is removed afterwards."""
    subprocess.run(["git", "worktree", "add", "--detach", folder, commit], cwd=PROJECT_FOLDER, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=PROJECT_FOLDER, check=True)


@dataclass(frozen=True)
class Drives:
    """Simulated drives with the targets of their test samples, which no step reads."""

    plan: simulate.Plan
    dataset: Dataset
    truth_m: FloatArray
    """(M, 18) metres, vehicle frame at t."""

    @classmethod
    def simulate(cls, folder: Path, scenes: int, seed: int = 0) -> Self:
        """Draw as many test scenes as training scenes."""
        plan = simulate.Plan(scenes, scenes, seed=seed)
        simulate.write_drives(folder, plan, workers=2)
        dataset = Dataset.open(str(folder), Cache.open(folder.with_name(f"{folder.name}-cache")))
        ids, truth_m = evaluation.read_targets(folder / "test_targets.csv")
        return cls(plan, dataset, evaluation.aligned(dataset.test.ids, ids, truth_m))

    @property
    def scenes(self) -> StrArray:
        """(M,) the scene of each test sample."""
        return np.array([split_id(sample_id)[0] for sample_id in self.dataset.test.ids.tolist()])


@dataclass(frozen=True)
class Outcome:
    """One `main`, and what its steps predict."""

    main: Main
    oof_m: Mapping[str, FloatArray]
    """Per step (N, 18) metres, vehicle frame at t."""
    test_m: Mapping[str, FloatArray]
    """Per step (M, 18) metres, vehicle frame at t."""
    folds: IntArray
    """(N,) the fold of each training sample."""

    @classmethod
    def of(
        cls,
        store: Path,
        drives: Drives,
        *options: str,
        build: Path = PROJECT_FOLDER,
        threads: int | None = None,
    ) -> Self:
        """Run `main` of a build, and read the predictions that its runs keep."""
        dataset = drives.dataset
        done = run_main(build, store, dataset.folder, *options, threads=threads)
        found = {step: _predictions(run_id) for step, run_id in done.run_ids.items()}
        one = found["nn1"]
        return cls(
            done,
            {step: evaluation.aligned(dataset.train.ids, p.train_ids, p.oof_m) for step, p in found.items()},
            {step: evaluation.aligned(dataset.test.ids, p.test_ids, p.test_m) for step, p in found.items()},
            one.folds[rows_of(dataset.train.ids, one.train_ids, "predictions")],
        )

    def with_step(self, store: Path, drives: Drives, step: str, *options: str, threads: int | None = None) -> Self:
        """Run a step once more with other options, in the store of `main`; return the outcome with its predictions."""
        dataset = drives.dataset
        run_command(PROJECT_FOLDER, store, dataset.folder, step, *options, threads=threads)
        found = _predictions(f"models:/atma18-{step}@candidate")
        oof_m = evaluation.aligned(dataset.train.ids, found.train_ids, found.oof_m)
        test_m = evaluation.aligned(dataset.test.ids, found.test_ids, found.test_m)
        return replace(self, oof_m={**self.oof_m, step: oof_m}, test_m={**self.test_m, step: test_m})


def less_m(ours_m: FloatArray, other_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return the (N,) metres by which each sample's error is lower in ours, of (N, 18) predictions and targets."""
    ours, other = (metrics.absolute_errors_m(said_m, truth_m).mean(axis=1) for said_m in (ours_m, other_m))
    return np.asarray(other - ours)


def _predictions(run: str) -> Predictions:
    """Read the predictions of a run of the store that was entered last."""
    from atma18 import tracking  # here, for MLflow reads the environment

    return Predictions.read(tracking.named_run(run, Cache.open()).artifacts / "predictions")
