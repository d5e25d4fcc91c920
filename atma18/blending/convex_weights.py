"""Convex weights of a few predictions: with the smallest MAE and a proof, by Nelder–Mead, or equal weights.

The MAE of a weighted mean is convex in the weights. Any signs s in [-1, 1], one per number, prove a lower bound:
mean|r(w)| >= mean(s r(w)) >= min over inputs k of mean(s (p_k - y)), because the weights sum to 1. At the optimum, the
signs of the residuals r reach this bound, except for the few numbers with a residual of 0. So almost all signs are
known near the optimum, and a small linear programme finds the others, as in Portnoy and Koenker (The Gaussian Hare and
the Laplacian Tortoise, Statistical Science 12(4), 1997). Newton steps on a smooth loss find a point near the optimum.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.optimize import linprog, minimize, nnls

from atma18.config import BlendConfig
from atma18.schema import FloatArray, IntArray

_TOLERANCE = 1e-7
_NOTHING_M = 1e-9
"""One nanometre: errors and gaps below it count as 0."""
_OPEN_SIGNS, _OPEN_SIGNS_PER_INPUT = 1000, 125
"""The number of signs that the linear programme finds at first, those of the residuals nearest to 0: a minimum, and a
number per input, because more inputs leave more signs open."""
_ROUNDS = 5
_SAMPLE_ROWS = 1200
_MANY = 100_000
_EVERY = 37
"""Every 37th of many numbers is used to estimate their size; 37 has no common divisor with the 18 targets."""
_STILL = 0.03
"""Newton steps end when no weight moves by more than this share of the width."""
_SCALE = 1e6
"""HiGHS uses absolute tolerances, so slopes are scaled by this factor relative to the MAE."""


@dataclass(frozen=True)
class Weights:
    """Convex weights, their error, and a lower bound of the error of any convex weights."""

    values: FloatArray
    """(M,) at least 0, summing to 1."""
    mae_m: float
    """Mean absolute error over all numbers, metres."""
    bound_m: float
    """Proven lower bound of the MAE of any convex weights, metres."""

    @property
    def gap(self) -> float:
        """The largest possible distance to the smallest error, as a share of the error."""
        return 0.0 if self.mae_m - self.bound_m <= _NOTHING_M else 1.0 - self.bound_m / self.mae_m

    @property
    def proven(self) -> bool:
        """Whether the error is proven to be the smallest, to seven digits."""
        return self.gap <= _TOLERANCE

    def improved(self, other: Self) -> Self:
        """Return the better weights with the better bound."""
        better = other if other.mae_m < self.mae_m else self
        return replace(better, bound_m=max(self.bound_m, other.bound_m))


def fit_weights(stack_m: FloatArray, targets_m: FloatArray, config: BlendConfig) -> Weights:
    """Fit convex weights by the configured method; the result has a proven bound with every method.

    Args:
        stack_m: (M, N, 18) metres.
        targets_m: (N, 18) metres.
        config: the method.

    Raises:
        ValueError: If there are no rows, shapes disagree, or a number is not finite.
    """
    check_stack(stack_m, n_inputs=len(stack_m), n_rows=len(targets_m))
    check_targets(targets_m, stack_m)
    if targets_m.size == 0:
        raise ValueError("expected rows to fit weights on, found none")
    optimum = exact(stack_m, targets_m)
    match config.method:
        case "exact":
            return optimum
        case "nelder-mead":
            values = nelder_mead(stack_m, targets_m, config.max_iterations)
        case "equal":
            values = _equal(len(stack_m))
    return Weights(values, _mae_m(values, *_flat(stack_m, targets_m)), optimum.bound_m)


def exact(stack_m: FloatArray, targets_m: FloatArray) -> Weights:
    """Find the convex weights with the smallest MAE over all numbers, with a proof.

    If several weights are optimal, every call returns the same ones.

    Args:
        stack_m: (M, N, 18) metres, finite, N at least 1.
        targets_m: (N, 18) metres, finite.
    """
    flat_m, truth_m = _flat(stack_m, targets_m)
    start, width_m = _equal(len(flat_m)), 0.0
    if truth_m.size > _open_signs(flat_m):
        stride = max(1, len(targets_m) // _SAMPLE_ROWS)
        sample = _flat(stack_m[:, ::stride], targets_m[::stride])
        start, _ = _approach(*sample, start, _width_m(start, *sample, share=0.05), steps=10)
        every = _EVERY if truth_m.size > _MANY else 1
        width_m = _width_m(start, flat_m[:, ::every], truth_m[::every], share=0.01)
        start, _ = _approach(flat_m, truth_m, start, width_m, steps=3)
    found = _settle(flat_m, truth_m, start)
    # If many residuals are 0 at once, a small programme cannot find their signs: approach the optimum further.
    while not found.proven and width_m > _NOTHING_M:
        width_m /= 4
        start, bound_m = _approach(flat_m, truth_m, start, width_m, steps=20)
        found = found.improved(Weights(start, _mae_m(start, flat_m, truth_m), bound_m))
        found = found.improved(_settle(flat_m, truth_m, start))
    return found


def nelder_mead(stack_m: FloatArray, targets_m: FloatArray, max_iterations: int) -> FloatArray:
    """Search (M,) convex weights with a small MAE by Nelder–Mead from equal weights, as the published solution does."""
    flat_m, truth_m = _flat(stack_m, targets_m)
    start = _equal(len(flat_m))
    options = {"maxiter": max_iterations}
    found = minimize(lambda raw: _mae_m(convex(raw), flat_m, truth_m), start, method="Nelder-Mead", options=options)
    return convex(found.x)


def convex(raw: FloatArray) -> FloatArray:
    """Clip (M,) numbers at 0 and scale them to sum to 1; if none is above 0, return equal weights."""
    clipped = np.maximum(raw, 0.0)
    total = clipped.sum()
    return np.asarray(clipped / total if total > 0 else _equal(len(raw)))


def check_stack(stack_m: FloatArray, *, n_inputs: int, n_rows: int) -> None:
    """Refuse a stack that is not (M, N, 18) finite numbers of M inputs and N rows."""
    if stack_m.ndim != 3 or stack_m.shape[:2] != (n_inputs, n_rows) or n_inputs == 0:
        raise ValueError(f"expected a stack of {n_inputs} inputs and {n_rows} rows, found {stack_m.shape}")
    if not np.isfinite(stack_m).all():
        raise ValueError(f"expected finite predictions, found {(~np.isfinite(stack_m)).sum()} others in the stack")


def check_targets(targets_m: FloatArray, stack_m: FloatArray) -> None:
    """Refuse targets that are not finite or do not have the shape of the stack."""
    expected, strange = stack_m.shape[1:], int((~np.isfinite(targets_m)).sum())
    if targets_m.shape != expected or strange:
        raise ValueError(f"expected finite targets {expected}, found {targets_m.shape} with {strange} others")


def _settle(flat_m: FloatArray, truth_m: FloatArray, near: FloatArray) -> Weights:
    """Fix the signs of all but the smallest residuals at (M,) weights, and solve for the others.

    A fixed sign that the solution contradicts becomes open, and the programme is solved again.
    """
    residuals_m = _residuals_m(near, flat_m, truth_m)
    signs = np.sign(residuals_m)
    sizes_m = np.abs(residuals_m, out=residuals_m)
    found = Weights(near, float(sizes_m.mean()), 0.0)
    most = _open_signs(flat_m)
    wrong = _smallest(sizes_m, most)
    undecided = np.empty(0, dtype=np.int64)
    for _ in range(_ROUNDS):
        undecided = np.concatenate([undecided, wrong])
        signs[undecided] = 0.0
        solved = _solve(flat_m, truth_m, signs, undecided, found.mae_m)
        if solved is None:
            break
        values, signs[undecided] = solved
        residuals_m = _residuals_m(values, flat_m, truth_m)
        wrong = np.flatnonzero(residuals_m * signs < 0)
        wrong = wrong[~np.isin(wrong, undecided)]
        mae_m = float(np.abs(residuals_m, out=residuals_m).mean())
        found = found.improved(Weights(values, mae_m, _bound_m(signs, flat_m, truth_m)))
        if not 0 < len(wrong) <= most:
            break
    return found


def _solve(
    flat_m: FloatArray, truth_m: FloatArray, signs: FloatArray, undecided: IntArray, mae_m: float
) -> tuple[FloatArray, FloatArray] | None:
    """Return the best (M,) weights if all signs but U are fixed, and the U signs, which are 0 in `signs`."""
    scale = _SCALE / (max(mae_m, _NOTHING_M) * truth_m.size)
    deviations = (flat_m[:, undecided] - truth_m[undecided]) * scale  # (M, U)
    # The dual: the largest t with slopes + deviations s >= t for each input, -1 <= s <= 1.
    solved = linprog(
        np.r_[np.zeros(len(undecided)), -1.0],
        A_ub=np.hstack([-deviations, np.ones((len(flat_m), 1))]),
        b_ub=_slopes(signs, flat_m, truth_m) * scale,
        bounds=[(-1.0, 1.0)] * len(undecided) + [(None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solved.x is None:
        return None
    return convex(-solved.ineqlin.marginals), np.clip(solved.x[:-1], -1.0, 1.0)


def _approach(
    flat_m: FloatArray, truth_m: FloatArray, start: FloatArray, width_m: float, steps: int
) -> tuple[FloatArray, float]:
    """Take Newton steps on the Huber loss of a width; return (M,) weights and the best bound of all steps."""
    weights, best, best_loss, bound_m = start, start, float("inf"), 0.0
    for _ in range(steps):
        residuals_m = _residuals_m(weights, flat_m, truth_m)
        signs = np.clip(residuals_m / width_m, -1.0, 1.0)
        loss = float(signs @ residuals_m - width_m / 2 * (signs @ signs))
        if loss > best_loss:  # the step was too large
            weights = (best + weights) / 2
            continue
        best, best_loss = weights, loss
        slopes = _slopes(signs, flat_m, truth_m)
        bound_m = max(bound_m, float(slopes.min()) / truth_m.size)
        small = np.flatnonzero(np.abs(residuals_m, out=residuals_m) <= width_m)
        deviations = flat_m[:, small] - truth_m[small]
        weights = _step(weights, slopes, deviations @ deviations.T / width_m)
        if np.abs(weights - best).max() < _STILL * width_m:
            break
    return weights, bound_m


def _width_m(weights: FloatArray, flat_m: FloatArray, truth_m: FloatArray, share: float) -> float:
    """Return twice the quantile `share` of the residuals' sizes, with a small positive minimum."""
    sizes_m = np.abs(_residuals_m(weights, flat_m, truth_m))
    smallest = sizes_m[_smallest(sizes_m, round(share * truth_m.size))]
    return float(max(2 * smallest.max(), sizes_m.mean() / 50, _NOTHING_M))


