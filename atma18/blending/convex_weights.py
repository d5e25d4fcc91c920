"""Convex weights with the smallest error, or with the smallest sum of error and pull to given weights, with a proof.

The MAE of a weighted mean is convex in the weights. Any signs s in [-1, 1], one per number, prove a lower bound:
mean|r(w)| >= mean(s r(w)) >= min over inputs k of mean(s (p_k - y)), because the weights sum to 1. At the optimum, the
signs of the residuals r reach this bound, except for the few numbers with a residual of 0. So almost all signs are
known near the optimum, and a small linear programme finds the others, as in Portnoy and Koenker (The Gaussian Hare and
the Laplacian Tortoise, Statistical Science 12(4), 1997). Newton steps on a smooth loss find a point near the optimum.

A pull adds strength * sum of d_k |w_k - a_k| to the MAE, for given weights a and distances d. These terms are residuals
like the others: they have a sign each, which the linear programme always finds, and the same proof holds.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.optimize import linprog, nnls

from atma18.blending.weights import NOTHING_M, Pull, Weights
from atma18.schema import FloatArray, IntArray

_OPEN_SIGNS, _OPEN_SIGNS_PER_INPUT = 1000, 125
"""The number of signs that the linear programme finds at first, those of the residuals nearest to 0: a minimum, and a
number per input, because more inputs leave more signs open."""
_MOST_OPEN_SIGNS = 16_000
"""What the linear programme solves in a second or two."""
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
class _Problem:
    """M predictions of n numbers, one column per number, and the pull on the weights."""

    flat_m: FloatArray
    """(M, n) predictions."""
    truth_m: FloatArray
    """(n,) true values."""
    pull: Pull

    @classmethod
    def of(cls, stack_m: FloatArray, targets_m: FloatArray, pull: Pull) -> Self:
        return cls(stack_m.reshape(len(stack_m), -1), targets_m.reshape(-1), pull)

    @property
    def open_signs(self) -> int:
        return max(_OPEN_SIGNS, _OPEN_SIGNS_PER_INPUT * len(self.flat_m))

    @property
    def size(self) -> int:
        return self.truth_m.size

    def thinned(self, stride: int) -> Self:
        return replace(self, flat_m=self.flat_m[:, ::stride], truth_m=self.truth_m[::stride])

    def residuals_m(self, weights: FloatArray) -> FloatArray:
        residuals_m = weights @ self.flat_m
        residuals_m -= self.truth_m
        return residuals_m

    def weighed(self, values: FloatArray, sizes_m: FloatArray, bound_m: float) -> Weights:
        """Return convex weights, given the (n,) sizes of their residuals and a bound."""
        return Weights(values, float(sizes_m.mean()), bound_m, self.pull.of(values), self.pull.strength)

    def slopes(self, signs: FloatArray, pulls: FloatArray) -> FloatArray:
        """Return the (M,) sums of signs times deviations: the gradient of n times the objective.

        Args:
            signs: (n,) of the residuals.
            pulls: (M,) signs of the terms of the pull.
        """
        of_pull = self.size * self.pull.strength * (self.pull.slopes_m @ pulls)
        return np.asarray(self.flat_m @ signs - self.truth_m @ signs + of_pull)

    def bound_m(self, signs: FloatArray, pulls: FloatArray) -> float:
        """Return the lower bound that signs prove; it holds for any signs from -1 to 1."""
        return float(self.slopes(signs, pulls).min() / self.size)


def exact(stack_m: FloatArray, targets_m: FloatArray, pull: Pull | None = None) -> Weights:
    """Find the convex weights with the smallest MAE over all numbers plus pull, with a proof.

    If several weights are optimal, every call with the same arguments returns the same ones.

    Args:
        stack_m: (M, N, 18) metres, finite, N at least 1; a part of the 18 targets is allowed.
        targets_m: (N, 18) metres, finite.
        pull: the penalty; none by default.
    """
    pull = Pull.none(len(stack_m)) if pull is None else pull
    problem = _Problem.of(stack_m, targets_m, pull)
    start, width_m = _equal(len(stack_m)), 0.0
    if problem.size > problem.open_signs:
        stride = max(1, len(targets_m) // _SAMPLE_ROWS)
        sample = _Problem.of(stack_m[:, ::stride], targets_m[::stride], pull)
        start, _ = _approach(sample, start, _width_m(sample, start, share=0.05), steps=10)
        width_m = _width_m(problem.thinned(_EVERY if problem.size > _MANY else 1), start, share=0.01)
        start, _ = _approach(problem, start, width_m, steps=3)
    open_signs = problem.open_signs
    found = _settle(problem, start, open_signs)
    # If many residuals are 0 at once, a small programme cannot find their signs: approach further, and open more signs.
    while not found.proven and width_m > NOTHING_M:
        width_m, open_signs = width_m / 4, min(2 * open_signs, _MOST_OPEN_SIGNS)
        start, bound_m = _approach(problem, start, width_m, steps=20)
        closer = problem.weighed(start, np.abs(problem.residuals_m(start)), bound_m)
        found = found.improved(closer).improved(_settle(problem, start, open_signs))
    return found


def approached(stack_m: FloatArray, targets_m: FloatArray, pull: Pull, near: FloatArray) -> FloatArray:
    """Return (M,) convex weights with an objective within 0.1 % of the least: without proof, in a quarter of the time.

    Args:
        stack_m: (M, N, 18) metres, finite, N at least 1; a part of the 18 targets is allowed.
        targets_m: (N, 18) metres, finite.
        pull: the penalty.
        near: (M,) convex weights near the optimum.
    """
    problem = _Problem.of(stack_m, targets_m, pull)
    if problem.size <= problem.open_signs:
        return exact(stack_m, targets_m, pull).values
    weights, width_m = near, _width_m(problem, near, share=0.002)
    for narrower in (1, 4, 16):
        weights, _ = _approach(problem, weights, width_m / narrower, steps=20)
    return weights


def convex(raw: FloatArray) -> FloatArray:
    """Clip (M,) numbers at 0 and scale them to sum to 1; if none is above 0, return equal weights."""
    clipped = np.maximum(raw, 0.0)
    total = clipped.sum()
    return np.asarray(clipped / total if total > 0 else _equal(len(raw)))


def _settle(problem: _Problem, near: FloatArray, open_signs: int) -> Weights:
    """Fix the signs of all but the `open_signs` smallest residuals at (M,) weights, and solve for the others.

    A fixed sign that the solution contradicts becomes open, and the programme is solved again.
    """
    residuals_m = problem.residuals_m(near)
    signs = np.sign(residuals_m)
    sizes_m = np.abs(residuals_m, out=residuals_m)
    found = problem.weighed(near, sizes_m, 0.0)
    wrong = _smallest(sizes_m, open_signs)
    undecided = np.empty(0, dtype=np.int64)
    for _ in range(_ROUNDS):
        undecided = np.concatenate([undecided, wrong])
        signs[undecided] = 0.0
        solved = _solve(problem, signs, undecided, found.mae_m)
        if solved is None:
            break
        values, signs[undecided], pulls = solved
        residuals_m = problem.residuals_m(values)
        wrong = np.flatnonzero(residuals_m * signs < 0)
        wrong = wrong[~np.isin(wrong, undecided)]
        sizes_m = np.abs(residuals_m, out=residuals_m)
        found = found.improved(problem.weighed(values, sizes_m, problem.bound_m(signs, pulls)))
        if not 0 < len(wrong) <= open_signs:
            break
    return found


def _solve(
    problem: _Problem, signs: FloatArray, undecided: IntArray, mae_m: float
) -> tuple[FloatArray, FloatArray, FloatArray] | None:
    """Return the best (M,) weights, the U undecided signs, which are 0 in `signs`, and the (M,) signs of the pull."""
    scale = _SCALE / (max(mae_m, NOTHING_M) * problem.size)
    of_pull = problem.size * problem.pull.strength * problem.pull.slopes_m
    deviations = np.hstack([problem.flat_m[:, undecided] - problem.truth_m[undecided], of_pull]) * scale  # (M, U + M)
    # The dual: the largest t with slopes + deviations s >= t for each input, -1 <= s <= 1.
    solved = linprog(
        np.r_[np.zeros(deviations.shape[1]), -1.0],
        A_ub=np.hstack([-deviations, np.ones((len(deviations), 1))]),
        b_ub=problem.slopes(signs, np.zeros(len(deviations))) * scale,
        bounds=[(-1.0, 1.0)] * deviations.shape[1] + [(None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solved.x is None:
        return None
    signs_and_pulls = np.clip(solved.x[:-1], -1.0, 1.0)
    return convex(-solved.ineqlin.marginals), signs_and_pulls[: len(undecided)], signs_and_pulls[len(undecided) :]


def _approach(problem: _Problem, start: FloatArray, width_m: float, steps: int) -> tuple[FloatArray, float]:
    """Take Newton steps on the Huber loss of a width; return (M,) weights and the best bound of all steps."""
    weights, best, best_loss, bound_m = start, start, float("inf"), 0.0
    often = problem.size * problem.pull.strength
    for _ in range(steps):
        residuals_m, terms_m = problem.residuals_m(weights), problem.pull.terms_m(weights)
        signs, pulls = np.clip(residuals_m / width_m, -1.0, 1.0), np.clip(terms_m / width_m, -1.0, 1.0)
        loss = float(signs @ residuals_m - width_m / 2 * (signs @ signs))
        loss += often * float(pulls @ terms_m - width_m / 2 * (pulls @ pulls))
        if loss > best_loss:  # the step was too large
            weights = (best + weights) / 2
            continue
        best, best_loss = weights, loss
        slopes = problem.slopes(signs, pulls)
        bound_m = max(bound_m, float(slopes.min()) / problem.size)
        small = np.flatnonzero(np.abs(residuals_m, out=residuals_m) <= width_m)
        deviations = problem.flat_m[:, small] - problem.truth_m[small]
        near = problem.pull.slopes_m[:, np.abs(terms_m) <= width_m]
        weights = _step(weights, slopes, (deviations @ deviations.T + often * (near @ near.T)) / width_m)
        if np.abs(weights - best).max() < _STILL * width_m:
            break
    return weights, bound_m


def _width_m(problem: _Problem, weights: FloatArray, share: float) -> float:
    """Return twice the quantile `share` of the residuals' sizes, with a small positive minimum."""
    sizes_m = np.abs(problem.residuals_m(weights))
    smallest = sizes_m[_smallest(sizes_m, round(share * problem.size))]
    return float(max(2 * smallest.max(), sizes_m.mean() / 50, NOTHING_M))


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


def _equal(count: int) -> FloatArray:
    return np.full(count, 1.0 / count)
