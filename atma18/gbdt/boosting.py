"""XGBoost and CatBoost behind one face: a small regressor per target.

`table` checks the numbers, `engines` trains, asks and stores what either library makes of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from atma18.config import GbdtConfig
from atma18.gbdt.engines import MODELS, TRAINERS, EngineError, Model, check_readable, most_bytes
from atma18.gbdt.training_rows import Features, Table, numbers, require
from atma18.schema import BoolArray, FloatArray, first_few

__all__ = ["SUFFIXES", "Booster", "EngineError", "Features", "check_readable", "fit", "fit_targets", "most_bytes"]

SUFFIXES = tuple(MODELS)
"""The endings of boosters' files, one for each engine."""


@dataclass(frozen=True)
class Booster:
    """A fitted regressor of one target."""

    feature_names: tuple[str, ...]
    """(F,) in the order of fitting."""
    _model: Model

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
            require(not missing, f"{len(self.feature_names)} features", f"none called {first_few(missing)}")
            features = features[list(self.feature_names)]
        width = len(self.feature_names)
        require(features.ndim == 2 and features.shape[1] == width, f"features (N, {width})", features.shape)
        return self._model.predict(numbers(features, self.feature_names))

    def feature_importance(self) -> pd.Series:
        """Return the share of each feature in the total gain, summing to 1; a model without splits has zeros.

        XGBoost counts the loss reduction of its splits, CatBoost how far the prediction moves (PredictionValuesChange).
        """
        gain = self._model.gain()
        total = gain.sum()
        return pd.Series(gain / total if total > 0 else gain, index=list(self.feature_names), name="gain")

    def save(self, path: Path) -> None:
        """Write the model and its feature names to a file that ends in `suffix`, in the engine's own format."""
        require(path.suffix == self.suffix, f"a file ending in {self.suffix}", path.name)
        self._model.save(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; the suffix says which engine it is."""
        require(path.suffix in MODELS, f"a file ending in {' or '.join(MODELS)}", path.name)
        model, feature_names = MODELS[path.suffix].load(path)
        return cls(feature_names, model)


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
    on_booster: Callable[[int], object] = lambda booster: None,
    bag: int = 0,
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
        on_booster: called with the number of each booster when it is done.
        bag: which engine's turn it is, where several take turns.

    Returns:
        T regressors in the order of `targets`.

    Raises:
        ValueError: If shapes disagree, a number is infinite, a target is missing, or no row is left on a side.
    """
    table = Table.checked(features, targets, held_out)
    boosters = []
    for k, model in enumerate(TRAINERS[config.engine_of(bag)](config, table, seed, threads)):
        boosters.append(Booster(table.names, model))
        on_booster(k)
    return tuple(boosters)
