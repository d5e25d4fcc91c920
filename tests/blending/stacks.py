"""Predictions and targets for the tests of blends."""

import numpy as np


def targets(n=30, seed=0):
    return np.random.default_rng(seed).normal(scale=10.0, size=(n, 18))


def noisy_stack(targets_m, scales_m, seed=1):
    """Predictions with errors that they partly share, heavy-tailed as those of models are."""
    rng = np.random.default_rng(seed)
    together_m = rng.standard_t(2.5, size=targets_m.shape)
    return np.stack([targets_m + s * (together_m + rng.standard_t(2.5, size=targets_m.shape)) for s in scales_m])
