"""How far predictions are from the truth: by axis, horizon and scene size, and how sure that is."""

from dataclasses import dataclass

import numpy as np

from atma18.schema import AXES, TARGETS, WAYPOINT_TIMES_S, FloatArray, IntArray, StrArray

SIZE_CLASSES = ("1", "2", "3", "4", "5", "6_or_more")
"""Scene sizes, as `size_class` numbers them."""


def mae_m(predicted_m: FloatArray, truth_m: FloatArray) -> float:
    """Return the mean absolute error over all samples and all 18 targets, metres.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.

    Raises:
        ValueError: If the shapes differ, are not (N, 18), or N is 0.
    """
    return float(_absolute_errors_m(predicted_m, truth_m).mean())


def size_class(scene_sizes: IntArray) -> IntArray:
    """Number the class of each scene size.

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
    """How much each scene-size class weighs in the test split, as far as the training split can be scored on it."""

    shares: dict[str, float]
    """Class → share of the test samples, renormalised to 1 over the classes that have training samples."""
    dropped: tuple[str, ...]
    """Classes of the test split without training samples."""

    def mae_m(self, predicted_m: FloatArray, truth_m: FloatArray, scene_sizes: IntArray) -> float:
        """Return the MAE per class weighted by its share, metres; the plain MAE if there are no shares.

        Args:
            predicted_m: (N, 18) metres, vehicle frame at t, of the training samples.
            truth_m: (N, 18) metres, vehicle frame at t.
            scene_sizes: (N,) samples in each training sample's scene.

        Raises:
            ValueError: If the shapes differ.
        """
        if not self.shares:
            return mae_m(predicted_m, truth_m)
        by_class_m = mae_by_size_m(predicted_m, truth_m, scene_sizes)
        return sum(share * by_class_m[name] for name, share in self.shares.items())


def size_mix(scene_sizes_train: IntArray, scene_sizes_test: IntArray) -> SizeMix:
    """Weigh the scene-size classes by the test split's samples.

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


def testmix_mae_m(
    predicted_m: FloatArray, truth_m: FloatArray, scene_sizes_train: IntArray, scene_sizes_test: IntArray
) -> float:
    """Return the MAE of the training samples, reweighted to the test split's scene sizes, metres.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t, of the training samples.
        truth_m: (N, 18) metres, vehicle frame at t.
        scene_sizes_train: (N,) samples in each training sample's scene.
        scene_sizes_test: (M,) samples in each test sample's scene.
    """
    return size_mix(scene_sizes_train, scene_sizes_test).mae_m(predicted_m, truth_m, scene_sizes_train)


def mae_by_size_m(predicted_m: FloatArray, truth_m: FloatArray, scene_sizes: IntArray) -> dict[str, float]:
    """Return the MAE of each scene-size class that has samples, metres.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
        scene_sizes: (N,) samples in each sample's scene.

    Raises:
        ValueError: If the shapes differ.
    """
    errors_m = _absolute_errors_m(predicted_m, truth_m)
    _require_rows(len(errors_m), scene_sizes, "scene sizes")
    classes = size_class(scene_sizes)
    return {name: float(errors_m[classes == c].mean()) for c, name in enumerate(SIZE_CLASSES) if (classes == c).any()}


