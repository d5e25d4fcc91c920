"""Errors of models with more and more information on simulated drives."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GroupKFold, cross_val_predict
from xgboost import XGBRegressor

from atma18 import simulate
from atma18.backbones import precision
from atma18.bundle.servable import predict_all
from atma18.cache import Cache
from atma18.compute import Compute
from atma18.config import PRESETS, NetConfig
from atma18.data.dataset import Dataset
from atma18.features import feature_table
from atma18.nets import training
from atma18.pipeline.step import NO_INPUTS
from atma18.run_context import cached_folds
from atma18.schema import Float32Array, FloatArray, StrArray
from benchmarks.simulator.drives import Drives
from benchmarks.simulator.published import LADDER_M, Line

FOLDS, NET_FOLDS = 5, 3
FIRST_EPOCHS, SECOND_EPOCHS = 2, 6


def ladder(drives: Drives, threads: int) -> Iterator[Line]:
    """Compare by cross-validated MAE with scene-grouped folds, from nothing to all that the simulator knows."""
    can, truth_m, scenes = drives.can(), drives.targets_m, drives.scenes

    def rung(what: str, found: float) -> Line:
        return Line(f"MAE m, {what}", found, *LADDER_M[what])

    constant = pd.DataFrame({"one": np.zeros(len(can))})
    yield rung("constant mean", _mae_m(LinearRegression(), constant, truth_m, scenes))
    yield rung("ridge on vEgo", _mae_m(Ridge(), can[["vEgo"]], truth_m, scenes))
    yield rung("ridge on all CAN", _mae_m(Ridge(), can, truth_m, scenes))
    yield Line("R2 of z_5, ridge on all CAN", _r2(Ridge(), can, truth_m[:, -1], scenes), 0.06, -1.0, 0.2)
    yield Line("R2 of z_5, XGBoost on all CAN", _r2(_trees(threads), can, truth_m[:, -1], scenes), 0.06, -1.0, 0.2)
    of_can_m = _mae_m(_trees(threads), can, truth_m, scenes)
    yield rung("XGBoost on all CAN", of_can_m)
    with_scene = drives.with_scene()
    of_scene_m = _mae_m(_trees(threads), with_scene, truth_m, scenes)
    yield Line("gain m, scene statistics and neighbours", of_can_m - of_scene_m, None, 0.015, 0.035)
    of_all_m = _mae_m(_trees(threads), pd.concat([with_scene, drives.hidden["train"]], axis=1), truth_m, scenes)
    yield Line("gain m, what only the frames show", of_scene_m - of_all_m, None, 0.03, np.inf)


def of_net(plan: simulate.Plan, threads: int) -> Iterator[Line]:
    """Compare XGBoost with and without out-of-fold predictions of nn1 as features."""
    with tempfile.TemporaryDirectory() as scratch:
        simulate.write_drives(Path(scratch) / "drives", plan, threads)
        cache = Cache.open(Path(scratch) / "cache")
        dataset = Dataset.open(str(Path(scratch) / "drives"), cache)
        folds = cached_folds(dataset, NET_FOLDS, 0, cache).of(dataset.train.ids)
        config, machine = _net_config(), Compute.choose()
        config = replace(config, autocast=precision.of_net(config, machine).bfloat16)
        model = training.train("nn1", config, dataset.train, dataset.targets_m, folds, machine)
        oof_m = predict_all(model, dataset.train, folds, dataset.test, NO_INPUTS, machine.device).oof_m

        def of(stacked: dict[str, FloatArray]) -> float:
            table = feature_table(dataset.train, None, None, stacked, cells=0, causal=False)
            return _mae_m(_trees(threads), table, dataset.targets_m, dataset.train.scenes)

        alone_m, stacked_m = of({}), of({"nn1": oof_m})
    own_m = float(np.abs(oof_m - dataset.targets_m).mean())
    yield Line(f"MAE m, nn1 on {plan.train_scenes} scenes", own_m, None, 0.0, np.inf)
    yield Line(f"gain m, nn1 as features on {plan.train_scenes} scenes", alone_m - stacked_m, None, 0.008, np.inf)


def _net_config() -> NetConfig:
    config = PRESETS["quick"].nn1
    first, second = (
        replace(s, num_epochs=n) for s, n in ((config.first, FIRST_EPOCHS), (config.second, SECOND_EPOCHS))
    )
    return replace(config, first=first, second=second)


def _trees(threads: int) -> XGBRegressor:
    return XGBRegressor(n_estimators=600, learning_rate=0.05, max_depth=6, tree_method="hist", n_jobs=threads)


def _mae_m(model: object, features: pd.DataFrame, truth_m: FloatArray, scenes: StrArray) -> float:
    predicted_m = cross_val_predict(model, features, truth_m, groups=scenes, cv=GroupKFold(FOLDS))
    return float(np.abs(predicted_m - truth_m).mean())


def _r2(model: object, features: pd.DataFrame, truth: FloatArray, scenes: StrArray) -> float:
    predicted: FloatArray | Float32Array = cross_val_predict(
        model, features, truth, groups=scenes, cv=GroupKFold(FOLDS)
    )
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())
