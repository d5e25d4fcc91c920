"""Whole `main` commands on few scenes: how the blend stands to its inputs, and what is said of drives unlike any seen.

The test drives hold three scenes of a kind that training lacks: a standing start at full throttle, a hairpin, and
reversing. Nothing is known of where such a car goes, but a car can only be where its tyres can push it: after t seconds
it lies within a_max t² / 2 of the place that it would reach at constant velocity. a_max is 11.5 m/s², as in the vehicle
models of CommonRoad (Althoff, Koschi and Manzinger, CommonRoad: Composable Benchmarks for Motion Planning on Roads,
2017). Up and down, a road is at most as steep as the steepest street, 35 % (Baldwin Street, Dunedin).

    python -m benchmarks.small_drives --quick
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd

from atma18 import blending, metrics, simulate
from atma18.cache import Cache
from atma18.config import PRESETS
from atma18.data.dataset import Dataset
from atma18.schema import AXES, GEAR, WAYPOINT_TIMES_S, FloatArray
from benchmarks import results
from benchmarks.mains import Drives, Outcome

SCENES, SEEDS, CHOSEN = (12, 24, 48), range(41, 46), ("quick", "best")
WORSE, FAR_WORSE = 1.02, 1.1
MOST_MPS2 = 11.5
STEEPEST = 0.35
STRANGE: Mapping[str, Mapping[str, object]] = {
    "standing start": {"vEgo": 0.3, "aEgo": 5.0, "gas": 1.0, "gasPressed": 1, "brake": 0.0, "brakePressed": 0},
    "hairpin": {"vEgo": 5.0, "aEgo": 0.0, "steeringAngleDeg": 480.0, "steeringTorque": 600.0, "leftBlinker": 1},
    "reversing": {"vEgo": 1.5, "aEgo": -1.0, GEAR: "reverse", "steeringAngleDeg": -300.0, "gas": 0.1},
}
"""Kind of scene → what its signals are, in the units of the dataset."""


@dataclass(frozen=True)
class Case:
    """One `main` on so many scenes."""

    scenes: int
    seed: int
    preset: str

    @property
    def name(self) -> str:
        """What it is called in the results."""
        return f"{self.scenes} scenes, seed {self.seed}, {self.preset}"


def measured(case: Case) -> dict[str, Any]:
    """Run `main`; return the errors of the blend and its inputs, and how much of the reachable place is used."""
    with tempfile.TemporaryDirectory() as scratch:
        drives = strange_drives(Path(scratch) / "drives", case)
        options = (f"--preset={case.preset}",)
        found = Outcome.of(Path(scratch) / "store", drives, *options, threads=1)
    return {
        "oof_mae_m": found.main.mae_m,
        **{f"{name}_ratio": ratio for name, ratio in _ratios(drives.dataset, found, case.preset).items()},
        "used": {step: share_used(drives.dataset, said_m) for step, said_m in found.test_m.items()},
    }


def strange_drives(folder: Path, case: Case) -> Drives:
    """Simulate drives, and give the signals of `STRANGE` to the test scenes, one kind to each."""
    plan = simulate.Plan(case.scenes, len(STRANGE), case.seed)
    simulate.write_drives(folder, plan)
    file = folder / "test_features.csv"
    table = pd.read_csv(file)
    scenes = table["ID"].str.rsplit("_", n=1).str[0]
    for scene, signals in zip(scenes.unique(), STRANGE.values(), strict=True):
        for name, value in signals.items():
            table[name] = table[name].mask(scenes == scene, value)
    table.to_csv(file, index=False)
    dataset = Dataset.open(str(folder), Cache.open(folder.with_name("cache")))
    nothing_m = np.zeros((len(dataset.test), len(AXES) * len(WAYPOINT_TIMES_S)))  # nobody knows where such cars go
    return Drives(plan, dataset, nothing_m)


def _ratios(dataset: Dataset, found: Outcome, preset: str) -> dict[str, float]:
    """Return the cross-fitted error of the blend, and of its plain optimum, as shares of the best input's."""
    inputs, config = PRESETS[preset].inputs, PRESETS[preset].blend
    stack_m = np.stack([found.oof_m[name] for name in inputs])
    train = dataset.train
    rows = (stack_m, dataset.targets_m, train.scene_sizes, train.scenes, found.folds)
    plain_m = blending.cross_fit(*rows, replace(config, method="exact"), inputs)
    best_m = min(metrics.mae_m(oof_m, dataset.targets_m) for oof_m in stack_m)
    blends = {"blend": found.oof_m["blend"], "plain": plain_m}
    return {name: metrics.mae_m(oof_m, dataset.targets_m) / best_m for name, oof_m in blends.items()}


