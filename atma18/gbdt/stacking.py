"""The model of gbdt: for each fold and bag, one booster per target on all features of a sample."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from atma18.compute.side_by_side import Lane, side_by_side
from atma18.config import EMBEDDING, GbdtConfig
from atma18.data.folds import held_out_scenes
from atma18.features import feature_table, stacking_noise
from atma18.gbdt import boosting
from atma18.gbdt.boosting import Booster
from atma18.gbdt.inputs import Inputs, StoredInputs
from atma18.geometry.baseline import Baseline
from atma18.geometry.kinematics import MotionModel
from atma18.schema import TARGETS, FloatArray, IntArray, Samples, StrArray, shown
from atma18.storage import strict_json

SUFFIX = ".json"


@dataclass(frozen=True)
class GbdtModel:
    """The boosters of all folds, with the names of the upstreams that they read."""

    config: GbdtConfig
    stack: tuple[str, ...]
    """The upstreams whose predictions are features."""
    cells: int
    """The number of cells of a frame's embedding."""
    folds: tuple[tuple[Booster, ...], ...]
    """Per fold: the boosters, ordered by bag, then by target; those of a bag may be joined."""
    motions: tuple[MotionModel, ...] = ()
    """Per fold: a motion model fitted to the same rows; empty if no option uses it."""
    ranges: tuple[FloatArray, ...] = ()
    """Per fold: (2, 18) least and largest difference of the same rows to the motion model, metres, which no upstream's
    prediction may leave; empty for no bounds."""

    @property
    def causal(self) -> bool:
        """Whether no prediction depends on a later sample of the scene."""
        return self.config.causal

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the upstreams that it reads."""
        return tuple(dict.fromkeys((*self.stack, EMBEDDING)))

    @property
    def count(self) -> int:
        """The number of folds."""
        return len(self.folds)

    def predict(self, fold: int, samples: Samples, inputs: Inputs, device: str) -> FloatArray:
        """Predict (N, 18) waypoints in metres, vehicle frame at t, with the model of one fold."""
        motion_m = self.motions[fold].waypoints_of(samples) if self.motions else None
        bounds_m = self.ranges[fold] if self.ranges else None
        stacked = {name: _within(inputs.stacked(name, fold), motion_m, bounds_m) for name in self.stack}
        table = self.table(fold, samples, inputs, stacked, motion_m)
        values = boosting.predict(self.folds[fold], table)
        of_bags = values.reshape(len(samples), self.config.bags, len(TARGETS))
        return np.asarray(of_bags.mean(axis=1) + _origin_m(self.config, samples, stacked, motion_m))

    def table(
        self,
        fold: int,
        samples: Samples,
        inputs: Inputs,
        stacked: Mapping[str, FloatArray],
        motion_m: FloatArray | None,
    ) -> pd.DataFrame:
        """Return the (N, F) features of one fold's boosters."""
        embedding = inputs.embedding(EMBEDDING, fold)
        return feature_table(
            samples,
            embedding.svd,
            embedding.similarity,
            stacked,
            cells=self.cells,
            causal=self.config.causal,
            motion_m=motion_m if self.config.motion else None,
            light_geometry=self.config.light_geometry,
        )

    def joined(self) -> Self:
        """Return the same model with one booster for all targets of a bag, where its engine can."""
        return replace(self, folds=tuple(tuple(_joined(fold)) for fold in self.folds))

    def feature_importance(self) -> pd.Series:
        """Return each feature's share of the gain, averaged over folds and boosters, largest first."""
        gains = [booster.feature_importance() for fold in self.folds for booster in fold]
        return pd.concat(gains, axis=1).fillna(0.0).mean(axis=1).sort_values(ascending=False)

    def describe(self) -> dict[str, Any]:
        """Return the configuration, the stacked upstreams and the number of cells."""
        return {"config": asdict(self.config), "stack": self.stack, "cells": self.cells}

    def save(self, folder: Path) -> None:
        """Write one file per booster, in the engine's own format."""
        for k, boosters in enumerate(self.folds):
            ends = np.cumsum([booster.targets for booster in boosters]).tolist()
            for booster, end in zip(boosters, ends, strict=True):
                bag, target = divmod(end - booster.targets, len(TARGETS))
                name = _bag_file(k, bag) if booster.targets > 1 else _target_file(k, bag, TARGETS[target])
                booster.save(folder / f"{name}{booster.suffix}")
        for k, motion in enumerate(self.motions):
            motion.write(folder / _motion_file(k))
        for k, bounds_m in enumerate(self.ranges):
            (folder / _range_file(k)).write_text(json.dumps(bounds_m.tolist()))

    @classmethod
    def load(cls, config: GbdtConfig, stack: Sequence[str], cells: int, files: Mapping[str, Path]) -> Self:
        """Read the model that `save` wrote.

        Raises:
            ValueError: If `stack` contains something other than names, `cells` is not at least 1, a range is none, or
                there are boosters of more targets, or of fewer.
            KeyError: If a file is missing.
        """
        if not all(isinstance(name, str) for name in stack) or type(cells) is not int or cells < 1:
            raise ValueError(f"expected the names of upstreams and at least 1 cell, found {shown([stack, cells])}")
        motions, ranges = (
            [files[named(k)] for k in range(len(files)) if named(k) in files] for named in (_motion_file, _range_file)
        )
        paths = {
            name.removesuffix(path.suffix): path for name, path in files.items() if path.suffix in boosting.SUFFIXES
        }
        count = len({name.partition("_")[0] for name in paths})
        folds = tuple(_read_fold(k, config, paths) for k in range(count))
        return cls(
            config, tuple(stack), cells, folds, tuple(map(MotionModel.read, motions)), tuple(map(_read_range, ranges))
        )


