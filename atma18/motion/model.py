"""What `motion` predicts with: a motion model for each fold, fitted to the other folds' samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from atma18.geometry.kinematics import MotionModel
from atma18.schema import FloatArray, IntArray, Samples


@dataclass(frozen=True)
class MotionConfig:
    """The motion model leaves no choice."""


@dataclass(frozen=True)
class FittedMotion:
    """A motion model for each fold."""

    folds: tuple[MotionModel, ...]
    causal: bool = True
    needs: tuple[str, ...] = ()
    """It reads signals alone."""

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
            folds: (N,) the fold of each.
        """
        outside = [folds != k for k in range(int(folds.max()) + 1)]
        return cls(tuple(MotionModel.fit(samples.signals[rows], targets_m[rows]) for rows in outside))

    def predict(self, fold: int, samples: Samples, inputs: object, device: str) -> FloatArray:
        """Predict (N, 18) waypoints in metres, vehicle frame at t, from the signals at t."""
        return np.asarray(self.folds[fold].waypoints(samples.signals).reshape(len(samples), -1))

    def describe(self) -> dict[str, Any]:
        """Return nothing: its files say all."""
        return {}

    def save(self, folder: Path) -> None:
        """Write each fold's numbers as JSON."""
        for k, fold in enumerate(self.folds):
            fold.write(folder / _fold_file(k))

    @classmethod
    def load(cls, files: Mapping[str, Path]) -> Self:
        """Read what `save` wrote.

        Raises:
            KeyError: If a fold's file is missing.
        """
        return cls(tuple(MotionModel.read(files[_fold_file(k)]) for k in range(len(files))))


def _fold_file(k: int) -> str:
    return f"fold{k}.json"
