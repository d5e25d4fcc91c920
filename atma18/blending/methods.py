"""The methods that fit convex weights: with the smallest error, with a pull to safe weights, by a search, or equal."""

import numpy as np
from scipy.optimize import minimize

from atma18.blending.convex_weights import convex, exact
from atma18.blending.shrinkage import shrunk
from atma18.blending.weights import Weights
from atma18.config import BlendConfig
from atma18.schema import FloatArray, StrArray


def fit_weights(stack_m: FloatArray, targets_m: FloatArray, scenes: StrArray, config: BlendConfig) -> Weights:
    """Fit convex weights by the configured method; the result has a proven bound with every method.

    Args:
        stack_m: (M, N, 18) metres; a part of the 18 targets is allowed.
        targets_m: (N, 18) metres.
        scenes: (N,) the scene of each row.
        config: the method.

    Raises:
        ValueError: If there are no rows, shapes disagree, or a number is not finite.
    """
    check_stack(stack_m, n_inputs=len(stack_m), n_rows=len(targets_m))
    check_targets(targets_m, stack_m)
    check_scenes(scenes, n_rows=len(targets_m))
    if targets_m.size == 0:
        raise ValueError("expected rows to fit weights on, found none")
    match config.method:
        case "shrunk":
            return shrunk(stack_m, targets_m, scenes)
        case "exact":
            return exact(stack_m, targets_m)
        case "nelder-mead":
            values = nelder_mead(stack_m, targets_m, config.max_iterations)
        case "equal":
            values = np.full(len(stack_m), 1.0 / len(stack_m))
    mae_m = float(np.abs(np.tensordot(values, stack_m, axes=1) - targets_m).mean())
    return Weights(values, mae_m, exact(stack_m, targets_m).bound_m)


def nelder_mead(stack_m: FloatArray, targets_m: FloatArray, max_iterations: int) -> FloatArray:
    """Search (M,) convex weights with a small MAE by Nelder–Mead from equal weights, as the published solution does."""
    flat_m, truth_m = stack_m.reshape(len(stack_m), -1), targets_m.reshape(-1)

    def mae_m(raw: FloatArray) -> float:
        return float(np.abs(convex(raw) @ flat_m - truth_m).mean())

    start, options = np.full(len(stack_m), 1.0 / len(stack_m)), {"maxiter": max_iterations}
    return convex(minimize(mae_m, start, method="Nelder-Mead", options=options).x)


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


def check_scenes(scenes: StrArray, *, n_rows: int) -> None:
    """Refuse scenes that are not one per row."""
    if scenes.shape != (n_rows,):
        raise ValueError(f"expected a scene for each of {n_rows} rows, found {scenes.shape}")
