"""The time in which gbdt reaches the error of the published setting, on the same features, folds and targets.

The reference is the published method: an independent `XGBRegressor` per target and fold, learning rate 0.003, up to
10,000 rounds, with early stopping on the same rows that become OOF. This project uses a higher learning rate and
shallower trees, stops on scenes of the training part, and predicts the mean of five boosters that were stopped on
different scenes. Features are those of gbdt: signals, scenes, lights, embeddings, and the OOF predictions of nets after
their first stage.

    python -m benchmarks.boosting --quick
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import pandas as pd
from xgboost import XGBRegressor

from atma18 import backbones, embedding, simulate
from atma18.backbones import precision
from atma18.backbones.engine import Engine
from atma18.bundle.servable import predict_all
from atma18.cache import Cache
from atma18.compute import Compute
from atma18.config import PRESETS, GbdtConfig, NetConfig
from atma18.data.dataset import Dataset
from atma18.data.folds import held_out_scenes
from atma18.features import feature_table, stacking_noise
from atma18.gbdt import boosting
from atma18.nets import NETS, training
from atma18.pipeline.step import NO_INPUTS
from atma18.run_context import cached_folds
from atma18.schema import TARGETS, FloatArray, IntArray, StrArray
from benchmarks import results

REFERENCE = "the published setting"
FOLDS, SEED = 3, 0
CHOSEN = ("x_5", "y_5", "z_5")
OURS = replace(PRESETS["seed"].gbdt, learning_rate=0.08, max_depth=5, early_stopping_rounds=40, bags=5)
NET_EPOCHS = 10


@dataclass(frozen=True)
class Problem:
    """What either way is given."""

    scenes: StrArray
    folds: IntArray
    targets_m: FloatArray
    """(N, 3) metres."""
    fitted: tuple[pd.DataFrame, ...]
    """Per fold (N, F) features with noise on stacked predictions, for training rows."""
    asked: tuple[pd.DataFrame, ...]
    """Per fold the same without noise, for the rows of the fold."""


def make_problem(folder: Path, scenes: int, epochs: int) -> Problem:
    """Simulate drives, embed them, and train the first stage of both nets."""
    simulate.write_drives(folder / "drives", simulate.Plan(scenes, 1, seed=0), workers=2)
    cache, machine, preset = Cache.open(folder / "cache"), Compute.choose(), PRESETS["quick"]
    dataset = Dataset.open(str(folder / "drives"), cache)
    train, folds = dataset.train, cached_folds(dataset, FOLDS, 0, cache).of(dataset.train.ids)
    config = replace(preset.embed, autocast=precision.of_embed(preset.embed, machine).bfloat16)
    backbone = backbones.build(config.backbone, seed=SEED).freeze()
    engine = Engine.of(backbone, config.image_shape[1:], autocast=config.autocast)
    cells = embedding.cached_cells(train, dataset.sha256, engine, config, machine.device, machine.threads, cache)
    bases = [
        embedding.fit_fold(cells, dataset.targets_m, np.flatnonzero(folds != k), train.scenes, config)
        for k in range(FOLDS)
    ]
    oof_m = {}
    for step in NETS:
        net: NetConfig = getattr(preset, step)
        first = replace(net.first, num_epochs=epochs)
        net = replace(net, stage="first", first=first)
        model = training.train(step, net, train, dataset.targets_m, folds, machine)
        oof_m[step] = predict_all(model, train, folds, dataset.test, NO_INPUTS, machine.device).oof_m
    noise_scale = OURS.noise_scale
    noisy_m = {name: m + stacking_noise(train.ids, name, SEED, noise_scale) for name, m in oof_m.items()}

    def table(fold: int, stacked: dict[str, FloatArray]) -> pd.DataFrame:
        found = bases[fold].features(cells)
        count = embedding.cell_count(backbone)
        return feature_table(train, found.svd, found.similarity, stacked, cells=count, causal=False)

    return Problem(
        train.scenes,
        folds,
        dataset.targets_m[:, [TARGETS.index(name) for name in CHOSEN]],
        tuple(table(k, noisy_m) for k in range(FOLDS)),
        tuple(table(k, oof_m) for k in range(FOLDS)),
    )


def reference(problem: Problem, fold: int, config: GbdtConfig, threads: int) -> FloatArray:
    """Predict a fold's rows with regressors that were stopped on them."""
    train, inside = problem.folds != fold, problem.folds == fold
    columns = []
    for target_m in problem.targets_m.T:
        regressor = XGBRegressor(
            n_estimators=config.rounds,
            learning_rate=config.learning_rate,
            max_depth=config.max_depth,
            min_child_weight=config.min_child_weight,
            gamma=config.gamma,
            reg_alpha=config.reg_alpha,
            reg_lambda=config.reg_lambda,
            subsample=config.subsample,
            colsample_bytree=config.colsample_bytree,
            tree_method="hist",
            early_stopping_rounds=config.early_stopping_rounds,
            eval_metric="mae",
            random_state=config.seed,
            n_jobs=threads,
        )
        watched = [(problem.asked[fold][inside], target_m[inside])]
        regressor.fit(problem.fitted[fold][train], target_m[train], eval_set=watched, verbose=False)
        columns.append(regressor.predict(problem.asked[fold][inside]))
    return np.column_stack(columns)


