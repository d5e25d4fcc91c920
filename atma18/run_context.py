"""The run context, which all steps of one run share: data, folds, preset, seeds, machine and cache."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from atma18.cache import Cache
from atma18.compute import Compute
from atma18.config import PRESETS, Preset
from atma18.data.dataset import DEMO, Dataset
from atma18.data.folds import Folds, make_folds
from atma18.geometry.kinematics import MotionModel, constant_velocity_waypoints
from atma18.metrics import in_fold_median
from atma18.schema import FloatArray, shown


@dataclass(frozen=True)
class RunContext:
    """The data, folds, preset, seeds, machine and cache of a step."""

    data: str
    """The data as the user gave it: a folder, or `demo`."""
    dataset: Dataset
    folds: Folds
    folds_given: str | None
    """As given: a count, or a run; None leaves the count to the preset."""
    fold_seed: int
    preset_name: str
    preset: Preset
    seed: int
    machine: Compute
    cache: Cache
    suspicions: tuple[str, ...] = ()
    """What looks wrong about the drives."""

    @classmethod
    def open(
        cls,
        data: str,
        preset: str,
        folds: str | None,
        fold_seed: int,
        seed: int,
        cache: Cache,
        adopt: Callable[[str], Folds],
        *,
        verify: bool = False,
    ) -> Self:
        """Read the data, and make the folds or take those of a run.

        Args:
            data: a dataset folder, or `demo`.
            preset: one of `PRESETS`.
            folds: a count, or a run whose folds are to be used; None leaves the count to the preset.
            fold_seed: of the folds that are made.
            seed: of everything else.
            cache: where decoded frames, folds and embeddings are kept.
            adopt: fetches the folds of a run.
            verify: read every frame again even if its file looks unchanged.

        Raises:
            ValueError: If the data break the contract or the folds do not fit the data.
        """
        if preset not in PRESETS:
            raise ValueError(f"expected a preset of {', '.join(PRESETS)}, found {shown(preset)}")
        dataset = Dataset.open(data, cache, verify=verify)
        if folds is None or re.fullmatch(r"\d{1,3}", folds):
            count = PRESETS[preset].folds if folds is None else int(folds)
            made = cached_folds(dataset, count, fold_seed, cache)
        else:
            made = adopt(folds)
        made.of(dataset.train.ids)
        return cls(
            data, dataset, made, folds, fold_seed, preset, PRESETS[preset], seed, machine=Compute.choose(), cache=cache
        )

    @cached_property
    def references_m(self) -> dict[str, FloatArray]:
        """Simple baselines, out-of-fold, as (N, 18) metres in the order of the training samples."""
        train, targets_m = self.dataset.train, self.dataset.targets_m
        folds = self.folds.of(train.ids)
        straight_m = constant_velocity_waypoints(train.signals["vEgo"].to_numpy(np.float64))
        return {
            "constant_velocity": straight_m.reshape(targets_m.shape),
            "motion_model": MotionModel.predict_oof(train.signals, targets_m, train.scenes, folds),
            "median": in_fold_median(targets_m, folds),
        }

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters that give another step this context, where they differ from their defaults."""
        given = {
            "data": (self.data, DEMO),
            "preset": (self.preset_name, "quick"),
            "folds": (self.folds_given, None),
            "fold_seed": (str(self.fold_seed), "0"),
            "seed": (str(self.seed), "0"),
        }
        return {name: value for name, (value, default) in given.items() if value is not None and value != default}


def cached_folds(dataset: Dataset, count: int, seed: int, cache: Cache) -> Folds:
    """Return the folds of a dataset; they are made once, then read, so that a library upgrade does not change them."""
    train = dataset.train

    def fold_of_all() -> Folds:
        drives = np.array([dataset.twins.get(scene, scene) for scene in train.scenes.tolist()], dtype=np.str_)
        return Folds(train.ids, make_folds(train.ids, drives, train.signals, count, seed))

    key = f"{dataset.sha256}-{count}-{seed}{'-twins' if dataset.twins else ''}.parquet"
    return Folds.read(cache.get("folds", key, lambda path: fold_of_all().write(path)))
