"""What each option and each member of `best` is worth, on simulated drives of several seeds.

In each row one thing is switched: off, or on where `best` does without it. A row that says `nets` switches nn1 and nn2
together, for nn2 has the encoder of nn1. Rows of `blend` fit the weights again to the same predictions. The gain is
paired over the test scenes of all seeds, which no step has seen, and no step reads their targets.

    python -m benchmarks.ablation --quick
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from atma18 import blending, metrics
from atma18.config import PRESETS, BlendConfig
from atma18.schema import FloatArray, StrArray
from benchmarks import results
from benchmarks.mains import Drives, Outcome

SEEDS = (31, 32, 33)
PRESET = "best"


def of_nets(*options: str) -> tuple[str, ...]:
    """Give options to both nets."""
    return tuple(f"--{net}_{option}" for option in options for net in ("nn1", "nn2"))


SWITCHES: Mapping[str, tuple[str, ...]] = {
    "nets: frames, not the road along the path": of_nets("view=frame", "bent_paths=0"),
    "nets: without bent paths": of_nets("bent_paths=0"),
    "nets: without a mirror": of_nets("mirror=false"),
    "nets: not held within the training rows": of_nets("bounded=false"),
    "gbdt: not held within the training rows": ("--gbdt_bounded=false",),
    "gbdt: metres less the motion model, not less the nets": ("--gbdt_target=motion",),
    "gbdt: XGBoost alone": ("--gbdt_engine=xgboost",),
    "gbdt: without embed's probe": ("--gbdt_probe=false",),
}
"""`step: what` is switched, and the options of `main` that switch it."""
BLENDS: Mapping[str, BlendConfig] = {
    "blend: weights per axis": replace(PRESETS[PRESET].blend, per_axis=True),
    "blend: the plain optimum": replace(PRESETS[PRESET].blend, method="exact"),
}
"""Blends of the same inputs."""
WITHOUT = "blend: without {}"


@click.command()
@click.option("--scenes", default=250, show_default=True, help="Simulated training scenes, and as many for the test.")
@click.option("--quick", is_flag=True, help="30 scenes, one seed, the blend alone.")
@results.json_option
def main(scenes: int, quick: bool, file: Path | None) -> None:
    """Print by how much `best` is better than with one thing switched."""
    scenes, seeds = (30, SEEDS[:1]) if quick else (scenes, SEEDS)
    switches = {} if quick else SWITCHES
    rows: dict[str, list[_Row]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in seeds:
            drives = Drives.simulate(Path(scratch) / f"drives{seed}", scenes, seed)
            for name, row in _of_seed(Path(scratch) / f"store{seed}", drives, switches):
                rows.setdefault(name, []).append(row)
                found = {name: _gains(of_name) for name, of_name in rows.items()}
                results.write(file, {"scenes": scenes, "seeds": seeds, "switched": found})
    for name, gains in found.items():
        for what, gain in gains.items():
            click.echo(
                f"{name}: {what} without it {1000 * gain['test_gain_m']:+.2f} mm "
                f"({1000 * gain['low_m']:+.2f} to {1000 * gain['high_m']:+.2f}) on test, "
                f"{1000 * gain['oof_gain_m']:+.2f} mm out of fold"
            )
    results.keep(file, {"scenes": scenes, "seeds": seeds, "switched": found})


_Row = Mapping[str, tuple[FloatArray, FloatArray, StrArray]]
"""What is scored → by sample, how much lower its error is in `best`: out of fold, on test, and the test scenes."""


def _of_seed(store: Path, drives: Drives, switches: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, _Row]]:
    """Yield each switch's name, and what it changes in the step and in the blend."""
    best = Outcome.of(store, drives, f"--preset={PRESET}")
    for name, options in switches.items():
        other = Outcome.of(store, drives, f"--preset={PRESET}", *options)
        step = name.split(":")[0].replace("nets", "nn1")
        yield name, {scored: _less(drives, best, other, scored) for scored in (step, "blend")}
    inputs = PRESETS[PRESET].inputs
    for name, config in BLENDS.items():
        yield name, {"blend": _less(drives, best, _blended(drives, best, inputs, config), "blend")}
    for left_out in inputs:
        names = [name for name in inputs if name != left_out]
        other = _blended(drives, best, names, PRESETS[PRESET].blend)
        yield WITHOUT.format(left_out), {"blend": _less(drives, best, other, "blend")}


def _blended(drives: Drives, best: Outcome, inputs: Sequence[str], config: BlendConfig) -> Outcome:
    """Return the outcome with another blend of these inputs."""
    train, test = drives.dataset.train, drives.dataset.test
    stack_m = np.stack([best.oof_m[name] for name in inputs])
    rows = (stack_m, drives.dataset.targets_m, train.scene_sizes, train.scenes)
    oof_m = blending.cross_fit(*rows, best.folds, config, inputs)
    blend = blending.fit(*rows, config, inputs).blend
    test_m = blend.apply(np.stack([best.test_m[name] for name in inputs]), test.scene_sizes)
    return replace(best, oof_m={"blend": oof_m}, test_m={"blend": test_m})


def _less(drives: Drives, best: Outcome, other: Outcome, step: str) -> tuple[FloatArray, FloatArray, StrArray]:
    def less_m(ours_m: FloatArray, other_m: FloatArray, truth_m: FloatArray) -> FloatArray:
        errors_m = [metrics.absolute_errors_m(said_m, truth_m).mean(axis=1) for said_m in (ours_m, other_m)]
        return np.asarray(errors_m[1] - errors_m[0])

    scenes = np.char.add(f"{drives.plan.seed}/", drives.scenes)
    return (
        less_m(best.oof_m[step], other.oof_m[step], drives.dataset.targets_m),
        less_m(best.test_m[step], other.test_m[step], drives.truth_m),
        scenes,
    )


def _gains(rows: Sequence[_Row]) -> dict[str, dict[str, Any]]:
    """Return what is scored → the mean gain over all seeds, its 95 % interval over test scenes, and each seed's."""
    found = {}
    for scored in rows[0]:
        oof_m, test_m, scenes = zip(*(row[scored] for row in rows), strict=True)
        [gain] = metrics.scene_bootstrap(np.concatenate(test_m)[None], np.concatenate(scenes), seed=0)
        found[scored] = {
            "test_gain_m": gain.mean,
            "low_m": gain.low,
            "high_m": gain.high,
            "oof_gain_m": float(np.concatenate(oof_m).mean()),
            "of_seeds_m": [float(of_seed_m.mean()) for of_seed_m in test_m],
        }
    return found


if __name__ == "__main__":
    main()
