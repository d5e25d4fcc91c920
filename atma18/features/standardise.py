"""Standardising columns, where a column that does not vary is left alone."""

import numpy as np

from atma18.schema import FloatArray

_ROUNDING = 1e-6  # of a column's largest value: what varies less than float32 resolves is constant


def mean_and_scale(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return what to subtract from each column and what to divide it by.

    Args:
        values: (N, F) finite.

    Returns:
        (F,) means, and (F,) standard deviations: 1 where a column is constant up to rounding, so that another value,
        seen later, is not blown up.
    """
    deviation = values.std(axis=0)
    varies = deviation > _ROUNDING * np.abs(values).max(axis=0)
    return values.mean(axis=0), np.where(varies, deviation, 1.0)
