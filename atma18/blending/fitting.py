"""Fitting the weights of a blend, and scoring them by cross-fitting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atma18.blending.blend import Blend, group_of
from atma18.blending.methods import check_scenes, check_stack, check_targets, fit_weights
from atma18.blending.weights import Weights
from atma18.config import BlendConfig
from atma18.schema import AXES, FloatArray, IntArray, StrArray

FEWEST_SAMPLES = 50
"""A group with fewer samples gets the weights of all samples, because its own would be unreliable."""


@dataclass(frozen=True)
class Fitted:
    """A blend, with the error of each group and axis on its training rows and the proven bound."""

    blend: Blend
    parts: tuple[tuple[Weights, ...], ...]
    """(G, 1 or 3) each group's weights, for all axes together or for each, with their error on the rows that they were
    fitted to."""
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
    scenes: StrArray,
    config: BlendConfig,
    names: Sequence[str],
) -> Fitted:
    """Fit the weights of each group; a group with fewer than `FEWEST_SAMPLES` rows gets the weights of all rows.

    Args:
        stack_m: (M, N, 18) metres, out-of-fold predictions of the inputs.
        targets_m: (N, 18) metres.
        scene_sizes: (N,) samples in each row's scene.
        scenes: (N,) the scene of each row.
        config: groups and method.
        names: (M,) of the inputs.

    Returns:
        The blend. Its error on these rows is optimistic; that of `cross_fit` is not.

    Raises:
        ValueError: If there are no rows, shapes disagree, or a number is not finite.
    """
    check_stack(stack_m, n_inputs=len(names), n_rows=len(scene_sizes))
    check_targets(targets_m, stack_m)
    check_scenes(scenes, n_rows=len(scene_sizes))
    group = group_of(scene_sizes, config.groups)
    rows = [np.flatnonzero(group == g) for g in range(len(config.groups))]
    samples = tuple(map(len, rows))

    def of_rows(part: IntArray) -> tuple[Weights, ...]:
        return _fit_axes(stack_m[:, part], targets_m[part], scenes[part], config)

    whole = of_rows(np.arange(len(scene_sizes))) if min(samples) < FEWEST_SAMPLES else None
    parts = tuple(whole if whole is not None and len(part) < FEWEST_SAMPLES else of_rows(part) for part in rows)
    weights = np.array([[of_axis.values for of_axis in of_group] for of_group in parts])  # (G, 1 or 3, M)
    blend = Blend(tuple(names), config.groups, weights if config.per_axis else weights[:, 0])
    return Fitted(blend, parts, samples)


def _fit_axes(stack_m: FloatArray, targets_m: FloatArray, scenes: StrArray, config: BlendConfig) -> tuple[Weights, ...]:
    """Fit one set of weights to all numbers, or one to each axis; targets are x_0, y_0, z_0, x_1 and so on."""
    step = len(AXES) if config.per_axis else 1
    return tuple(
        fit_weights(stack_m[:, :, first::step], targets_m[:, first::step], scenes, config) for first in range(step)
    )


def cross_fit(
    stack_m: FloatArray,
    targets_m: FloatArray,
    scene_sizes: IntArray,
    scenes: StrArray,
    folds: IntArray,
    config: BlendConfig,
    names: Sequence[str],
) -> FloatArray:
    """Blend the rows of each fold with weights fitted only on the other folds.

    Args:
        stack_m: (M, N, 18) metres, out-of-fold predictions of the inputs.
        targets_m: (N, 18) metres.
        scene_sizes: (N,) samples in each row's scene.
        scenes: (N,) the scene of each row.
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
    check_scenes(scenes, n_rows=len(scene_sizes))
    present = np.unique(folds)
    if len(present) < 2:
        raise ValueError(f"expected at least 2 folds to cross-fit, found {len(present)}")
    blended_m = np.empty(targets_m.shape)
    for fold in present:
        inside, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        rows = (stack_m[:, others], targets_m[others], scene_sizes[others], scenes[others])
        blend = fit(*rows, config, names).blend
        blended_m[inside] = blend.apply(stack_m[:, inside], scene_sizes[inside])
    return blended_m
