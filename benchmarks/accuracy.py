"""Test error of the preset `best` beside that of the published recipe, on the same simulated drives.

The reference is `seed-small`: the published recipe with the bundled backbone. Both run as whole `main` commands, one
after the other. Each has its own store and cache, so that neither reuses a result of the other. Then each option is
switched alone: off, or on if `best` has it off. Only this benchmark reads the test targets, and no step does.

    python -m benchmarks.accuracy --quick
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import click
import numpy as np
import pandas as pd

from atma18 import metrics, simulate
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.data.predictions import Predictions
from atma18.metrics import evaluation, scores
from atma18.schema import FloatArray, StrArray, split_id
from atma18.storage.digests import PROJECT_FOLDER
from benchmarks import results

REFERENCE, OURS = "seed-small", "best"
STEPS = ("embed", "nn1", "nn2", "gbdt", "blend")
SWITCHES: Mapping[str, tuple[str, ...]] = {
    "gbdt: metres less the motion model, not less the nets": ("--gbdt_target=motion",),
    "gbdt: XGBoost alone": ("--gbdt_engine=xgboost",),
    "gbdt: squared loss": ("--gbdt_objective=squared",),
    "gbdt: two bags": ("--gbdt_bags=2",),
    "gbdt: without embed's probe": ("--gbdt_probe=false",),
    "gbdt: without the motion model's waypoints": ("--gbdt_motion=false",),
    "gbdt: without the lights' geometry": ("--gbdt_light_geometry=false",),
    "embed: not by speed": ("--embed_by_speed=false",),
    "embed: without random features": ("--embed_random_features=0",),
    "nn1: frames, not the road along the path": ("--nn1_view=frame", "--nn1_bent_paths=0"),
    "nn1: without bent paths": ("--nn1_bent_paths=0",),
    "nn1: not held within the training rows": ("--nn1_bounded=false",),
    "nn1: metres less constant velocity, not less the motion model": ("--nn1_target=residual", "--nn1_bent_paths=0"),
    "nn1: with context": ("--nn1_context=true",),
    "nn1: without a mirror": ("--nn1_mirror=false",),
    "nn1: two fold splits": ("--nn1_fold_repeats=2",),
    "nn1: by speed": ("--nn1_by_speed=true",),
    "nn1: strong augmentation": ("--nn1_augment=true",),
    "nn1: averaged weights": ("--nn1_ema_decay=0.99",),
    "nn1: frames alone, less the motion model": ("--nn1_modalities=frames",),
    "nn2: attention": ("--nn2_sequence_head=attention",),
    "blend: weights per axis": ("--blend_per_axis=true",),
    "blend: the plain optimum": ("--blend_method=exact",),
}
"""What switches an option of one step of `best` off, or one on that it does without: `step: what`."""


@dataclass(frozen=True)
class Drives:
    """Simulated drives with the targets that are withheld."""

    folder: Path
    sha256: str
    ids: StrArray
    """(M,) of the test samples."""
    truth_m: FloatArray
    """(M, 18)."""

    @classmethod
    def simulate(cls, folder: Path, scenes: int) -> Self:
        """Draw as many test scenes as training scenes."""
        simulate.write_drives(folder, simulate.Plan(scenes, scenes, seed=0), workers=2)
        ids, truth_m = evaluation.read_targets(folder / "test_targets.csv")
        return cls(folder, Dataset.open(str(folder), Cache.open(folder.with_name("cache"))).sha256, ids, truth_m)


@dataclass(frozen=True)
class Outcome:
    """One `main`."""

    seconds: float
    run_ids: Mapping[str, str]
    figures: Mapping[str, Mapping[str, float]]
    """Per step the metrics of its run."""
    test_m: Mapping[str, FloatArray]
    """Per step (M, 18)."""


def run_main(store: Path, drives: Drives, words: tuple[str, ...]) -> Outcome:
    """Run `main` as a person does, and read what its runs keep."""
    store.mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment = kept | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db",
        "ATMA18_CACHE": f"{store}/cache",
        "PYTHONPATH": str(PROJECT_FOLDER),
    }
    command = [sys.executable, "-m", "steps.main", f"--data={drives.folder}", *words]
    started_s = time.perf_counter()
    with (store / "log.txt").open("a") as log:
        subprocess.run(command, cwd=store, env=environment, check=True, stdout=log, stderr=log)
    seconds = time.perf_counter() - started_s
    os.environ.update(environment)
    from atma18 import tracking  # here, for MLflow reads the environment

    cache = Cache.open()
    runs = {step: tracking.named_run(run_id, cache) for step, run_id in tracking.delivered().items()}
    found = {step: Predictions.read(run.artifacts / "predictions") for step, run in runs.items()}
    return Outcome(
        seconds,
        {step: run.run_id for step, run in runs.items()},
        {step: tracking.figures_of(run.run_id) for step, run in runs.items()},
        {step: evaluation.aligned(drives.ids, p.test_ids, p.test_m) for step, p in found.items()},
    )


def test_error(drives: Drives, predicted_m: FloatArray) -> dict[str, float]:
    """Return the test MAE with its 95 % interval over scenes, metres."""
    [score] = [s for s in evaluation.score_test(predicted_m, drives.truth_m, drives.ids) if s.part.name == scores.ALL]
    return {"test_mae_m": score.mae_m, "test_low_m": score.low_m, "test_high_m": score.high_m}


def test_gain(drives: Drives, ours_m: FloatArray, other_m: FloatArray) -> dict[str, float]:
    """Return the paired gain of ours over another, with its 95 % interval over scenes, metres, and as a share."""
    errors_m = [metrics.absolute_errors_m(said_m, drives.truth_m).mean(axis=1) for said_m in (ours_m, other_m)]
    [gain] = metrics.scene_bootstrap((errors_m[1] - errors_m[0])[None], scenes_of(drives), seed=0)
    return {
        "test_gain_m": gain.mean,
        "test_gain_low_m": gain.low,
        "test_gain_high_m": gain.high,
        "test_gain_relative": gain.mean / float(errors_m[1].mean()),
    }


def step_gains(drives: Drives, ours: Outcome, other: Outcome) -> dict[str, dict[str, float]]:
    """Return per step the paired gain of one `main` over another."""
    return {step: test_gain(drives, ours.test_m[step], other.test_m[step]) for step in STEPS}


def scenes_of(drives: Drives) -> StrArray:
    """Return the (M,) scene of each test sample."""
    return np.array([split_id(sample_id)[0] for sample_id in drives.ids.tolist()])


def of_scenes(drives: Drives, predicted_m: FloatArray) -> dict[str, float]:
    """Return each test scene's error, metres."""
    errors_m = metrics.absolute_errors_m(predicted_m, drives.truth_m).mean(axis=1)
    found = pd.Series(errors_m).groupby(scenes_of(drives)).mean()
    return {str(scene): round(error_m, 5) for scene, error_m in found.items()}


