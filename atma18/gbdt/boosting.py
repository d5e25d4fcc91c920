"""XGBoost and CatBoost behind one interface: one regressor per target, or one for several.

`training_rows` checks the numbers; `engines` trains, predicts and stores with either library.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from atma18.config import GbdtConfig
from atma18.gbdt.engines import MODELS, TRAINERS, Model, XgboostModel, check_readable, most_bytes
from atma18.gbdt.training_rows import Features, Table, numbers, require
from atma18.schema import BoolArray, FloatArray, first_few

__all__ = ["SUFFIXES", "Booster", "Features", "check_readable", "fit", "fit_targets", "joined", "most_bytes", "predict"]

_MANY_ROWS = 1000
SUFFIXES = tuple(MODELS)
"""The file suffixes of boosters, one for each engine."""


@dataclass(frozen=True)
class Booster:
    """A fitted regressor of one target, or of several that `joined` has made one."""

    feature_names: tuple[str, ...]
    """(F,) in the order used for fitting."""
    _model: Model
    targets: int = 1
    """T, the number of targets."""

    @property
    def rounds(self) -> int:
        """The number of trees kept: up to the best round, if rows were held out."""
        return self._model.rounds

    @property
    def suffix(self) -> str:
        """The file suffix: `.ubj` or `.cbm`."""
        return self._model.suffix

    def predict(self, features: Features) -> FloatArray:
        """Predict each row independently.

        Args:
            features: (N, F); columns of a DataFrame are selected by name, and further columns are ignored.

        Returns:
            (N,) in the target's unit, or (N, T) of T joined targets.

        Raises:
            ValueError: If a feature is missing or infinite.
        """
        selected = _selected(features, self.feature_names)
        width = len(self.feature_names)
        require(selected.ndim == 2 and selected.shape[1] == width, f"features (N, {width})", selected.shape)
        return self._model.predict(numbers(selected, self.feature_names))

    def feature_importance(self) -> pd.Series:
        """Return the share of each feature in a target's total gain; the shares sum to 1, or are 0 without splits.

        The gain is XGBoost's loss reduction by splits, or CatBoost's change of the prediction (PredictionValuesChange).
        """
        require(self.targets == 1, "a booster of one target", f"{self.targets} that are joined")
        gain = self._model.gain()
        total = gain.sum()
        return pd.Series(gain / total if total > 0 else gain, index=list(self.feature_names), name="gain")

    def save(self, path: Path) -> None:
        """Write the model and its feature names in the engine's own format, to a file that ends in `suffix`."""
        require(path.suffix == self.suffix, f"a file ending in {self.suffix}", path.name)
        self._model.save(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `save` wrote; the suffix identifies the engine."""
        require(path.suffix in MODELS, f"a file ending in {' or '.join(MODELS)}", path.name)
        return cls(*MODELS[path.suffix].load(path))


def _selected(features: Features, names: tuple[str, ...]) -> Features:
    """Return the named columns of a DataFrame; an array has no names, and is left as it is."""
    if not isinstance(features, pd.DataFrame) or tuple(features.columns) == names:
        return features
    missing = [name for name in names if name not in features.columns]
    require(not missing, f"{len(names)} features", f"none called {first_few(missing)}")
    return features[list(names)]


def joined(boosters: Sequence[Booster]) -> tuple[Booster, ...]:
    """Join boosters of one target each on the same features where their engine can: XGBoost's become one."""
    models = [booster._model for booster in boosters if isinstance(booster._model, XgboostModel)]
    if len(models) < len(boosters):
        return tuple(boosters)
    return (Booster(boosters[0].feature_names, XgboostModel.joined(models), len(models)),)


def predict(boosters: Sequence[Booster], features: pd.DataFrame) -> FloatArray:
    """Predict (N, T), a column for each target of the boosters, as their own `predict` does.

    A table is converted once for all boosters that read it. Many rows are predicted in parts at once; with few, further
    threads cost more than they bring: on a busy machine 24 times the time of one.

    Args:
        boosters: boosters of T targets in all, many of which read the same features.
        features: (N, F) with the columns of all of them.
    """
    read = {booster.feature_names: None for booster in boosters}
    tables = {names: numbers(_selected(features, names), names) for names in read}

    def predict_part(rows: slice) -> FloatArray:
        return np.column_stack([booster.predict(tables[booster.feature_names][rows]) for booster in boosters])

    if len(features) < _MANY_ROWS:
        return predict_part(slice(None))
    parts = [slice(start, start + _MANY_ROWS) for start in range(0, len(features), _MANY_ROWS)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(list(threads.map(predict_part, parts)))


def fit(
    config: GbdtConfig, features: Features, target: FloatArray, held_out: BoolArray | None, *, seed: int, threads: int
) -> Booster:
    """Fit a regressor of one target, (N,); see `fit_targets`."""
    return fit_targets(config, features, target[:, None], held_out, seed=seed, threads=threads)[0]


def fit_targets(
    config: GbdtConfig,
    features: Features,
    targets: FloatArray,
    held_out: BoolArray | None,
    *,
    seed: int,
    threads: int,
    on_booster: Callable[[int], object] = lambda booster: None,
    bag: int = 0,
) -> tuple[Booster, ...]:
    """Fit one regressor per target on the same features.

    The loss is `config.objective`. Held-out rows determine the number of rounds only: boosting stops when their MAE has
    not improved for `early_stopping_rounds`, and the rounds after the best one are dropped.

    Args:
        config: the engine and its parameters. CatBoost has no equivalent of `min_child_weight`, `gamma` and
            `reg_alpha` for symmetric trees and ignores them; its depth is at most 10.
        features: (N, F), missing values are NaN.
        targets: (N, T) in any unit.
        held_out: (N,) True where a row is held out; None runs all rounds.
        seed: the random seed of the rows and columns of each round, the same for every target.
        threads: the number of CPU threads; the result may depend on it.
        on_booster: called with the index of each booster when it is fitted.
        bag: the index of the bag, which selects the engine where engines alternate.

    Returns:
        T regressors in the order of `targets`.

    Raises:
        ValueError: If shapes disagree, a number is infinite, a target is missing, or `held_out` selects no row or all.
    """
    table = Table.checked(features, targets, held_out)
    boosters = []
    for k, model in enumerate(TRAINERS[config.engine_of(bag)](config, table, seed, threads)):
        boosters.append(Booster(table.names, model))
        on_booster(k)
    return tuple(boosters)