def ours(problem: Problem, fold: int, config: GbdtConfig, threads: int) -> FloatArray:
    """Predict a fold's rows with bags that were stopped on scenes of the training part."""
    train, inside = problem.folds != fold, problem.folds == fold
    bags = [
        boosting.fit_targets(
            config,
            problem.fitted[fold][train],
            problem.targets_m[train],
            held_out_scenes(problem.scenes[train], config.seed, bag, config.bags),
            seed=config.seed + bag,
            threads=threads,
        )
        for bag in range(config.bags)
    ]
    asked = problem.asked[fold][inside]
    return np.asarray(np.mean([np.column_stack([b.predict(asked) for b in boosters]) for boosters in bags], axis=0))


def measure(problem: Problem, rounds: int, threads: int) -> dict[str, float]:
    """Go through the folds both ways, in turn."""
    ways: dict[str, tuple[Callable[[Problem, int, GbdtConfig, int], FloatArray], GbdtConfig]] = {
        "": (ours, replace(OURS, rounds=rounds)),
        "reference_": (reference, replace(PRESETS["seed"].gbdt, rounds=rounds)),
    }
    seconds = dict.fromkeys(ways, 0.0)
    oof_m = {way: np.empty_like(problem.targets_m) for way in ways}
    for fold in range(FOLDS):
        for way, (predict, config) in ways.items():
            started_s = time.perf_counter()
            oof_m[way][problem.folds == fold] = predict(problem, fold, config, threads)
            seconds[way] += time.perf_counter() - started_s
    found: dict[str, float] = {"samples": len(problem.folds), "features": problem.asked[0].shape[1]}
    for way in ways:
        errors_m = np.abs(oof_m[way] - problem.targets_m)
        found |= {f"{way}seconds": seconds[way], f"{way}mae_m": float(errors_m.mean())}
        found |= {f"{way}{n}_mae_m": float(m) for n, m in zip(CHOSEN, errors_m.mean(axis=0), strict=True)}
    found["ratio"] = found["reference_seconds"] / found["seconds"]
    return found | {"mae_above": found["mae_m"] / found["reference_mae_m"] - 1}


@click.command()
@click.option("--scenes", default=905, show_default=True, help="Simulated training scenes.")
@click.option("--quick", is_flag=True, help="60 scenes, nets of one epoch, 300 rounds at most.")
@results.json_option
def main(scenes: int, quick: bool, file: Path | None) -> None:
    """Print seconds and MAE out of fold both ways, and their ratios."""
    scenes, epochs, rounds = (60, 1, 300) if quick else (scenes, NET_EPOCHS, PRESETS["seed"].gbdt.rounds)
    with tempfile.TemporaryDirectory() as scratch:
        problem = make_problem(Path(scratch), scenes, epochs)
        found = measure(problem, rounds, Compute.choose().threads)
    click.echo(
        f"{found['samples']:.0f} samples, {found['features']:.0f} features, {', '.join(CHOSEN)}, {FOLDS} folds: "
        f"{found['seconds']:.1f} s, OOF MAE {found['mae_m']:.4f} m; {REFERENCE} {found['reference_seconds']:.1f} s, "
        f"{found['reference_mae_m']:.4f} m; ratio {found['ratio']:.1f}, MAE {found['mae_above']:+.2%}"
    )
    results.keep(file, found)


if __name__ == "__main__":
    main()
