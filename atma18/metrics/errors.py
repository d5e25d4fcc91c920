"""Error measures, the scene bootstrap, and the classes of samples by scene size and speed."""

from dataclasses import dataclass

import numpy as np

from atma18.schema import TARGETS, FloatArray, IntArray, StrArray

SIZE_CLASSES = ("1", "2", "3", "4", "5", "6_or_more")
"""Names of the classes that `size_class` returns."""
SPEED_BANDS = ("below_1mps", "1_to_5mps", "5_to_10mps", "10_to_15mps", "15mps_or_more")
"""Names of the bands that `speed_band` returns; the competition's quartiles are 2.8, 8.0 and 14.2 m/s."""
_SPEED_BOUNDS_MPS = (1.0, 5.0, 10.0, 15.0)
_DRAWN_AT_ONCE = 100


def mae_m(predicted_m: FloatArray, truth_m: FloatArray) -> float:
    """Return the mean absolute error over all samples and all 18 targets, metres.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.

    Raises:
        ValueError: If the shapes differ, are not (N, 18), or N is 0.
    """
    return float(absolute_errors_m(predicted_m, truth_m).mean())


def absolute_errors_m(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    """Return the (N, 18) absolute errors, metres; arguments and errors as in `mae_m`."""
    expected = (len(truth_m), len(TARGETS))
    if predicted_m.shape != expected or truth_m.shape != expected or not len(truth_m):
        raise ValueError(
            f"expected two arrays of shape (N, {len(TARGETS)}) with N of at least 1, "
            f"found {predicted_m.shape} and {truth_m.shape}"
        )
    return np.asarray(np.abs(predicted_m - truth_m))


def size_class(scene_sizes: IntArray) -> IntArray:
    """Return the class of each scene size.

    Args:
        scene_sizes: (N,) samples in each sample's scene, at least 1.

    Returns:
        (N,) index into `SIZE_CLASSES`.

    Raises:
        ValueError: If a scene size is below 1.
    """
    if (scene_sizes < 1).any():
        raise ValueError(f"expected scene sizes of at least 1, found {scene_sizes.min()}")
    return np.minimum(scene_sizes, len(SIZE_CLASSES)) - 1


@dataclass(frozen=True)
class SizeMix:
    """The share of each scene-size class in the test split, over the classes that the training split has."""

    shares: dict[str, float]
    """Class → share of the test samples, renormalised to 1 over the classes that have training samples."""
    dropped: tuple[str, ...]
    """Classes of the test split without training samples."""

    def weights(self, scene_sizes: IntArray) -> FloatArray:
        """Return the (N,) weights of training samples, which sum to 1; equal weights if there are no shares."""
        classes = size_class(scene_sizes)
        share = np.array([self.shares.get(name, 0.0) for name in SIZE_CLASSES])
        class_weights = share[classes] / np.bincount(classes, minlength=len(SIZE_CLASSES))[classes]
        return class_weights if self.shares else np.full(len(scene_sizes), 1.0 / len(scene_sizes))


def size_mix(scene_sizes_train: IntArray, scene_sizes_test: IntArray) -> SizeMix:
    """Return the shares of the scene-size classes in the test split.

    Args:
        scene_sizes_train: (N,) samples in each training sample's scene.
        scene_sizes_test: (M,) samples in each test sample's scene; M may be 0.
    """
    train, test = _class_counts(scene_sizes_train), _class_counts(scene_sizes_test)
    scored = {name: test[name] for name in SIZE_CLASSES if train[name] and test[name]}
    total = sum(scored.values())
    return SizeMix(
        shares={name: count / total for name, count in scored.items()},
        dropped=tuple(name for name in SIZE_CLASSES if test[name] and not train[name]),
    )


def speed_band(speed_mps: FloatArray) -> IntArray:
    """Return the band of each speed.

    Args:
        speed_mps: (N,) m/s; slightly negative at rest.

    Returns:
        (N,) index into `SPEED_BANDS`.
    """
    return np.searchsorted(_SPEED_BOUNDS_MPS, speed_mps, side="right")


@dataclass(frozen=True)
class Estimate:
    """A mean over samples and the 95 % percentile interval of the scene bootstrap, in the unit of the values."""

    mean: float
    low: float
    high: float


def scene_bootstrap(
    values: FloatArray,
    scenes: StrArray,
    *,
    weights: FloatArray | None = None,
    resamples: int = 2000,
    seed: int,
) -> list[Estimate]:
    """Estimate C weighted means and their bootstrap intervals; whole scenes are drawn, the same draws for all means.

    Samples of one scene are correlated, so drawing single samples would make the intervals too narrow.

    Args:
        values: (C, N) numbers in any unit.
        scenes: (N,) the scene of each sample.
        weights: (C, N) weights of the samples, at least 0; None for equal weights. A draw with only zero weights is
            left out.
        resamples: number of draws; each draws all scenes with replacement.
        seed: seed of the draws.

    Raises:
        ValueError: If the lengths differ or are 0, or the weights of a column are all 0.
    """
    _require_rows(values.shape[1], scenes, "scenes")
    weights = np.ones_like(values) if weights is None else weights
    names, inverse = np.unique(scenes, return_inverse=True)
    if not len(names):
        raise ValueError("expected at least one sample to resample, found none")
    if weights.shape != values.shape or not (weights.sum(axis=1) > 0).all():
        raise ValueError(f"expected weights {values.shape}, not all 0 in a row, found {weights.shape}")
    columns = np.concatenate([weights * values, weights])  # (2 C, N)
    by_scene = np.stack([np.bincount(inverse, weights=column) for column in columns], axis=1)  # (S, 2 C)
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, len(values)))
    for first in range(0, resamples, _DRAWN_AT_ONCE):
        rows = means[first : first + _DRAWN_AT_ONCE]
        times = [np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)) for _ in rows]
        sums, totals = np.split(np.stack(times).astype(np.float64) @ by_scene, 2, axis=1)
        rows[:] = np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=0)
    whole = np.average(values, axis=1, weights=weights)
    return [Estimate(*map(float, estimate)) for estimate in zip(whole, low, high, strict=True)]


def in_fold_median(truth_m: FloatArray, folds: IntArray) -> FloatArray:
    """Predict each fold by the median of the other folds: the weakest baseline.

    Args:
        truth_m: (N, 18) metres, vehicle frame at t.
        folds: (N,) fold of each sample.

    Returns:
        (N, 18) metres: per target, the median over the rows of all other folds.

    Raises:
        ValueError: If there are fewer than two folds.
    """
    _require_rows(len(truth_m), folds, "folds")
    present = np.unique(folds)
    if len(present) < 2:
        raise ValueError(f"expected at least 2 folds, found {len(present)}: no other rows to take a median of")
    medians_m = np.empty_like(truth_m)
    for k in present:
        medians_m[folds == k] = np.median(truth_m[folds != k], axis=0)
    return medians_m


def _class_counts(scene_sizes: IntArray) -> dict[str, int]:
    counts = np.bincount(size_class(scene_sizes), minlength=len(SIZE_CLASSES))
    return dict(zip(SIZE_CLASSES, counts.tolist(), strict=True))


def _require_rows(n: int, found: IntArray | StrArray, what: str) -> None:
    if found.shape != (n,):
        raise ValueError(f"expected {what} of shape {(n,)}, found {found.shape}")
