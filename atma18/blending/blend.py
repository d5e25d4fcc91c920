"""A blend: one set of convex weights per group of scene sizes, scored by cross-fitting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from atma18.blending.convex_weights import Weights, check_stack, check_targets, fit_weights
from atma18.config import BlendConfig
from atma18.config.groups import Groups, check_groups
from atma18.schema import FloatArray, IntArray, Samples, first_few, repeated

FEWEST_SAMPLES = 50
"""A group with fewer samples gets the weights of all samples, because its own would be unreliable."""


class Stacked(Protocol):
    """Upstream predictions of some samples."""

    def stacked(self, name: str, fold: int) -> FloatArray:
        """Return the (N, 18) predictions of the upstream's model of this fold, metres."""


@dataclass(frozen=True)
class Blend:
    """A weighted mean of M inputs, with one set of weights for each of G scene-size groups."""

    inputs: tuple[str, ...]
    """(M,) names, in the order of a stack."""
    groups: Groups
    """(G,) ranges of scene sizes, ascending, without gaps, from 1 to no bound."""
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
        """Whether a sample's weights do not depend on the number of samples in its scene."""
        return len(self.groups) == 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the upstreams that the blend reads."""
        return self.inputs

    @property
    def count(self) -> None:
        """None: one model serves all folds."""

    @property
    def labels(self) -> list[str]:
        """(G,) the scene sizes of each group as text: `1`, `1–2`, `3+`."""
        return [
            f"{first}+" if last is None else str(first) if first == last else f"{first}–{last}"
            for first, last in self.groups
        ]

    def __str__(self) -> str:
        shares = [", ".join(f"{n} {w:.0%}" for n, w in zip(self.inputs, row, strict=True)) for row in self.weights]
        if len(set(shares)) == 1:
            return f"{shares[0]} in scenes of any size"
        return "; ".join(f"scenes of {label}: {share}" for label, share in zip(self.labels, shares, strict=True))

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
        check_stack(stack_m, n_inputs=len(self.inputs), n_rows=len(scene_sizes))
        weights = self.weights[group_of(scene_sizes, self.groups)]  # (N, M)
        # Inputs are added in a fixed order, so that a row's result is bit-identical with any other rows beside it.
        blended_m = np.zeros(stack_m.shape[1:])
        for weight, values_m in zip(weights.T, stack_m, strict=True):
            blended_m += weight[:, None] * values_m
        return blended_m

    def predict(self, fold: int, samples: Samples, inputs: Stacked, device: str) -> FloatArray:
        """Blend the predictions of the upstreams' models of one fold: (N, 18) metres, vehicle frame at t."""
        return self.apply(np.stack([inputs.stacked(name, fold) for name in self.inputs]), samples.scene_sizes)

    def save(self, folder: Path) -> None:
        """Write nothing: `describe` returns the whole blend."""

    def describe(self) -> dict[str, Any]:
        """Return the whole blend as plain lists and strings."""
        groups = [list(group) for group in self.groups]
        return {"inputs": list(self.inputs), "groups": groups, "weights": self.weights.tolist()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Build a blend from the result of `describe`.

        Raises:
            ValueError: If a key is missing or unknown, or a rule is broken.
        """
        if set(plain) != {"inputs", "groups", "weights"}:
            raise ValueError(f"expected the keys inputs, groups and weights, found {', '.join(sorted(plain))}")
        groups = tuple((smallest, largest) for smallest, largest in plain["groups"])
        return cls(tuple(plain["inputs"]), groups, np.array(plain["weights"], dtype=np.float64))


def group_of(scene_sizes: IntArray, groups: Groups) -> IntArray:
    """Return the (N,) index of the group of each scene size.

    Raises:
        ValueError: If the groups are not ascending and gapless from 1 to no bound, or a size is below 1.
    """
    check_groups(groups)
    if (strange := scene_sizes[scene_sizes < 1]).size:
        raise ValueError(f"expected scene sizes of at least 1, found {first_few(np.unique(strange))}: in no group")
    firsts = np.array([smallest for smallest, _ in groups])
    return np.asarray(np.searchsorted(firsts, scene_sizes, side="right") - 1, dtype=np.int64)


@dataclass(frozen=True)
class Fitted:
    """A blend, with the error of each group on its training rows and the proven bound."""

    blend: Blend
    parts: tuple[Weights, ...]
    """(G,) each group's weights, with their error on the rows that they were fitted to."""
    samples: tuple[int, ...]
    """(G,) number of rows of each group."""

    @property
    def borrowed(self) -> tuple[bool, ...]:
        """(G,) whether a group has too few rows and got the weights of all rows."""
        return tuple(count < FEWEST_SAMPLES for count in self.samples)


def fit(
    stack_m: FloatArray,
    targets_m: FloatArray,
    scene_sizes: IntArray,
    config: BlendConfig,
    names: Sequence[str],
) -> Fitted:
    """Fit the weights of each group; a group with fewer than `FEWEST_SAMPLES` rows gets the weights of all rows.

    Args:
        stack_m: (M, N, 18) metres, out-of-fold predictions of the inputs.
        targets_m: (N, 18) metres.
        scene_sizes: (N,) samples in each row's scene.
        config: groups and method.
        names: (M,) of the inputs.

    Returns:
        The blend. Its error on these rows is optimistic; that of `cross_fit` is not.

    Raises:
        ValueError: If there are no rows, shapes disagree, or a number is not finite.
    """
    check_stack(stack_m, n_inputs=len(names), n_rows=len(scene_sizes))
    check_targets(targets_m, stack_m)
    group = group_of(scene_sizes, config.groups)
    rows = [np.flatnonzero(group == g) for g in range(len(config.groups))]
    samples = tuple(map(len, rows))

    def of_rows(part: IntArray) -> Weights:
        return fit_weights(stack_m[:, part], targets_m[part], config)

    whole = of_rows(np.arange(len(scene_sizes))) if min(samples) < FEWEST_SAMPLES else None
    parts = tuple(whole if whole is not None and len(part) < FEWEST_SAMPLES else of_rows(part) for part in rows)
    return Fitted(Blend(tuple(names), config.groups, np.stack([part.values for part in parts])), parts, samples)


def cross_fit(
    stack_m: FloatArray,
    targets_m: FloatArray,
    scene_sizes: IntArray,
    folds: IntArray,
    config: BlendConfig,
    names: Sequence[str],
) -> FloatArray:
    """Blend the rows of each fold with weights fitted only on the other folds.

    Args:
        stack_m: (M, N, 18) metres, out-of-fold predictions of the inputs.
        targets_m: (N, 18) metres.
        scene_sizes: (N,) samples in each row's scene.
        folds: (N,) fold of each row; a scene is never in two folds.
        config: groups and method.
        names: (M,) of the inputs.

    Returns:
        (N, 18) metres; the weights of a row never depend on its own target.

    Raises:
        ValueError: If there is only one fold, and in the cases of `fit`.
    """
    if folds.shape != scene_sizes.shape:
        raise ValueError(f"expected a fold for each of {len(scene_sizes)} rows, found {folds.shape}")
    present = np.unique(folds)
    if len(present) < 2:
        raise ValueError(f"expected at least 2 folds to cross-fit, found {len(present)}")
    blended_m = np.empty(targets_m.shape)
    for fold in present:
        inside, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        blend = fit(stack_m[:, others], targets_m[others], scene_sizes[others], config, names).blend
        blended_m[inside] = blend.apply(stack_m[:, inside], scene_sizes[inside])
    return blended_m
