"""XGBoost and CatBoost behind one face: one small regressor per target."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import catboost
import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray

from atma18.presets import GbdtConfig
from atma18.schema import Float32Array, FloatArray, first_few, repeated

Features = pd.DataFrame | Float32Array
"""(N, F) numbers; NaN is missing. Columns without names are f0, f1, …"""
BoolArray = NDArray[np.bool_]

CATBOOST_MAX_DEPTH = 10  # its trees are symmetric: depth 11 doubles the leaves of all of them


@dataclass(frozen=True)
class _Xgboost:
    suffix: ClassVar[str] = ".ubj"
    booster: Any

    @property
    def rounds(self) -> int:
        return int(self.booster.num_boosted_rounds())

    def predict(self, features: Float32Array) -> FloatArray:
        return np.asarray(self.booster.inplace_predict(features), dtype=np.float64)

    def gain(self) -> FloatArray:
        found = self.booster.get_score(importance_type="total_gain")
        return np.array([found.get(name, 0.0) for name in self.booster.feature_names], dtype=np.float64)

    def save(self, path: Path) -> None:
        self.booster.save_model(path)

    @classmethod
    def load(cls, path: Path) -> tuple[Self, tuple[str, ...]]:
        booster = xgboost.Booster(model_file=path)
        return cls(booster), tuple(booster.feature_names or ())


@dataclass(frozen=True)
class _Catboost:
    suffix: ClassVar[str] = ".cbm"
    regressor: Any

    @property
    def rounds(self) -> int:
        return int(self.regressor.tree_count_)

    def predict(self, features: Float32Array) -> FloatArray:
        return np.asarray(self.regressor.predict(features), dtype=np.float64)

    def gain(self) -> FloatArray:
        return np.asarray(self.regressor.get_feature_importance(type="PredictionValuesChange"), dtype=np.float64)

    def save(self, path: Path) -> None:
        self.regressor.save_model(str(path))

    @classmethod
    def load(cls, path: Path) -> tuple[Self, tuple[str, ...]]:
        regressor = catboost.CatBoostRegressor().load_model(str(path))
        return cls(regressor), tuple(regressor.feature_names_)


_Model = _Xgboost | _Catboost
_TrainOne = Callable[[int], _Model]  # from the index of a target


@dataclass(frozen=True)
class Booster:
    """A fitted regressor of one target."""

    feature_names: tuple[str, ...]
    """(F,) in the order of fitting."""
    _model: _Model

    @property
    def rounds(self) -> int:
        """The number of trees kept: up to the best round, where rows were held out."""
        return self._model.rounds

    @property
    def suffix(self) -> str:
        """The ending of the file's name: `.ubj` or `.cbm`."""
        return self._model.suffix

    def predict(self, features: Features) -> FloatArray:
        """Predict each row by itself.

        Args:
            features: (N, F); columns of a frame are found by name, those that were not fitted are ignored.

        Returns:
            (N,) in the target's unit.

        Raises:
            ValueError: If a feature is missing or infinite.
        """
        if isinstance(features, pd.DataFrame):
            missing = [name for name in self.feature_names if name not in features.columns]
            _require(not missing, f"{len(self.feature_names)} features", f"none called {first_few(missing)}")
            features = features[list(self.feature_names)]
        width = len(self.feature_names)
        _require(features.ndim == 2 and features.shape[1] == width, f"features (N, {width})", features.shape)
        return self._model.predict(_numbers(features, self.feature_names))

    def feature_importance(self) -> pd.Series:
        """Return the share of each feature in the total gain, summing to 1; a model without splits has zeros.

        XGBoost counts the loss reduction of its splits, CatBoost how far the prediction moves (PredictionValuesChange).
        """
        gain = self._model.gain()
        total = gain.sum()
        return pd.Series(gain / total if total > 0 else gain, index=list(self.feature_names), name="gain")

    def save(self, path: Path) -> None:
        """Write the model and its feature names to a file that ends in `suffix`, in the engine's own format."""
        _require(path.suffix == self.suffix, f"a file ending in {self.suffix}", path.name)
        self._model.save(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; the suffix says which engine it is."""
        models = {engine.suffix: engine for engine in (_Xgboost, _Catboost)}
        _require(path.suffix in models, f"a file ending in {' or '.join(models)}", path.name)
        model, feature_names = models[path.suffix].load(path)
        return cls(feature_names, model)


@dataclass(frozen=True)
class _Table:
    """Checked numbers of one split."""

    names: tuple[str, ...]
    features: Float32Array  # (N, F)
    targets: FloatArray  # (N, T)
    held_out: BoolArray | None  # (N,)

    @property
    def fitted(self) -> BoolArray:
        """(N,) rows that decide splits and leaves."""
        return np.ones(len(self.features), dtype=bool) if self.held_out is None else ~self.held_out


def fit(
    config: GbdtConfig, features: Features, target: FloatArray, held_out: BoolArray | None, *, seed: int, threads: int
) -> Booster:
    """Fit one target, (N,); see `fit_targets`."""
    return fit_targets(config, features, target[:, None], held_out, seed=seed, threads=threads)[0]


def fit_targets(
    config: GbdtConfig,
    features: Features,
    targets: FloatArray,
    held_out: BoolArray | None,
    *,
    seed: int,
    threads: int,
    on_target: Callable[[int], object] | None = None,
) -> tuple[Booster, ...]:
    """Fit one regressor per target on the same features.

    The loss is the squared error. Rows held out decide nothing but the number of rounds: boosting ends when their MAE
    has not improved for `early_stopping_rounds`, and the best round is the last one kept.

    Args:
        config: the engine and its parameters. CatBoost has no equal of `min_child_weight`, `gamma` and `reg_alpha`
            for symmetric trees and leaves them out; its depth ends at 10.
        features: (N, F), missing values are NaN.
        targets: (N, T) in any unit.
        held_out: (N,) True where a row is held out; None runs all rounds.
        seed: draws the rows and columns of each round, the same for every target.
        threads: CPU threads. The result may depend on their number.
        on_target: called with the index of each target when it is done.

    Returns:
        T regressors in the order of `targets`.

    Raises:
        ValueError: If shapes disagree, a number is infinite, a target is missing, or no row is left on a side.
    """
    table = _checked(features, targets, held_out)
    train_one = _TRAINERS[config.engine](config, table, seed, threads)
    boosters = []
    for k in range(table.targets.shape[1]):
        boosters.append(Booster(table.names, train_one(k)))
        if on_target is not None:
            on_target(k)
    return tuple(boosters)


def _checked(features: Features, targets: FloatArray, held_out: BoolArray | None) -> _Table:
    _require(features.ndim == 2, "features (N, F)", features.shape)
    n = len(features)
    _require(targets.ndim == 2 and len(targets) == n, f"{n} rows of targets", targets.shape)
    _require(bool(np.isfinite(targets).all()), "finite targets", f"{(~np.isfinite(targets)).sum()} others")
    if held_out is not None:
        _require(held_out.shape == (n,) and held_out.dtype == bool, f"{n} booleans in held_out", held_out.shape)
        _require(0 < held_out.sum() < n, "rows on both sides of held_out", f"{held_out.sum()} of {n}")
    columns = features.columns if isinstance(features, pd.DataFrame) else [f"f{i}" for i in range(features.shape[1])]
    names = tuple(map(str, columns))
    _require(len(set(names)) == len(names), "each feature once", f"repeated {first_few(repeated(names))}")
    return _Table(names, _numbers(features, names), targets, held_out)


def _numbers(features: Features, names: tuple[str, ...]) -> Float32Array:
    values = np.ascontiguousarray(features, dtype=np.float32)
    if np.isinf(values).any():
        found = [name for name, column in zip(names, values.T, strict=True) if np.isinf(column).any()]
        raise ValueError(f"expected features that are finite or NaN, found infinity in {first_few(found)}")
    return values


def _require(valid: bool, expected: str, found: object) -> None:
    if not valid:
        raise ValueError(f"expected {expected}, found {found}")


def _xgboost_trainer(config: GbdtConfig, table: _Table, seed: int, threads: int) -> _TrainOne:
    """Bin the features once; each target only swaps the labels."""
    parameters = {
        "objective": "reg:squarederror",
        "eval_metric": "mae",
        "tree_method": "hist",
        "learning_rate": config.learning_rate,
        "max_depth": config.max_depth,
        "min_child_weight": config.min_child_weight,
        "gamma": config.gamma,
        "reg_alpha": config.reg_alpha,
        "reg_lambda": config.reg_lambda,
        "subsample": config.subsample,
        "colsample_bytree": config.colsample_bytree,
        "seed": seed,
        "nthread": threads,
    }
    names = list(table.names)
    fitted = xgboost.QuantileDMatrix(table.features[table.fitted], feature_names=names, nthread=threads)
    watched = None
    if table.held_out is not None:
        rows = table.features[table.held_out]
        watched = xgboost.QuantileDMatrix(rows, feature_names=names, nthread=threads, ref=fitted)

    def train_one(k: int) -> _Model:
        fitted.set_label(table.targets[table.fitted, k])
        if watched is None:
            return _Xgboost(xgboost.train(parameters, fitted, config.rounds))
        watched.set_label(table.targets[table.held_out, k])
        booster = xgboost.train(
            parameters,
            fitted,
            config.rounds,
            evals=[(watched, "held_out")],
            early_stopping_rounds=config.early_stopping_rounds,
            verbose_eval=False,
        )
        return _Xgboost(booster[: booster.best_iteration + 1])

    return train_one


def _catboost_trainer(config: GbdtConfig, table: _Table, seed: int, threads: int) -> _TrainOne:
    parameters = {
        "loss_function": "RMSE",
        "eval_metric": "MAE",
        "iterations": config.rounds,
        "learning_rate": config.learning_rate,
        "depth": min(config.max_depth, CATBOOST_MAX_DEPTH),
        "l2_leaf_reg": config.reg_lambda,
        "rsm": config.colsample_bytree,
        "bootstrap_type": "Bernoulli",
        "subsample": config.subsample,
        "allow_const_label": True,  # a target may be the same in all rows: z on a flat road
        "random_seed": seed,
        "thread_count": threads,
        "allow_writing_files": False,
        "logging_level": "Silent",
    }

    def pool(rows: BoolArray, k: int) -> catboost.Pool:
        return catboost.Pool(table.features[rows], table.targets[rows, k], feature_names=list(table.names))

    def train_one(k: int) -> _Model:
        regressor, fitted = catboost.CatBoostRegressor(**parameters), pool(table.fitted, k)
        if table.held_out is None:
            return _Catboost(regressor.fit(fitted))
        watched, patience = pool(table.held_out, k), config.early_stopping_rounds
        return _Catboost(regressor.fit(fitted, eval_set=watched, early_stopping_rounds=patience, use_best_model=True))

    return train_one


_TRAINERS = {"xgboost": _xgboost_trainer, "catboost": _catboost_trainer}