def _joined(boosters: Sequence[Booster]) -> Iterator[Booster]:
    """Yield the boosters of a fold, those of a bag as one where they can be."""
    for bag in range(0, len(boosters), len(TARGETS)):
        yield from boosting.joined(boosters[bag : bag + len(TARGETS)])


def _read_fold(fold: int, config: GbdtConfig, paths: Mapping[str, Path]) -> tuple[Booster, ...]:
    """Read the boosters of a fold: of each bag one for all targets, or one for each, as CatBoost's and all once were.

    Raises:
        ValueError: If they are for more targets, or for fewer.
    """
    names: list[str] = []
    for bag in range(config.bags):
        whole = _bag_file(fold, bag)
        names += [whole] if whole in paths else [_target_file(fold, bag, target) for target in TARGETS]
    boosters = tuple(Booster.load(paths[name]) for name in names)
    expected, found = config.bags * len(TARGETS), sum(booster.targets for booster in boosters)
    if found != expected:
        raise ValueError(f"fold {fold}: expected boosters of {expected} targets, found {found}: make this model again")
    return boosters


def _bag_file(fold: int, bag: int) -> str:
    return f"fold{fold}_bag{bag}"


def _target_file(fold: int, bag: int, target: str) -> str:
    return f"{_bag_file(fold, bag)}_{target}"


def _motion_file(fold: int) -> str:
    return f"fold{fold}_motion{SUFFIX}"


def _range_file(fold: int) -> str:
    return f"fold{fold}_range{SUFFIX}"


def _read_range(path: Path) -> FloatArray:
    """Read (2, 18) finite numbers."""
    bounds_m = np.array(strict_json.loads(path.read_bytes()), np.float64)
    if bounds_m.shape != (2, len(TARGETS)) or not np.isfinite(bounds_m).all():
        raise ValueError(f"{path}: expected (2, {len(TARGETS)}) finite numbers, found others")
    return bounds_m