def share_used(dataset: Dataset, said_m: FloatArray) -> dict[str, float]:
    """Return the largest share of the reachable place and slope that any waypoint of the test drives uses."""
    points_m = said_m.reshape(len(said_m), -1, len(AXES))
    speed_mps = dataset.test.signals["vEgo"].to_numpy(np.float64)
    times_s = np.array(WAYPOINT_TIMES_S)
    coasting_m = np.stack([speed_mps[:, None] * times_s, np.zeros((len(said_m), len(times_s)))], axis=-1)
    # A car that reverses reports how fast, not whither: the nearer of both places counts.
    away_m = [np.linalg.norm(points_m[..., :2] - way * coasting_m, axis=-1) for way in (1, -1)]
    reverses = np.zeros(len(said_m), bool) if dataset.test.gear is None else dataset.test.gear == "reverse"
    horizontal_m = np.where(reverses[:, None], np.minimum(*away_m), away_m[0])
    reach_m = MOST_MPS2 * times_s**2 / 2
    farthest_m = speed_mps[:, None] * times_s + reach_m
    return {
        "place": float((horizontal_m / reach_m).max()),
        "slope": float((np.abs(points_m[..., 2]) / (STEEPEST * farthest_m)).max()),
    }


@click.command()
@click.option("--quick", is_flag=True, help="12 scenes, one seed, the preset quick.")
@results.json_option
def main(quick: bool, file: Path | None) -> None:
    """Print how the blend stands to its best input, and how far the strangest waypoint lies."""
    cases = [Case(scenes, seed, preset) for scenes in SCENES for seed in SEEDS for preset in CHOSEN]
    cases = cases[:1] if quick else cases
    found: dict[str, Any] = {}
    with ProcessPoolExecutor(2, get_context("spawn"), max_tasks_per_child=1) as pool:
        for case, figures in zip(cases, pool.map(measured, cases), strict=True):
            found[case.name] = figures
            used = {what: max(of_step[what] for of_step in figures["used"].values()) for what in ("place", "slope")}
            click.echo(
                f"{case.name}: blend {figures['blend_ratio']:.3f} of the best input, plain optimum "
                f"{figures['plain_ratio']:.3f}; {used['place']:.0%} of the place, {used['slope']:.0%} of the slope"
            )
            results.write(file, {"cases": found})
    ratios = {name: np.array([f[f"{name}_ratio"] for f in found.values()]) for name in ("blend", "plain")}
    summary = {
        "blend_sound": int((ratios["blend"] <= WORSE).sum()),
        "plain_sound": int((ratios["plain"] <= WORSE).sum()),
        "blend_far_worse": int((ratios["blend"] > FAR_WORSE).sum()),
        "plain_far_worse": int((ratios["plain"] > FAR_WORSE).sum()),
        "most_of_place": max(of["place"] for f in found.values() for of in f["used"].values()),
        "most_of_slope": max(of["slope"] for f in found.values() for of in f["used"].values()),
    }
    click.echo(f"of {len(found)} cases: {summary}")
    results.keep(file, {"cases": found, "summary": summary})


if __name__ == "__main__":
    main()
