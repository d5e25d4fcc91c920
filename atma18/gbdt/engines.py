"""XGBoost and CatBoost: training, prediction and storage.

Each library takes a second to import, so that it is imported where it is used.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from atma18.config import Engine, GbdtConfig
from atma18.gbdt import joining, ubjson
from atma18.gbdt.training_rows import Table
from atma18.schema import BoolArray, Float32Array, FloatArray, first_few

if TYPE_CHECKING:
    import catboost

CATBOOST_MAX_DEPTH = 10  # CatBoost's trees are symmetric: depth 11 would double the leaves of every tree
XGBOOST_BINS = 256
_HISTOGRAMS_BYTES = 2**28
"""The maximum size of XGBoost's histogram cache, in bytes. XGBoost's default is no limit in practice: with it, trees of
depth 11 on 43,371 x 400 numbers took 2.5 GB and twice the time, and were the same."""
_CATBOOST_GB = 4
_XGBOOST_LOSSES = {"squared": "reg:squarederror", "huber": "reg:pseudohubererror"}
_CATBOOST_LOSSES = {"squared": "RMSE", "huber": "Huber:delta=1.0"}
"""In both libraries, Huber's loss changes from quadratic to linear at an error of 1 m."""


@dataclass(frozen=True)
class XgboostModel:
    """XGBoost's trees of one target, or of several, which one thread predicts with; several may do so at once.

    The number of threads is set here and never later: a parameter that is set while another thread predicts breaks its
    prediction (XGBoost 3.2.0, even if the value is the old one).
    """

    suffix: ClassVar[str] = ".ubj"
    booster: Any

    def __post_init__(self) -> None:
        self.booster.set_param("nthread", 1)

    @property
    def rounds(self) -> int:
        """The number of trees."""
        return int(self.booster.num_boosted_rounds())

    @classmethod
    def joined(cls, models: Sequence[Self]) -> Self:
        """Return one model of T targets for T models of one on the same features; see `joining`."""
        import xgboost

        joint = joining.joined([bytes(model.booster.save_raw("json")) for model in models])
        return cls(xgboost.Booster(model_file=bytearray(joint)))

    def predict(self, features: Float32Array) -> FloatArray:
        """Predict (N,), or (N, T) of T targets."""
        return np.asarray(self.booster.inplace_predict(features), dtype=np.float64)

    def gain(self) -> FloatArray:
        """Return the loss reduction by each feature's splits, (F,)."""
        found = self.booster.get_score(importance_type="total_gain")
        return np.array([found.get(name, 0.0) for name in self.booster.feature_names], dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write the trees in the engine's own format."""
        self.booster.save_model(path)

    @classmethod
    def load(cls, path: Path) -> tuple[tuple[str, ...], Self, int]:
        """Read a file that `save` wrote; return the names of the features, the model and the number of targets."""
        import xgboost

        targets = ubjson.check(path)
        booster = xgboost.Booster(model_file=path)
        return tuple(booster.feature_names or ()), cls(booster), targets


@dataclass(frozen=True)
class CatboostModel:
    """CatBoost's trees of one target, which one thread predicts with."""

    suffix: ClassVar[str] = ".cbm"
    regressor: Any

    @property
    def rounds(self) -> int:
        """The number of trees."""
        return int(self.regressor.tree_count_)

    def predict(self, features: Float32Array) -> FloatArray:
        """Predict (N,)."""
        return np.asarray(self.regressor.predict(features, thread_count=1), dtype=np.float64)

    def gain(self) -> FloatArray:
        """Return the change of the prediction by each feature, (F,)."""
        return np.asarray(self.regressor.get_feature_importance(type="PredictionValuesChange"), dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write the trees in the engine's own format."""
        self.regressor.save_model(str(path))

    @classmethod
    def load(cls, path: Path) -> tuple[tuple[str, ...], Self, int]:
        """Read a file that `save` wrote; return the names of the features, the model and the number of targets, 1."""
        import catboost

        try:
            regressor = catboost.CatBoostRegressor().load_model(str(path))
        except catboost.CatBoostError as error:  # XGBoost's errors are ValueErrors
            raise ValueError(f"{path}: expected trees as CatBoost writes them, found: {error}") from error
        return tuple(regressor.feature_names_), cls(regressor), 1


_READING = "import sys, catboost\nfor path in sys.argv[1:]: catboost.CatBoost().load_model(path)"


def check_readable(files: Iterable[Path]) -> None:
    """Load CatBoost's files among these in a separate process, because a wrong number in a file can crash its reader.

    Raises:
        ValueError: If that process fails.
    """
    paths = [str(path) for path in files if path.suffix == CatboostModel.suffix]
    if not paths:
        return
    done = subprocess.run([sys.executable, "-I", "-c", _READING, *paths], capture_output=True, check=False)
    if done.returncode:
        raise ValueError(
            f"{first_few(paths)}: expected trees as CatBoost writes them, found something that its reader does not "
            "survive: make this model again"
        )


Model = XgboostModel | CatboostModel
MODELS: dict[str, type[XgboostModel] | type[CatboostModel]] = {m.suffix: m for m in (XgboostModel, CatboostModel)}


def most_bytes(config: GbdtConfig, rows: int, features: int) -> int:
    """Estimate the peak memory of fitting (rows, features) in bytes, without the numbers themselves.

    XGBoost: one byte per number, and the larger of two sizes: the histogram cache, and the histograms of half of the
    deepest nodes (the other half is computed from their parents). CatBoost: its configured limit.
    """
    if config.engine != "xgboost":
        return _CATBOOST_GB * 10**9
    built = min(1 << max(0, config.max_depth - 2), rows)
    return rows * features + max(_HISTOGRAMS_BYTES, built * _histogram_bytes(features))


def _histogram_bytes(features: int) -> int:
    return features * XGBOOST_BINS * 16  # two float64 for each bin of each feature


def _xgboost(config: GbdtConfig, table: Table, seed: int, threads: int) -> Iterator[Model]:
    """Bin the features once, and replace the labels for each target."""
    import xgboost

    parameters = {
        "objective": _XGBOOST_LOSSES[config.objective],
        "eval_metric": "mae",
        "tree_method": "hist",
        "max_bin": XGBOOST_BINS,
        "max_cached_hist_node": max(1, _HISTOGRAMS_BYTES // _histogram_bytes(table.features.shape[1])),
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
    fitted = xgboost.QuantileDMatrix(
        table.features[table.fitted], feature_names=names, nthread=threads, max_bin=XGBOOST_BINS
    )
    watched = None
    if table.held_out is not None:
        rows = table.features[table.held_out]
        watched = xgboost.QuantileDMatrix(rows, feature_names=names, nthread=threads, max_bin=XGBOOST_BINS, ref=fitted)
    for target in table.targets.T:
        fitted.set_label(target[table.fitted])
        if watched is None:
            yield XgboostModel(xgboost.train(parameters, fitted, config.rounds))
            continue
        watched.set_label(target[table.held_out])
        booster = xgboost.train(
            parameters,
            fitted,
            config.rounds,
            evals=[(watched, "held_out")],
            early_stopping_rounds=config.early_stopping_rounds,
            verbose_eval=False,
        )
        yield XgboostModel(booster[: booster.best_iteration + 1])


def _catboost(config: GbdtConfig, table: Table, seed: int, threads: int) -> Iterator[Model]:
    for target in table.targets.T:
        yield CatboostModel(_fit_catboost(config, table, target, seed, threads))


def _fit_catboost(
    config: GbdtConfig, table: Table, target: FloatArray, seed: int, threads: int
) -> "catboost.CatBoostRegressor":
    """Fit one target, (N,)."""
    import catboost

    regressor = catboost.CatBoostRegressor(
        loss_function=_CATBOOST_LOSSES[config.objective],
        eval_metric="MAE",
        iterations=config.rounds,
        learning_rate=config.learning_rate,
        depth=min(config.max_depth, CATBOOST_MAX_DEPTH),
        l2_leaf_reg=config.reg_lambda,
        rsm=config.colsample_bytree,
        bootstrap_type="Bernoulli",
        subsample=config.subsample,
        random_seed=seed,
        thread_count=threads,
        used_ram_limit=f"{_CATBOOST_GB}gb",
        allow_const_label=True,  # a target may be constant: z on a flat road
        allow_writing_files=False,
        logging_level="Silent",
    )

    def pool(rows: BoolArray) -> catboost.Pool:
        return catboost.Pool(table.features[rows], target[rows], feature_names=list(table.names))

    if table.held_out is None:
        return regressor.fit(pool(table.fitted))
    return regressor.fit(
        pool(table.fitted),
        eval_set=pool(table.held_out),
        early_stopping_rounds=config.early_stopping_rounds,
        use_best_model=True,
    )


TRAINERS: dict[Engine, Callable[[GbdtConfig, Table, int, int], Iterator[Model]]] = {
    "xgboost": _xgboost,
    "catboost": _catboost,
}
"""Each function yields one model per target, in the order of the targets."""