def _within(stacked_m: FloatArray, motion_m: FloatArray | None, bounds_m: FloatArray | None) -> FloatArray:
    """Move (N, 18) metres to the nearest ones whose differences to the motion model are within bounds (2, 18)."""
    if bounds_m is None:
        return stacked_m
    assert motion_m is not None
    flat_m = motion_m.reshape(stacked_m.shape)
    return np.asarray(np.clip(stacked_m, flat_m + bounds_m[0], flat_m + bounds_m[1]))


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
    """Fit the boosters of every fold on the samples outside it, several folds at once.

    Args:
        config: the engine and its parameters.
        samples: the N training samples.
        targets_m: (N, 18) metres, vehicle frame at t.
        folds: (N,) the fold of each sample.
        inputs: the upstreams' OOF predictions and embeddings.
        stack: the upstreams whose predictions are features; on training rows each gets its own noise.
        cells: the number of cells of a frame's embedding.
        threads: the number of CPU threads.
        on_booster: called after every booster; one call at a time.

    Raises:
        ValueError: If `config.target` is "stacked" and `stack` is empty, or if there are too few scenes for so many
            bags.
    """
    if config.target == "stacked" and not stack:
        raise ValueError("expected a net to start from with target=stacked, found none: choose another target")
    model = GbdtModel(config, tuple(stack), cells, ())

    def fit_fold(k: int, lane: Lane) -> _FittedFold:
        rows = np.flatnonzero(folds != k)
        part, upstreams = samples.take(rows), inputs.take(rows)
        motion, motion_m, bounds_m = None, None, None
        if config.motion or config.bounded or config.target == "motion":
            motion = MotionModel.fit(part.signals, targets_m[rows], part.scenes)
            motion_m = motion.waypoints_of(part)
            if config.bounded:
                difference_m = targets_m[rows] - motion_m.reshape(len(rows), -1)
                bounds_m = np.stack([difference_m.min(axis=0), difference_m.max(axis=0)])
        stacked = {name: _within(upstreams.stacked(name, k), motion_m, bounds_m) for name in stack}
        noisy = {
            name: predicted_m + stacking_noise(part.ids, name, config.seed, config.noise_scale)
            for name, predicted_m in stacked.items()
        }
        table = model.table(k, part, upstreams, noisy, motion_m)
        values = targets_m[rows] - _origin_m(config, part, stacked, motion_m)
        boosters = _fit_bags(config, part.scenes, table, values, lane.threads, lane.in_turn(on_booster))
        return _FittedFold(boosters, motion, bounds_m)

    fitted = side_by_side(fit_fold, range(int(folds.max()) + 1), threads)
    return replace(
        model,
        folds=tuple(fold.boosters for fold in fitted),
        motions=tuple(fold.motion for fold in fitted if fold.motion is not None),
        ranges=tuple(fold.bounds_m for fold in fitted if fold.bounds_m is not None),
    )


@dataclass(frozen=True)
class _FittedFold:
    """What `fit` finds for one fold."""

    boosters: tuple[Booster, ...]
    motion: MotionModel | None
    bounds_m: FloatArray | None


def _fit_bags(
    config: GbdtConfig,
    scenes: StrArray,
    table: pd.DataFrame,
    values: FloatArray,
    threads: int,
    on_booster: Callable[[int], object],
) -> tuple[Booster, ...]:
    """Fit the bags on (N, F) features and (N, 18) metres, each with early stopping on other scenes.

    With too few scenes for early stopping, a bag runs for at most `early_stopping_rounds` rounds.
    """
    untold = replace(config, rounds=min(config.rounds, config.early_stopping_rounds))
    boosters: list[Booster] = []
    for bag in range(config.bags):
        held_out = held_out_scenes(scenes, config.seed, bag, config.bags)
        boosters += boosting.fit_targets(
            untold if held_out is None else config,
            table,
            values,
            held_out,
            seed=config.seed + bag,
            threads=threads,
            on_booster=on_booster,
            bag=bag,
        )
    return tuple(boosters)


def _origin_m(
    config: GbdtConfig, samples: Samples, stacked: Mapping[str, FloatArray], motion_m: FloatArray | None
) -> FloatArray:
    """Return the (N, 18) baseline in metres, to which boosted values are added; `stacked` holds the predictions."""
    match config.target:
        case "motion":
            assert motion_m is not None
            return motion_m.reshape(len(samples), -1)
        case "stacked":
            return np.asarray(np.mean(list(stacked.values()), axis=0))
        case target:
            return Baseline(target, by_speed=False).ahead_m(samples)
