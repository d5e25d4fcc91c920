"""Convex weights per scene-size group: what each input counts for in small and in large scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize

from atma18.presets import BlendConfig, Groups, check_groups
from atma18.schema import FloatArray, IntArray, first_few, repeated


@dataclass(frozen=True)
class Blend:
    """A weighted mean of M inputs, with one set of weights for each of G scene-size groups."""

    inputs: tuple[str, ...]
    """(M,) names, in the order of a stack."""
    groups: Groups
    """(G,) ascending, without gaps, from 1 to no bound."""
    weights: FloatArray
    """(G, M) at least 0, each row summing to 1."""

    def __post_init__(self) -> None:
        check_groups(self.groups)
        if again := repeated(self.inputs):
            raise ValueError(f"expected each input once, found repeated: {first_few(again)}")
        expected = (len(self.groups), len(self.inputs))
        if self.weights.shape != expected:
            raise ValueError(f"expected weights {expected}, found {self.weights.shape}")
        if not ((self.weights >= 0).all() and np.allclose(self.weights.sum(axis=1), 1.0, rtol=0, atol=1e-9)):
            raise ValueError(f"expected weights of at least 0 summing to 1, found {self.weights.tolist()}")

    @property
    def causal(self) -> bool:
        """Whether a sample's weights are the same however many samples of its scene are there."""
        return len(self.groups) == 1

    def apply(self, stack_m: FloatArray, scene_sizes: IntArray) -> FloatArray:
        """Blend each row with the weights of its group.

        Args:
            stack_m: (M, N, 18) metres, the inputs' predictions in the order of `inputs`.
            scene_sizes: (N,) samples in each row's scene.

        Returns:
            (N, 18) metres.

        Raises:
            ValueError: If shapes disagree, a prediction is not finite, or a scene size belongs to no group.
        """
        _check_stack(stack_m, n_inputs=len(self.inputs), n_rows=len(scene_sizes))
        weights = self.weights[group_of(scene_sizes, self.groups)]  # (N, M)
        # Input by input, in one order: a row is the same to the bit whatever rows stand next to it.
        blended_m = np.zeros(stack_m.shape[1:])
        for weight, values_m in zip(weights.T, stack_m, strict=True):
            blended_m += weight[:, None] * values_m
        return blended_m

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and strings."""
        groups = [list(group) for group in self.groups]
        return {"inputs": list(self.inputs), "groups": groups, "weights": self.weights.tolist()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If a key is missing or unknown, or a rule is broken.
        """
        if set(plain) != {"inputs", "groups", "weights"}:
            raise ValueError(f"expected the keys inputs, groups and weights, found {', '.join(sorted(plain))}")
        groups = tuple((smallest, largest) for smallest, largest in plain["groups"])
        return cls(tuple(plain["inputs"]), groups, np.array(plain["weights"], dtype=np.float64))


def group_of(scene_sizes: IntArray, groups: Groups) -> IntArray:
    """Return the (N,) index of the group that each of (N,) scene sizes belongs to.

    Raises:
        ValueError: If the groups are not ascending and gapless from 1 to no bound, or a size is below 1.
    """
    check_groups(groups)
    if (strange := scene_sizes[scene_sizes < 1]).size:
        raise ValueError(f"expected scene sizes of at least 1, found {first_few(np.unique(strange))}: in no group")
    firsts = np.array([smallest for smallest, _ in groups])
    return np.asarray(np.searchsorted(firsts, scene_sizes, side="right") - 1, dtype=np.int64)


def fit(
    stack_m: FloatArray, targets_m: FloatArray, scene_sizes: IntArray, config: BlendConfig, names: Sequence[str]
) -> Blend:
    """Fit the weights of each group; a group without rows gets those of all rows together.

    Args:
        stack_m: (M, N, 18) metres, out-of-fold predictions of the inputs.
        targets_m: (N, 18) metres.
        scene_sizes: (N,) samples in each row's scene.
        config: groups and optimiser.
        names: (M,) of the inputs.

    Returns:
        The blend. Its error on these same rows is optimistic; `cross_fit` gives an honest one.

    Raises:
        ValueError: If there are no rows, shapes disagree, or a number is not finite.
    """
    _check_stack(stack_m, n_inputs=len(names), n_rows=len(scene_sizes))
    _check_targets(targets_m, stack_m)
    group = group_of(scene_sizes, config.groups)
    rows = [np.flatnonzero(group == g) for g in range(len(config.groups))]
    everywhere = np.arange(len(scene_sizes))
    weights = [
        fit_weights(stack_m[:, part], targets_m[part], config) for part in (r if r.size else everywhere for r in rows)
    ]
    return Blend(tuple(names), config.groups, np.stack(weights))


