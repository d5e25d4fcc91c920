"""The checked features and targets that boosters are fitted on."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from atma18.schema import BoolArray, Float32Array, FloatArray, first_few, repeated

Features = pd.DataFrame | Float32Array
"""(N, F) numbers; NaN is a missing value. Columns without names are called f0, f1, …"""


@dataclass(frozen=True)
class Table:
    """Checked features and targets of one split."""

    names: tuple[str, ...]
    """(F,) names of the features."""
    features: Float32Array
    """(N, F)"""
    targets: FloatArray
    """(N, T)"""
    held_out: BoolArray | None
    """(N,) True at rows that determine the number of rounds only."""

    @classmethod
    def checked(cls, features: Features, targets: FloatArray, held_out: BoolArray | None) -> Self:
        """Refuse shapes that disagree, infinite numbers, missing targets, and a `held_out` of no row or all rows."""
        require(features.ndim == 2, "features (N, F)", features.shape)
        n = len(features)
        require(targets.ndim == 2 and len(targets) == n, f"{n} rows of targets", targets.shape)
        require(bool(np.isfinite(targets).all()), "finite targets", f"{(~np.isfinite(targets)).sum()} others")
        if held_out is not None:
            require(held_out.shape == (n,) and held_out.dtype == bool, f"{n} booleans in held_out", held_out.shape)
            require(0 < held_out.sum() < n, "rows on both sides of held_out", f"{held_out.sum()} of {n}")
        unnamed = [f"f{i}" for i in range(features.shape[1])]
        names = tuple(map(str, features.columns if isinstance(features, pd.DataFrame) else unnamed))
        require(len(set(names)) == len(names), "each feature once", f"repeated {first_few(repeated(names))}")
        return cls(names, numbers(features, names), targets, held_out)

    @property
    def fitted(self) -> BoolArray:
        """(N,) True at rows that determine splits and leaves."""
        return np.ones(len(self.features), dtype=bool) if self.held_out is None else ~self.held_out


def numbers(features: Features, names: tuple[str, ...]) -> Float32Array:
    """Return (N, F) contiguous numbers; refuse infinity and name the features that contain it."""
    values = np.ascontiguousarray(features, dtype=np.float32)
    if np.isinf(values).any():
        found = [name for name, column in zip(names, values.T, strict=True) if np.isinf(column).any()]
        raise ValueError(f"expected features that are finite or NaN, found infinity in {first_few(found)}")
    return values


def require(valid: bool, expected: str, found: object) -> None:
    """Raise a ValueError that names what was expected and found, unless `valid` is true."""
    if not valid:
        raise ValueError(f"expected {expected}, found {found}")
