"""What each option and each member of `best` is worth, on simulated drives of several seeds.

In each row one thing is switched: off, or on where `best` does without it. The step runs again, on the same inputs, and
is scored itself. Rows of `blend` fit the weights again to the same predictions, of one input less or one more. The gain
is paired over the test scenes of all seeds, which no step has seen, and no step reads their targets.

    python -m benchmarks.ablation --quick
"""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np

from atma18 import blending, metrics
from atma18.config import PRESETS, BlendConfig
from atma18.schema import FloatArray, StrArray
from benchmarks import results
from benchmarks.mains import Drives, Outcome, less_m

SEEDS = (34, 35, 36)
PRESET = "best"
STEPS = ("embed", "nn1", "nn2", "gbdt", "blend")


SWITCHES: Mapping[str, tuple[str, ...]] = {
    "nn1: frames, not the road along the path": ("--view=frame", "--bent_paths=0"),
    "nn1: without bent paths": ("--bent_paths=0",),
    "nn1: without a mirror": ("--mirror=false",),
    "nn1: not held within the training rows": ("--bounded=false",),
    "embed: frames, not the road along the path": ("--view=frame",),
    "gbdt: not held within the training rows": ("--bounded=false",),
    "gbdt: with embed's probe": ("--probe=true",),
}
"""`step: what` is switched, and the options of the step that switch it."""
BLENDS: Mapping[str, BlendConfig] = {
    "blend: weights per axis": replace(PRESETS[PRESET].blend, per_axis=True),
    "blend: the plain optimum": replace(PRESETS[PRESET].blend, method="exact"),
}
"""Blends of the same inputs."""
MEMBERS = PRESETS["quick"].inputs
"""What blend may read: all that `quick` blends."""


@click.command()
@click.option("--scenes", default=250, show_default=True, help="Simulated training scenes, and as many for the test.")
@click.option("--quick", is_flag=True, help="30 scenes, one seed, the blend alone.")
@results.json_option
def main(scenes: int, quick: bool, file: Path | None) -> None:
    """Print by how much `best` is better than with one thing switched."""
    scenes, seeds = (30, SEEDS[:1]) if quick else (scenes, SEEDS)
    switches = {} if quick else SWITCHES
    rows: dict[str, list[Gain]] = {}
    of_seeds = partial(_of_seed, scenes, switches)
    with ProcessPoolExecutor(len(seeds), get_context("spawn"), max_tasks_per_child=1) as pool:
        for of_seed in pool.map(of_seeds, seeds):
            for name, gain in of_seed.items():
                rows.setdefault(name, []).append(gain)
            found = {name: _together(gains) for name, gains in rows.items()}
            results.write(file, {"scenes": scenes, "seeds": seeds, "switched": found})
    for name, worse in found.items():
        click.echo(
            f"{name}: worse by {1000 * worse['test_gain_m']:+.2f} mm ({1000 * worse['test_gain_low_m']:+.2f} to "
            f"{1000 * worse['test_gain_high_m']:+.2f}) on test, {1000 * worse['oof_gain_m']:+.2f} mm out of fold"
        )
    results.keep(file, {"scenes": scenes, "seeds": seeds, "switched": found})


Gain = tuple[FloatArray, FloatArray, StrArray]
"""By sample, how much lower the error is in `best`: out of fold, on test, and the test scenes."""


def _of_seed(scenes: int, switches: Mapping[str, tuple[str, ...]], seed: int) -> dict[str, Gain]:
    """Simulate drives, run `best`, switch one thing after the other; return what each switch changes, by its name."""
    with tempfile.TemporaryDirectory() as scratch:
        drives, store = Drives.simulate(Path(scratch) / "drives", scenes, seed), Path(scratch) / "store"
        given = f"--preset={PRESET}"
        best = Outcome.of(store, drives, given, threads=1)
        found = {}
        # The last version of a step is what the next one reads, so the steps run from the last to the first.
        for name, options in sorted(switches.items(), key=lambda item: -STEPS.index(item[0].split(":")[0])):
            step = name.split(":")[0]
            other = best.with_step(store, drives, step, given, *options, threads=1)
            found[name] = _less(drives, best, other, step)
    inputs = PRESETS[PRESET].inputs
    for name, config in BLENDS.items():
        found[name] = _less(drives, best, _blended(drives, best, inputs, config), "blend")
    for member in MEMBERS:
        names = [name for name in MEMBERS if (name in inputs) != (name == member)]
        other = _blended(drives, best, names, PRESETS[PRESET].blend)
        found[f"blend: {'without' if member in inputs else 'with'} {member}"] = _less(drives, best, other, "blend")
    return found


def _blended(drives: Drives, best: Outcome, inputs: Sequence[str], config: BlendConfig) -> Outcome:
    """Return the outcome with another blend of these inputs."""
    train, test = drives.dataset.train, drives.dataset.test
    stack_m = np.stack([best.oof_m[name] for name in inputs])
    rows = (stack_m, drives.dataset.targets_m, train.scene_sizes, train.scenes)
    oof_m = blending.cross_fit(*rows, best.folds, config, inputs)
    blend = blending.fit(*rows, config, inputs).blend
    test_m = blend.apply(np.stack([best.test_m[name] for name in inputs]), test.scene_sizes)
    return replace(best, oof_m={"blend": oof_m}, test_m={"blend": test_m})


def _less(drives: Drives, best: Outcome, other: Outcome, step: str) -> Gain:
    """Return by how much a step's errors are lower in `best`."""
    scenes = np.char.add(f"{drives.plan.seed}/", drives.scenes)
    return (
        less_m(best.oof_m[step], other.oof_m[step], drives.dataset.targets_m),
        less_m(best.test_m[step], other.test_m[step], drives.truth_m),
        scenes,
    )


def _together(of_seeds: Sequence[Gain]) -> dict[str, Any]:
    """Return the mean gain over all seeds, its 95 % interval over test scenes, and each seed's."""
    oof_m, test_m, scenes = zip(*of_seeds, strict=True)
    [gain] = metrics.scene_bootstrap(np.concatenate(test_m)[None], np.concatenate(scenes), seed=0)
    return {
        "test_gain_m": gain.mean,
        "test_gain_low_m": gain.low,
        "test_gain_high_m": gain.high,
        "oof_gain_m": float(np.concatenate(oof_m).mean()),
        "of_seeds_m": [float(of_seed_m.mean()) for of_seed_m in test_m],
    }


if __name__ == "__main__":
    main()
