"""Convex weights with what is known of their error, and the pull that may act on them."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from atma18.schema import FloatArray

_TOLERANCE = 1e-7
NOTHING_M = 1e-9
"""One nanometre: errors and gaps below it count as 0."""


@dataclass(frozen=True)
class Weights:
    """Convex weights, their error, and a lower bound of the objective, which is the error if nothing pulls."""

    values: FloatArray
    """(M,) at least 0, summing to 1."""
    mae_m: float
    """Mean absolute error over all numbers, metres."""
    bound_m: float
    """Proven lower bound of the objective of any convex weights, metres."""
    pull_m: float = 0.0
    """What the pull adds to the error, metres."""
    strength: float = 0.0
    """The strength of the pull."""

    @property
    def objective_m(self) -> float:
        """The error plus the pull, metres."""
        return self.mae_m + self.pull_m

    @property
    def gap(self) -> float:
        """The largest possible distance to the smallest objective, as a share of the objective."""
        return 0.0 if self.objective_m - self.bound_m <= NOTHING_M else 1.0 - self.bound_m / self.objective_m

    @property
    def proven(self) -> bool:
        """Whether the objective is proven to be the smallest, to seven digits."""
        return self.gap <= _TOLERANCE

    def improved(self, other: Self) -> Self:
        """Return the better weights with the better bound."""
        better = other if other.objective_m < self.objective_m else self
        return replace(better, bound_m=max(self.bound_m, other.bound_m))


@dataclass(frozen=True)
class Pull:
    """A penalty on the distance between M weights and given weights: strength * sum of d_k |w_k - a_k|."""

    anchor: FloatArray
    """(M,) the given convex weights a."""
    distances_m: FloatArray
    """(M,) the penalty d of each input for one unit of weight, metres."""
    strength: float
    """0 is no penalty."""

    @classmethod
    def none(cls, count: int) -> Self:
        """Return a pull that does nothing."""
        return cls(np.full(count, 1.0 / count), np.zeros(count), 0.0)

    @property
    def slopes_m(self) -> FloatArray:
        """(M, M) for each input and each term, the term's value if the input has all weight, before the strength."""
        return np.asarray((np.eye(len(self.anchor)) - self.anchor) * self.distances_m)

    def terms_m(self, weights: FloatArray) -> FloatArray:
        """Return the (M,) signed terms d_k (w_k - a_k) at convex weights, before the strength."""
        return self.distances_m * (weights - self.anchor)

    def of(self, weights: FloatArray) -> float:
        """Return the penalty of convex weights, metres."""
        return self.strength * float(np.abs(self.terms_m(weights)).sum())
