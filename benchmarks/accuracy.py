"""Test error of the preset `best` beside the published recipe and an earlier build, on the same simulated drives.

The published recipe with the bundled backbone is the preset `seed-small`. The earlier build is `best` of the commit
that `--before` names, in a worktree of its own. Each runs as a whole `main` command, one after the other, with a store
and a cache of its own, so that none reuses a result of another. Only this benchmark reads the test targets, and no step
does. `frames_gap` says how much of what the frames can tell `best` has found.

    python -m benchmarks.accuracy --quick
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import pandas as pd

from atma18 import metrics
from atma18.config import PRESETS
from atma18.metrics import evaluation, scores
from atma18.schema import FloatArray
from benchmarks import results
from benchmarks.frames_gap import frames_gap
from benchmarks.mains import Drives, Outcome, build_of, less_m
from benchmarks.simulator.drives import Drives as Drawn

OURS, RECIPE, BEFORE = "best", "seed-small", "before"
OOF = ("mae_m", "mae_m_testmix", "mae_m_testmix_low", "mae_m_testmix_high")


def test_error(drives: Drives, predicted_m: FloatArray) -> dict[str, float]:
    """Return the test MAE with its 95 % interval over scenes, metres."""
    found = evaluation.score_test(predicted_m, drives.truth_m, drives.dataset.test.ids)
    [score] = [s for s in found if s.part.name == scores.ALL]
    return {"test_mae_m": score.mae_m, "test_low_m": score.low_m, "test_high_m": score.high_m}


def test_gain(drives: Drives, ours_m: FloatArray, other_m: FloatArray) -> dict[str, float]:
    """Return the paired gain of ours over another, with its 95 % interval over scenes, metres, and as a share."""
    less = less_m(ours_m, other_m, drives.truth_m)
    [gain] = metrics.scene_bootstrap(less[None], drives.scenes, seed=0)
    return {
        "test_gain_m": gain.mean,
        "test_gain_low_m": gain.low,
        "test_gain_high_m": gain.high,
        "test_gain_relative": gain.mean / metrics.mae_m(other_m, drives.truth_m),
    }


def of_scenes(drives: Drives, predicted_m: FloatArray) -> dict[str, float]:
    """Return each test scene's error, metres."""
    errors_m = metrics.absolute_errors_m(predicted_m, drives.truth_m).mean(axis=1)
    found = pd.Series(errors_m).groupby(drives.scenes).mean()
    return {str(scene): round(error_m, 5) for scene, error_m in found.items()}


def described(drives: Drives, outcome: Outcome) -> dict[str, Any]:
    """Return the seconds of a `main`, and the run, the errors and the seconds of each of its steps."""
    steps = {}
    for step, figures in outcome.main.figures.items():
        oof = {name: figures[f"oof/{name}"] for name in OOF}
        run = {"run_id": outcome.main.run_ids[step], "seconds": figures["total/seconds"]}
        steps[step] = {**run, **oof, **test_error(drives, outcome.test_m[step])}
    return {"seconds": outcome.main.seconds, "steps": steps}


def compared(drives: Drives, ours: Outcome, other: Outcome) -> dict[str, Any]:
    """Return the share of another `main`'s seconds, and the paired gain of each step that both have."""
    gains = {
        step: test_gain(drives, said_m, other.test_m[step])
        for step, said_m in ours.test_m.items()
        if step in other.test_m
    }
    return {"seconds_ratio": ours.main.seconds / other.main.seconds, "gain": gains}


def within(drives: Drives, ours: Outcome) -> dict[str, Any]:
    """Return the blend's error as a share of the motion model's, and its paired gain over each input."""
    shares = {step: test_error(drives, ours.test_m[step])["test_mae_m"] for step in ("blend", "motion")}
    gains = {step: test_gain(drives, ours.test_m["blend"], ours.test_m[step]) for step in PRESETS[OURS].inputs}
    return {"share_of_motion": shares["blend"] / shares["motion"], "blend_gain_over": gains}