def cross_fit(
    stack_m: FloatArray,
    targets_m: FloatArray,
    scene_sizes: IntArray,
    folds: IntArray,
    config: BlendConfig,
    names: Sequence[str],
) -> FloatArray:
    """Blend the rows of each fold with weights fitted on the other folds alone.

    Args:
        stack_m: (M, N, 18) metres, out-of-fold predictions of the inputs.
        targets_m: (N, 18) metres.
        scene_sizes: (N,) samples in each row's scene.
        folds: (N,) fold of each row; a scene is never in two.
        config: groups and optimiser.
        names: (M,) of the inputs.

    Returns:
        (N, 18) metres; no row has seen its own target.

    Raises:
        ValueError: If there is only one fold, or as in `fit`.
    """
    if folds.shape != scene_sizes.shape:
        raise ValueError(f"expected a fold for each of {len(scene_sizes)} rows, found {folds.shape}")
    present = np.unique(folds)
    if len(present) < 2:
        raise ValueError(f"expected at least 2 folds to cross-fit, found {len(present)}")
    blended_m = np.empty(targets_m.shape)
    for fold in present:
        inside, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        blend = fit(stack_m[:, others], targets_m[others], scene_sizes[others], config, names)
        blended_m[inside] = blend.apply(stack_m[:, inside], scene_sizes[inside])
    return blended_m


def fit_weights(stack_m: FloatArray, targets_m: FloatArray, config: BlendConfig) -> FloatArray:
    """Find convex weights with a small MAE over all numbers, by Nelder–Mead from equal weights.

    Args:
        stack_m: (M, N, 18) metres.
        targets_m: (N, 18) metres.
        config: the number of iterations.

    Returns:
        (M,) at least 0, summing to 1.

    Raises:
        ValueError: If there are no rows, shapes disagree, or a number is not finite.
    """
    _check_stack(stack_m, n_inputs=len(stack_m), n_rows=stack_m.shape[1])
    _check_targets(targets_m, stack_m)
    if targets_m.size == 0:
        raise ValueError("expected rows to fit weights on, found none")

    def mae_m(raw: FloatArray) -> float:
        return float(np.abs(np.tensordot(convex(raw), stack_m, axes=1) - targets_m).mean())

    equal = np.full(len(stack_m), 1.0 / len(stack_m))
    found = minimize(mae_m, equal, method="Nelder-Mead", options={"maxiter": config.max_iterations})
    return convex(found.x)


def convex(raw: FloatArray) -> FloatArray:
    """Clip (M,) numbers at 0 and scale them to sum to 1; if none is above 0, all count the same."""
    clipped = np.maximum(raw, 0.0)
    total = clipped.sum()
    return np.asarray(clipped / total if total > 0 else np.full(len(raw), 1.0 / len(raw)))


def _check_stack(stack_m: FloatArray, *, n_inputs: int, n_rows: int) -> None:
    if stack_m.ndim != 3 or stack_m.shape[:2] != (n_inputs, n_rows) or n_inputs == 0:
        raise ValueError(f"expected a stack of {n_inputs} inputs and {n_rows} rows, found {stack_m.shape}")
    if not np.isfinite(stack_m).all():
        raise ValueError(f"expected finite predictions, found {(~np.isfinite(stack_m)).sum()} others in the stack")


def _check_targets(targets_m: FloatArray, stack_m: FloatArray) -> None:
    expected, strange = stack_m.shape[1:], int((~np.isfinite(targets_m)).sum())
    if targets_m.shape != expected or strange:
        raise ValueError(f"expected finite targets {expected}, found {targets_m.shape} with {strange} others")