def _step(weights: FloatArray, slope: FloatArray, curvature: FloatArray) -> FloatArray:
    """Minimise a quadratic (M, M) model around convex weights over all convex weights.

    It is solved as non-negative least squares; a row with a large weight keeps the sum at 1 (Lawson, Hanson, Solving
    Least Squares Problems, ch. 22).
    """
    scale = np.sqrt(np.diag(curvature))
    if not (scale > 0).all():
        return weights
    # In v = scale w the model is |root v - target|^2 / 2, root' root = curvature / (scale scale').
    root = np.linalg.cholesky(curvature / np.outer(scale, scale) + 1e-10 * np.eye(len(scale))).T
    target = root @ (weights * scale) - np.linalg.solve(root.T, slope / scale)
    heavy = 1e4 * scale.mean()
    try:
        found, _ = nnls(np.vstack([root, heavy / scale]), np.r_[target, heavy])
    except RuntimeError:  # too many iterations
        return weights
    return convex(found / scale)


def _open_signs(flat_m: FloatArray) -> int:
    return max(_OPEN_SIGNS, _OPEN_SIGNS_PER_INPUT * len(flat_m))


def _flat(stack_m: FloatArray, targets_m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return (M, n) predictions and (n,) true values, one column per number."""
    return stack_m.reshape(len(stack_m), -1), targets_m.reshape(-1)


def _slopes(signs: FloatArray, flat_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return the (M,) sums of signs times deviations: the gradient of the sum of errors with respect to the weights."""
    return np.asarray(flat_m @ signs - truth_m @ signs)


def _smallest(sizes: FloatArray, count: int) -> IntArray:
    """Return the indices of the `count` smallest numbers."""
    if count >= len(sizes):
        return np.arange(len(sizes))
    near = np.arange(len(sizes))
    if len(sizes) > _MANY:  # a bound estimated from a sample excludes most of them
        sample = sizes[::_EVERY]
        bound = np.partition(sample, (place := min(len(sample) - 1, 2 * count // _EVERY)))[place]
        found = np.flatnonzero(sizes <= bound)
        near = found if len(found) >= count else near
    return near[np.argpartition(sizes[near], count - 1)[:count]]


def _residuals_m(weights: FloatArray, flat_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    residuals_m = weights @ flat_m
    residuals_m -= truth_m
    return residuals_m


def _mae_m(weights: FloatArray, flat_m: FloatArray, truth_m: FloatArray) -> float:
    residuals_m = _residuals_m(weights, flat_m, truth_m)
    return float(np.abs(residuals_m, out=residuals_m).mean())


def _bound_m(signs: FloatArray, flat_m: FloatArray, truth_m: FloatArray) -> float:
    """Return the lower bound that signs prove, in float64; it holds for any signs."""
    return float(_slopes(signs, flat_m, truth_m).min() / truth_m.size)


def _equal(count: int) -> FloatArray:
    return np.full(count, 1.0 / count)