@click.command()
@click.option("--scenes", default=500, show_default=True, help="Simulated training scenes, and as many for the test.")
@click.option("--before", default="", help="The commit of the earlier build; none leaves it out.")
@click.option("--recipe/--no-recipe", default=True, show_default=True, help=f"Whether {RECIPE} runs too.")
@click.option("--quick", is_flag=True, help="60 scenes.")
@results.json_option
def main(scenes: int, before: str, recipe: bool, quick: bool, file: Path | None) -> None:
    """Print the error of every step of `best`, of the published recipe and of an earlier build, on test scenes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drives = Drives.simulate(folder / "drives", 60 if quick else scenes)
        dataset, plan = drives.dataset, drives.plan
        click.echo(f"{plan.train_scenes} + {plan.test_scenes} simulated scenes, seed 0, SHA-256 {dataset.sha256}")
        outcomes = {OURS: Outcome.of(folder / OURS, drives, f"--preset={OURS}")}
        tell(OURS, described(drives, outcomes[OURS]))
        if recipe:
            outcomes[RECIPE] = Outcome.of(folder / RECIPE, drives, f"--preset={RECIPE}")
            tell(RECIPE, described(drives, outcomes[RECIPE]))
        if before:
            with build_of(before, folder / "build") as build:
                outcomes[BEFORE] = Outcome.of(folder / BEFORE, drives, f"--preset={OURS}", build=build)
            tell(f"{OURS} of {before}", described(drives, outcomes[BEFORE]))
        ours = within(drives, outcomes[OURS])
        found: dict[str, Any] = {"scenes": plan.train_scenes, "data_sha256": dataset.sha256, "commit_before": before}
        found |= {name: described(drives, outcome) for name, outcome in outcomes.items()}
        found["over"] = {n: compared(drives, outcomes[OURS], other) for n, other in outcomes.items() if n != OURS}
        found["within"] = ours
        found["frames_gap"] = gap(drives, outcomes[OURS])
        found["test_error_of_scenes_m"] = {n: of_scenes(drives, o.test_m["blend"]) for n, o in outcomes.items()}
        for name, other in found["over"].items():
            click.echo(f"{OURS} took {other['seconds_ratio']:.2f} times the seconds of {name}")
            tell_gains(f"{{}}: {OURS} is better than {name}", other["gain"])
        click.echo(f"blend: {ours['share_of_motion']:.3f} of the motion model's error")
        tell_gains("blend is better than {}", ours["blend_gain_over"])
        click.echo("frames_gap: " + ", ".join(f"{name} {value:.4f}" for name, value in found["frames_gap"].items()))
        results.keep(file, found)


def gap(drives: Drives, ours: Outcome) -> dict[str, float]:
    """Measure on the same drives and folds what the frames could tell, and the share that the blend has found."""
    dataset = drives.dataset
    best_m = metrics.mae_m(ours.test_m["blend"], drives.truth_m)
    drawn = Drawn.draw(drives.plan, workers=2)
    hidden = {
        split: drawn.hidden[split].set_axis(drawn.tables[split]["ID"]).loc[samples.ids.tolist()].reset_index(drop=True)
        for split, samples in (("train", dataset.train), ("test", dataset.test))
    }
    return frames_gap(dataset, ours.folds, hidden, drives.truth_m, best_m)


def tell_gains(what: str, gains: Mapping[str, Mapping[str, float]]) -> None:
    """Print gains of `test_gain`; `what` has a place for the step."""
    for step, gain in gains.items():
        click.echo(
            f"{what.format(step)} by {gain['test_gain_m']:+.4f} m of test MAE (95 % "
            f"{gain['test_gain_low_m']:+.4f} to {gain['test_gain_high_m']:+.4f}), {gain['test_gain_relative']:.1%}"
        )


def tell(name: str, found: Mapping[str, Any]) -> None:
    """Print what `described` found."""
    click.echo(f"{name}: {found['seconds']:.0f} s")
    for step, figures in found["steps"].items():
        click.echo(
            f"  {step:6} OOF {figures['mae_m']:.4f} m, test mix {figures['mae_m_testmix']:.4f} m "
            f"({figures['mae_m_testmix_low']:.4f} to {figures['mae_m_testmix_high']:.4f}), "
            f"test {figures['test_mae_m']:.4f} m, {figures['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
