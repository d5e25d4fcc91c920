"""A blend: convex weights for each group of scene sizes, for all axes together or for each axis."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from atma18.blending.methods import check_stack
from atma18.config.groups import Groups, check_groups
from atma18.schema import AXES, TARGETS, FloatArray, IntArray, Samples, first_few, repeated


class Stacked(Protocol):
    """Upstream predictions of some samples."""

    def stacked(self, name: str, fold: int) -> FloatArray:
        """Return the (N, 18) predictions of the upstream's model of this fold, metres."""


@dataclass(frozen=True)
class Blend:
    """A weighted mean of M inputs, with weights for each of G scene-size groups, or for each group and axis."""

    inputs: tuple[str, ...]
    """(M,) names, in the order of a stack."""
    groups: Groups
    """(G,) ranges of scene sizes, ascending, without gaps, from 1 to no bound."""
    weights: FloatArray
    """(G, M) for all axes together or (G, 3, M) for x, y and z: at least 0, summing to 1 over the inputs."""

    def __post_init__(self) -> None:
        check_groups(self.groups)
        if again := repeated(self.inputs):
            raise ValueError(f"expected each input once, found repeated: {first_few(again)}")
        together = (len(self.groups), len(self.inputs))
        by_axis = (len(self.groups), len(AXES), len(self.inputs))
        if self.weights.shape not in (together, by_axis):
            raise ValueError(f"expected weights {together} or {by_axis}, found {self.weights.shape}")
        if not ((self.weights >= 0).all() and np.allclose(self.weights.sum(axis=-1), 1.0, rtol=0, atol=1e-9)):
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
    def axes(self) -> tuple[str, ...]:
        """(A,) the axes that have weights of their own: x, y and z, or none."""
        return () if self.weights.ndim == 2 else AXES

    @property
    def labels(self) -> list[str]:
        """(G,) the scene sizes of each group as text: `1`, `1–2`, `3+`."""
        return [
            f"{first}+" if last is None else str(first) if first == last else f"{first}–{last}"
            for first, last in self.groups
        ]

    @property
    def row_labels(self) -> list[str]:
        """(G,) or (G * 3,) the labels of each set of weights: the group, and the axis if it has weights of its own."""
        return [f"{label}, {axis}" for label in self.labels for axis in self.axes] if self.axes else self.labels

    def __str__(self) -> str:
        shares = [self._shares(of_group) for of_group in self.weights]
        if len(set(shares)) == 1:
            return f"{shares[0]} in scenes of any size"
        return "; ".join(f"scenes of {label}: {share}" for label, share in zip(self.labels, shares, strict=True))

    def _shares(self, weights: FloatArray) -> str:
        """Return (M,) or (3, M) weights in words."""
        if weights.ndim == 1:
            return ", ".join(f"{name} {weight:.0%}" for name, weight in zip(self.inputs, weights, strict=True))
        return ", ".join(f"{axis} ({self._shares(row)})" for axis, row in zip(AXES, weights, strict=True))

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
        group = group_of(scene_sizes, self.groups)
        # Inputs are added in a fixed order, so that a row's result is bit-identical with any other rows beside it.
        blended_m = np.zeros(stack_m.shape[1:])
        for weights, values_m in zip(self._of_targets(), stack_m, strict=True):
            blended_m += weights[group] * values_m
        return blended_m

    def _of_targets(self) -> FloatArray:
        """Return the (M, G, 18) weight of each input, group and target; targets are x_0, y_0, z_0, x_1 and so on."""
        by_axis = self.weights.reshape(len(self.groups), -1, len(self.inputs))  # (G, 1 or 3, M)
        return np.tile(np.moveaxis(by_axis, -1, 0), len(TARGETS) // by_axis.shape[1])

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
