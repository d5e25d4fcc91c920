"""What gbdt predicts with: for each fold, one booster per target on the table of all that is known of a sample."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from atma18 import boosting
from atma18.boosting import Booster
from atma18.features import feature_table, stacking_noise
from atma18.folds import held_out_scenes
from atma18.inputs import Inputs, StoredInputs
from atma18.kinematics import constant_velocity_waypoints
from atma18.presets import GbdtConfig
from atma18.schema import TARGETS, FloatArray, IntArray, Samples

EMBEDDING = "embed"


@dataclass(frozen=True)
class GbdtModel:
    """The boosters of all folds, with the names of the upstreams that they read."""

    config: GbdtConfig
    stack: tuple[str, ...]
    """Upstreams whose predictions are features."""
    cells: int
    """Cells of a frame's embedding."""
    folds: tuple[tuple[Booster, ...], ...]
    """Per fold, bag after bag, a booster for each target or one for all."""

    @property
    def causal(self) -> bool:
        """Whether no prediction looks at a later sample of the scene."""
        return self.config.causal

    def predict(self, fold: int, samples: Samples, inputs: Inputs) -> FloatArray:
        """Predict (N, 18) waypoints in metres, vehicle frame at t, with the model of one fold."""
        stacked = {name: inputs.stacked(name, fold) for name in self.stack}
        table = self.table(fold, samples, inputs, stacked)
        values = np.column_stack([booster.predict(table) for booster in self.folds[fold]])
        of_bags = values.reshape(len(samples), self.config.bags, len(TARGETS))
        return np.asarray(of_bags.mean(axis=1) + _origin_m(self.config, samples, stacked))

    def table(self, fold: int, samples: Samples, inputs: Inputs, stacked: Mapping[str, FloatArray]) -> pd.DataFrame:
        """Return the (N, F) features that one fold's boosters read."""
        embedding = inputs.embedding(EMBEDDING, fold)
        return feature_table(
            samples, embedding.svd, embedding.similarity, stacked, cells=self.cells, causal=self.config.causal
        )

    def feature_importance(self) -> pd.Series:
        """Return each feature's share of the gain, averaged over folds and targets, largest first."""
        gains = [booster.feature_importance() for fold in self.folds for booster in fold]
        return pd.concat(gains, axis=1).fillna(0.0).mean(axis=1).sort_values(ascending=False)

    def save(self, folder: Path) -> None:
        """Write one file per booster, in the engine's own format."""
        for k, boosters in enumerate(self.folds):
            for name, booster in zip(booster_names(self.config), boosters, strict=True):
                booster.save(folder / f"fold{k}_{name}{booster.suffix}")

    @classmethod
    def load(cls, config: GbdtConfig, stack: Sequence[str], cells: int, files: Mapping[str, Path]) -> Self:
        """Read what `save` wrote."""
        suffix, names = next(iter(files.values())).suffix, booster_names(config)
        folds = tuple(
            tuple(Booster.load(files[f"fold{k}_{name}{suffix}"]) for name in names)
            for k in range(len(files) // len(names))
        )
        return cls(config, tuple(stack), cells, folds)


def booster_names(config: GbdtConfig) -> list[str]:
    """Name the boosters of one fold in their order: a bag's, then the next one's."""
    of_a_bag = ("all",) if config.engine == "catboost-multi" else TARGETS
    return [f"bag{bag}_{name}" for bag in range(config.bags) for name in of_a_bag]


def fit(
    config: GbdtConfig,
    samples: Samples,
    targets_m: FloatArray,
    folds: IntArray,
    inputs: StoredInputs,
    stack: Sequence[str],
    cells: int,
    threads: int,
    on_booster: Callable[[int], object] = lambda booster: None,
) -> GbdtModel:
    """Fit the boosters of every fold on the samples outside it.

    Args:
        config: the engine and its parameters.
        samples: the N training samples.
        targets_m: (N, 18) metres, vehicle frame at t.
        folds: (N,) the fold of each sample.
        inputs: the upstreams' OOF predictions and embeddings.
        stack: upstreams whose predictions are features; each gets noise of its own, on training rows alone.
        cells: cells of a frame's embedding.
        threads: CPU threads.
        on_booster: called after every booster.

    Raises:
        ValueError: If boosting starts from the upstreams' predictions, and there are none, or if there are too few
            scenes for so many bags.
    """
    if config.target == "stacked" and not stack:
        raise ValueError("expected a net to start from with target=stacked, found none: choose another target")
    model = GbdtModel(config, tuple(stack), cells, ())
    fitted = []
    for k in range(int(folds.max()) + 1):
        rows = np.flatnonzero(folds != k)
        part, upstreams = samples.take(rows), inputs.take(rows)
        stacked = {name: upstreams.stacked(name, k) for name in stack}
        noisy = {
            name: predicted_m + stacking_noise(part.ids, name, config.seed, config.noise_scale)
            for name, predicted_m in stacked.items()
        }
        table, values = model.table(k, part, upstreams, noisy), targets_m[rows] - _origin_m(config, part, stacked)
        bags = [
            boosting.fit_targets(
                config,
                table,
                values,
                held_out_scenes(part.scenes, config.seed, bag, config.bags),
                seed=config.seed + bag,
                threads=threads,
                on_booster=on_booster,
            )
            for bag in range(config.bags)
        ]
        fitted.append(tuple(booster for boosters in bags for booster in boosters))
    return replace(model, folds=tuple(fitted))


def _origin_m(config: GbdtConfig, samples: Samples, stacked: Mapping[str, FloatArray]) -> FloatArray:
    """Return the (N, 18) metres that boosted values are added to; `stacked` are the upstreams' predictions."""
    match config.target:
        case "absolute":
            return np.zeros((len(samples), len(TARGETS)))
        case "residual":
            return constant_velocity_waypoints(samples.signals["vEgo"].to_numpy(np.float64)).reshape(len(samples), -1)
        case "stacked":
            return np.asarray(np.mean(list(stacked.values()), axis=0))
