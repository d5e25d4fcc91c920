"""Convex weights that few scenes cannot move far: the smallest error, pulled to weights that follow from single errors.

Where scenes are few, the weights with the smallest error follow the accidents of these scenes. Weights that are a
falling function of each input's own error hardly do: a power of the error, as in Bates and Granger (The Combination of
Forecasts, Operational Research Quarterly 20(4), 1969) and Timmermann (Forecast Combinations, Handbook of Economic
Forecasting 1, 2006, section 4). An input that is worse than the best one beyond chance has no share in them, as in
Samuels and Sekkel (Model Confidence Sets and Forecast Combination, International Journal of Forecasting 33(1), 2017).
The pull to them is an L1 penalty, as in Diebold and Shin (Machine Learning for Regularized Survey Forecast Combination,
International Journal of Forecasting 35(4), 2019).

The strength of the pull is chosen by cross-validation over whole scenes: the largest whose error is within one standard
error of the smallest (Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984, section 3.4.3).
"""

from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from atma18.blending.convex_weights import approached, exact
from atma18.blending.weights import Pull, Weights
from atma18.schema import BoolArray, FloatArray, IntArray, StrArray

STRENGTHS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
"""0 leaves the weights with the smallest error; 1 leaves the anchor, because no error can fall faster than the pull
grows."""
POWER = 10
"""The anchor's weights are proportional to 1 / error**POWER. Of 6, 8, 10, 12 and 16, 10 lost least to the best input on
simulated draws; correlated errors need more than the 2 of independent ones."""
CONFIDENCE = 0.95
"""An input has no share in the anchor if this interval of its difference to the best one, over scenes, lies above 0."""
PARTS = 10
"""Parts of the cross-validation, as in Breiman et al., or one per scene if there are fewer."""
_MOST_ROWS = 4000
"""Inside the cross-validation, weights are fitted to every n-th row, at most so many; errors are those of all rows."""


def shrunk(stack_m: FloatArray, targets_m: FloatArray, scenes: StrArray) -> Weights:
    """Fit convex weights with a pull to the anchor, whose strength is chosen by cross-validation over scenes.

    Args:
        stack_m: (M, N, 18) metres, finite, N at least 1; a part of the 18 targets is allowed.
        targets_m: (N, 18) metres, finite.
        scenes: (N,) the scene of each row.

    Returns:
        Weights with the smallest sum of error and pull, and the proof. Of a single scene, the anchor.
    """
    if len(stack_m) == 1:
        return exact(stack_m, targets_m)
    return exact(stack_m, targets_m, pull_of(stack_m, targets_m, scenes, _strength(stack_m, targets_m, scenes)))


def pull_of(stack_m: FloatArray, targets_m: FloatArray, scenes: StrArray, strength: float = 1.0) -> Pull:
    """Return the pull to the anchor; the penalty of an input is its mean distance to the anchor's prediction."""
    anchor = anchor_of(np.abs(stack_m - targets_m).mean(axis=2), scenes)
    distances_m = np.abs(stack_m - np.tensordot(anchor, stack_m, axes=1)).mean(axis=(1, 2))
    return Pull(anchor, distances_m, strength)


def anchor_of(errors_m: FloatArray, scenes: StrArray) -> FloatArray:
    """Return (M,) convex weights proportional to 1 / error**POWER, of the inputs that may be the best.

    An input is left out if Student's interval of its difference to the smallest error, over scenes, lies above 0; of
    a single scene none is. Inputs without error share all weight.

    Args:
        errors_m: (M, N) error of each row.
        scenes: (N,) the scene of each row.
    """
    mean_m = errors_m.mean(axis=1)
    least_m = mean_m.min()
    shares = np.where(mean_m > least_m, least_m / np.where(mean_m > least_m, mean_m, 1.0), 1.0) ** POWER
    others = len(np.unique(scenes)) - 1
    if others:
        shares *= _within(errors_m, scenes, standard_errors=stdtrit(others, (1 + CONFIDENCE) / 2))
    return np.asarray(shares / shares.sum())


def largest_within_one_error(errors_m: FloatArray, scenes: StrArray) -> int:
    """Return the index of the largest strength whose error is within one standard error of the smallest.

    The standard error is that of the difference to the smallest error, over whole scenes: two strengths err in the
    same scenes, so that the difference is known better than either error.

    Args:
        errors_m: (L, N) mean error of each row, by ascending strength.
        scenes: (N,) the scene of each row.
    """
    return int(np.flatnonzero(_within(errors_m, scenes, standard_errors=1.0)).max())


def _within(errors_m: FloatArray, scenes: StrArray, standard_errors: float) -> BoolArray:
    """Return of (L, N) errors which means are within so many standard errors, of the difference, of the smallest."""
    worse_m = errors_m - errors_m[np.argmin(errors_m.mean(axis=1))]
    mean_m = worse_m.mean(axis=1)
    return np.asarray(mean_m <= standard_errors * _standard_errors(worse_m - mean_m[:, None], scenes))


def _standard_errors(centred_m: FloatArray, scenes: StrArray) -> FloatArray:
    """Return the (L,) standard errors of the means of (L, N) rows, correlated within a scene; of two scenes or more."""
    _, scene, counts = np.unique(scenes, return_inverse=True, return_counts=True)
    sums_m = np.array([np.bincount(scene, weights=row) for row in centred_m])  # (L, S)
    few = len(counts) / (len(counts) - 1)
    return np.asarray(np.sqrt(few * (sums_m**2).sum(axis=1)) / len(scenes))


def _strength(stack_m: FloatArray, targets_m: FloatArray, scenes: StrArray) -> float:
    """Choose the strength; of a single scene, the largest."""
    part = parts_of(scenes)
    if part.max() == 0:
        return STRENGTHS[-1]
    errors_m = np.empty((len(STRENGTHS), len(scenes)))
    for p in range(part.max() + 1):
        inside, others = np.flatnonzero(part == p), np.flatnonzero(part != p)
        others = others[:: -(-len(others) // _MOST_ROWS)]
        for row_m, values in zip(errors_m, _path(stack_m[:, others], targets_m[others], scenes[others]), strict=True):
            blended_m = np.tensordot(values, stack_m[:, inside], axes=1)
            row_m[inside] = np.abs(blended_m - targets_m[inside]).mean(axis=1)
    return STRENGTHS[largest_within_one_error(errors_m, scenes)]


def _path(stack_m: FloatArray, targets_m: FloatArray, scenes: StrArray) -> list[FloatArray]:
    """Return (M,) weights for each strength, close to the best ones; each is the start of the next."""
    pull = pull_of(stack_m, targets_m, scenes)
    found = [exact(stack_m, targets_m).values]
    for strength in STRENGTHS[1:]:
        found.append(approached(stack_m, targets_m, replace(pull, strength=strength), found[-1]))
    return found


def parts_of(scenes: StrArray) -> IntArray:
    """Return the (N,) part of each row: whole scenes, sorted by number of rows and name, are dealt one by one."""
    names, scene, counts = np.unique(scenes, return_inverse=True, return_counts=True)
    part = np.empty(len(names), dtype=np.int64)
    part[np.lexsort((names, counts))] = np.arange(len(names)) % PARTS
    return np.asarray(part[scene])