def described(drives: Drives, outcome: Outcome) -> dict[str, Any]:
    """Put everything that is known of the `main` of a preset together."""
    steps = of_steps(drives, outcome)
    for step, found in steps.items():
        found["seconds"] = outcome.figures[step]["total/seconds"]
    return {"seconds": outcome.seconds, "steps": steps}


def of_steps(drives: Drives, outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return the run and the errors of each step."""
    steps: dict[str, dict[str, Any]] = {}
    for step in STEPS:
        figures = outcome.figures[step]
        oof = {
            name: figures[f"oof/{name}"]
            for name in ("mae_m", "mae_m_testmix", "mae_m_testmix_low", "mae_m_testmix_high")
        }
        steps[step] = {"run_id": outcome.run_ids[step], **oof, **test_error(drives, outcome.test_m[step])}
    return steps


@click.command()
@click.option("--scenes", default=500, show_default=True, help="Simulated training scenes, and as many for the test.")
@click.option(
    "--switch",
    "switches",
    multiple=True,
    default=tuple(SWITCHES),
    type=click.Choice([*SWITCHES, "none"]),
    help="Rows of the ablation.",
)
@click.option("--preset", "presets", multiple=True, default=(REFERENCE, OURS), show_default=True, help="What is run.")
@click.option("--quick", is_flag=True, help="60 scenes, no ablation.")
@results.json_option
def main(scenes: int, switches: tuple[str, ...], presets: tuple[str, ...], quick: bool, file: Path | None) -> None:
    """Print the error of every step of both presets, on test scenes, and what each option is worth."""
    scenes, switches = (60, ("none",)) if quick else (scenes, switches)
    with tempfile.TemporaryDirectory() as scratch:
        drives = Drives.simulate(Path(scratch) / "drives", scenes)
        click.echo(f"{scenes} + {scenes} simulated scenes, seed 0, SHA-256 {drives.sha256}")
        found: dict[str, Any] = {"scenes": scenes, "data_sha256": drives.sha256, "switched": {}}
        outcomes = {}
        for preset in presets:
            outcomes[preset] = run_main(Path(scratch) / preset, drives, (f"--preset={preset}",))
            found[preset] = described(drives, outcomes[preset])
            tell(preset, found[preset])
        if set(presets) >= {REFERENCE, OURS}:
            gains = step_gains(drives, outcomes[OURS], outcomes[REFERENCE])
            found["best_is_better_by"] = gains
            found["test_gain_relative"] = gains["blend"]["test_gain_relative"]
            found["test_error_of_scenes_m"] = {p: of_scenes(drives, outcomes[p].test_m["blend"]) for p in presets}
            for step, gain in gains.items():
                tell_gain(f"{step}: {OURS} is better than {REFERENCE}", gain)
        for name in [name for name in switches if name != "none"]:
            results.write(file, found)
            outcome = run_main(Path(scratch) / OURS, drives, (f"--preset={OURS}", *SWITCHES[name]))
            gains = step_gains(drives, outcomes[OURS], outcome)
            found["switched"][name] = {"steps": of_steps(drives, outcome), "best_is_better_by": gains}
            tell(f"{OURS}, {name}", found["switched"][name])
            for step in dict.fromkeys((name.split(":")[0], "blend")):
                tell_gain(f"  {step}: {OURS} is better", gains[step])
        results.keep(file, found)


def tell_gain(what: str, gain: Mapping[str, float]) -> None:
    """Print a gain of `test_gain`."""
    click.echo(
        f"{what} by {gain['test_gain_m']:+.4f} m of test MAE "
        f"(95 % {gain['test_gain_low_m']:+.4f} to {gain['test_gain_high_m']:+.4f}), {gain['test_gain_relative']:.1%}"
    )


def tell(name: str, found: Mapping[str, Any]) -> None:
    """Print what `described` found."""
    click.echo(f"{name}: {found['seconds']:.0f} s" if "seconds" in found else name)
    for step, figures in found["steps"].items():
        seconds = f", {figures['seconds']:.0f} s" if "seconds" in figures else ""
        click.echo(
            f"  {step:6} OOF {figures['mae_m']:.4f} m, test mix {figures['mae_m_testmix']:.4f} m "
            f"({figures['mae_m_testmix_low']:.4f} to {figures['mae_m_testmix_high']:.4f}), "
            f"test {figures['test_mae_m']:.4f} m{seconds}"
        )


if __name__ == "__main__":
    main()