def summary(
    predicted_m: FloatArray,
    truth_m: FloatArray,
    scene_sizes_train: IntArray,
    scene_sizes_test: IntArray,
    split: str = "oof",
) -> dict[str, float]:
    """Return every metric of a set of predictions, named `split/metric_unit`.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
        scene_sizes_train: (N,) samples in each scored sample's scene.
        scene_sizes_test: (M,) samples in each test sample's scene, for the weights of `testmix`.
        split: what is scored.

    Returns:
        Metric name → metres; a scene-size class without samples has no entry.
    """
    errors_m = _absolute_errors_m(predicted_m, truth_m).reshape(-1, len(WAYPOINT_TIMES_S), len(AXES))
    by_axis, by_horizon = errors_m.mean(axis=(0, 1)), errors_m.mean(axis=(0, 2))
    by_size = mae_by_size_m(predicted_m, truth_m, scene_sizes_train)
    return {
        f"{split}/mae_m": float(errors_m.mean()),
        f"{split}/mae_m_testmix": testmix_mae_m(predicted_m, truth_m, scene_sizes_train, scene_sizes_test),
        **{f"{split}_axis/{axis}_m": float(m) for axis, m in zip(AXES, by_axis, strict=True)},
        **{f"{split}_horizon/{t:.1f}s_m": float(m) for t, m in zip(WAYPOINT_TIMES_S, by_horizon, strict=True)},
        **{f"{split}_size/{name}_m": m for name, m in by_size.items()},
    }


def scene_bootstrap(values: FloatArray, scenes: StrArray, *, resamples: int = 2000, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over samples when whole scenes are drawn anew.

    Samples of one scene resemble each other, so drawing them one by one would make the interval too narrow.

    Args:
        values: (N,) one number per sample, in any unit.
        scenes: (N,) the scene of each sample.
        resamples: how often as many scenes as there are get drawn with replacement.
        seed: of the draws.

    Raises:
        ValueError: If the lengths differ or are 0.
    """
    _require_rows(len(values), scenes, "scenes")
    names, inverse = np.unique(scenes, return_inverse=True)
    if not len(names):
        raise ValueError("expected at least one sample to resample, found none")
    sums, counts = np.bincount(inverse, weights=values), np.bincount(inverse)
    rng = np.random.default_rng(seed)
    draws = (rng.integers(len(names), size=len(names)) for _ in range(resamples))
    means = [sums[drawn].sum() / counts[drawn].sum() for drawn in draws]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class PairedGain:
    """By how much one set of predictions is better than another on the same samples; negative if it is worse."""

    mean_m: float
    """Difference of the two MAEs, metres."""
    low_m: float
    """Lower end of the scene bootstrap's 95 % interval, metres."""
    high_m: float
    """Upper end, metres."""


def paired_gain(
    predicted_m: FloatArray, other_m: FloatArray, truth_m: FloatArray, scenes: StrArray, seed: int
) -> PairedGain:
    """Return how much lower the MAE of `predicted_m` is than that of `other_m`, sample by sample.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        other_m: (N, 18) metres, what it is compared with.
        truth_m: (N, 18) metres.
        scenes: (N,) the scene of each sample.
        seed: of the bootstrap.
    """
    gains_m = (_absolute_errors_m(other_m, truth_m) - _absolute_errors_m(predicted_m, truth_m)).mean(axis=1)  # (N,)
    low_m, high_m = scene_bootstrap(gains_m, scenes, seed=seed)
    return PairedGain(float(gains_m.mean()), low_m, high_m)


def in_fold_median(truth_m: FloatArray, folds: IntArray) -> FloatArray:
    """Predict each fold by the median of the other folds: the least a model has to beat.

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


def _absolute_errors_m(predicted_m: FloatArray, truth_m: FloatArray) -> FloatArray:
    expected = (len(truth_m), len(TARGETS))
    if predicted_m.shape != expected or truth_m.shape != expected or not len(truth_m):
        raise ValueError(
            f"expected two arrays of shape (N, {len(TARGETS)}) with N of at least 1, "
            f"found {predicted_m.shape} and {truth_m.shape}"
        )
    return np.asarray(np.abs(predicted_m - truth_m))


def _class_counts(scene_sizes: IntArray) -> dict[str, int]:
    counts = np.bincount(size_class(scene_sizes), minlength=len(SIZE_CLASSES))
    return dict(zip(SIZE_CLASSES, counts.tolist(), strict=True))


def _require_rows(n: int, found: IntArray | StrArray, what: str) -> None:
    if found.shape != (n,):
        raise ValueError(f"expected {what} of shape {(n,)}, found {found.shape}")
