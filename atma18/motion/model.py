"""The model of `motion`: one motion model per fold, fitted to the samples outside the fold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from atma18.geometry.kinematics import MotionModel
from atma18.schema import FloatArray, IntArray, Samples


@dataclass(frozen=True)
class MotionConfig:
    """The configuration of `motion`, which has no options."""


@dataclass(frozen=True)
class FittedMotion:
    """One motion model per fold."""

    folds: tuple[MotionModel, ...]
    causal: bool = True
    needs: tuple[str, ...] = ()
    """The upstreams that it reads: none, only signals."""

    @property
    def count(self) -> int:
        """The number of folds."""
        return len(self.folds)

    @classmethod
    def fit(cls, samples: Samples, targets_m: FloatArray, folds: IntArray) -> Self:
        """Fit one motion model per fold to the samples outside it.

        Args:
            samples: N samples.
            targets_m: (N, 18) metres, vehicle frame at t.
            folds: (N,) the fold of each sample.
        """
        outside = [folds != k for k in range(int(folds.max()) + 1)]
        parts = [(samples.signals[rows], targets_m[rows], samples.scenes[rows]) for rows in outside]
        return cls(tuple(MotionModel.fit(*part) for part in parts))

    def predict(self, fold: int, samples: Samples, inputs: object, device: str) -> FloatArray:
        """Predict (N, 18) waypoints in metres, vehicle frame at t, from the signals at t."""
        return np.asarray(self.folds[fold].waypoints_of(samples).reshape(len(samples), -1))

    def describe(self) -> dict[str, Any]:
        """Return an empty dict: the files contain everything."""
        return {}

    def save(self, folder: Path) -> None:
        """Write each fold's parameters as JSON."""
        for k, fold in enumerate(self.folds):
            fold.write(folder / _fold_file(k))

    @classmethod
    def load(cls, files: Mapping[str, Path]) -> Self:
        """Read the models that `save` wrote.

        Raises:
            KeyError: If a fold's file is missing.
        """
        return cls(tuple(MotionModel.read(files[_fold_file(k)]) for k in range(len(files))))


def _fold_file(k: int) -> str:
    return f"fold{k}.json"
