"""Standardise columns; a constant column keeps its scale."""

import numpy as np

from atma18.schema import FloatArray

_ROUNDING = 1e-6  # of a column's largest value: float32 resolves no smaller variation


def mean_and_scale(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean and the scale of each column.

    Args:
        values: (N, F) finite.

    Returns:
        (F,) means, and (F,) standard deviations. The latter is 1 for a column that is constant up to rounding, so that
        a different value in other rows does not become huge.
    """
    deviation = values.std(axis=0)
    varies = deviation > _ROUNDING * np.abs(values).max(axis=0)
    return values.mean(axis=0), np.where(varies, deviation, 1.0)
