"""Scores of predictions: over all samples, by axis, horizon, scene size and speed, and compared with others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from atma18 import metrics
from atma18.metrics.errors import SIZE_CLASSES, SPEED_BANDS
from atma18.schema import AXES, TARGETS, WAYPOINT_TIMES_S, FloatArray, IntArray, Samples, StrArray

ALL, TESTMIX = "all", "testmix"


@dataclass(frozen=True)
class Part:
    """A subset of samples and targets, over which errors are averaged."""

    by: str
    """`axis`, `horizon`, `size`, `speed`, or empty for all targets of all samples."""
    name: str
    weights: FloatArray
    """(N,) weights of the samples; 0 for samples outside the part."""
    targets: IntArray
    """Indices into the 18 targets."""

    @property
    def samples(self) -> int:
        """The number of samples in the part."""
        return int((self.weights > 0).sum())

    def metric(self, split: str) -> str:
        """Return the name of the metric for its error."""
        if self.by:
            return f"{split}_{self.by}/{self.name}_m"
        return f"{split}/mae_m" if self.name == ALL else f"{split}/mae_m_{self.name}"


@dataclass(frozen=True)
class Score:
    """The mean absolute error of a part with the 95 % interval of the scene bootstrap, metres."""

    part: Part
    mae_m: float
    low_m: float
    high_m: float


def parts(scene_sizes: IntArray, speed_mps: FloatArray | None = None, test_sizes: IntArray | None = None) -> list[Part]:
    """Return all parts of N samples that are not empty.

    Args:
        scene_sizes: (N,) samples in each sample's scene.
        speed_mps: (N,) m/s, for the speed bands; None for no speed bands.
        test_sizes: (M,) samples in each test sample's scene, for the part with the test split's mix of scene sizes.
    """
    everything, targets = np.ones(len(scene_sizes)), np.arange(len(TARGETS))
    mix = [] if test_sizes is None else [metrics.size_mix(scene_sizes, test_sizes)]
    classes: dict[str, tuple[Sequence[str], IntArray]] = {"size": (SIZE_CLASSES, metrics.size_class(scene_sizes))}
    if speed_mps is not None:
        classes["speed"] = (SPEED_BANDS, metrics.speed_band(speed_mps))
    return [
        Part("", ALL, everything, targets),
        *(Part("", TESTMIX, size_mix.weights(scene_sizes), targets) for size_mix in mix),
        *(Part("axis", axis, everything, targets[a :: len(AXES)]) for a, axis in enumerate(AXES)),
        *(
            Part("horizon", f"{t:.1f}s", everything, targets[h * len(AXES) :][: len(AXES)])
            for h, t in enumerate(WAYPOINT_TIMES_S)
        ),
        *(
            Part(by, name, (classes_of == c).astype(np.float64), targets)
            for by, (names, classes_of) in classes.items()
            for c, name in enumerate(names)
            if (classes_of == c).any()
        ),
    ]


def training_parts(train: Samples, test: Samples) -> list[Part]:
    """Return all parts of the training samples, the one with the test split's mix of scene sizes included."""
    return parts(train.scene_sizes, train.signals["vEgo"].to_numpy(np.float64), test.scene_sizes)


def scores(
    predicted_m: FloatArray, truth_m: FloatArray, parts: Sequence[Part], scenes: StrArray, seed: int = 0
) -> list[Score]:
    """Score each part of N samples.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
        parts: parts of these samples.
        scenes: (N,) the scene of each sample.
        seed: seed of the bootstrap.
    """
    errors_m = metrics.absolute_errors_m(predicted_m, truth_m)
    estimates = metrics.scene_bootstrap(_of_parts(errors_m, parts), scenes, weights=_weights(parts), seed=seed)
    return [Score(part, e.mean, e.low, e.high) for part, e in zip(parts, estimates, strict=True)]


def compare(
    ours_m: FloatArray,
    others_m: Mapping[str, FloatArray],
    truth_m: FloatArray,
    parts: Sequence[Part],
    scenes: StrArray,
    ours: str,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare predictions with others, part by part, paired by sample.

    Args:
        ours_m: (N, 18) metres, vehicle frame at t.
        others_m: the same for other predictions, by name.
        truth_m: (N, 18) metres.
        parts: parts of these samples.
        scenes: (N,) the scene of each sample.
        ours: the name of `ours_m`.
        seed: seed of the bootstrap.

    Returns:
        A row per set of predictions and part: `model`, `by`, `part`, `samples`, `mae_m`, `low_m`, `high_m`, and the
        gain of `ours_m`, `gain_m`, `gain_low_m`, `gain_high_m`, which is negative where `ours_m` is worse.
    """
    everyone = {ours: ours_m} | dict(others_m)
    errors_m = {name: metrics.absolute_errors_m(p, truth_m) for name, p in everyone.items()}
    values = [_of_parts(errors, parts) for errors in errors_m.values()]
    gains = [_of_parts(errors - errors_m[ours], parts) for errors in errors_m.values()]
    columns = np.concatenate(values + gains)  # (2 models x parts, N)
    weights = np.broadcast_to(_weights(parts), (2 * len(everyone), len(parts), len(truth_m))).reshape(columns.shape)
    estimates = metrics.scene_bootstrap(columns, scenes, weights=weights, seed=seed)
    maes, gained = estimates[: len(estimates) // 2], estimates[len(estimates) // 2 :]
    rows = [(name, part) for name in everyone for part in parts]
    return pd.DataFrame(
        {
            "model": name,
            "by": part.by,
            "part": part.name,
            "samples": part.samples,
            "mae_m": mae.mean,
            "low_m": mae.low,
            "high_m": mae.high,
            "gain_m": gain.mean,
            "gain_low_m": gain.low,
            "gain_high_m": gain.high,
        }
        for (name, part), mae, gain in zip(rows, maes, gained, strict=True)
    )


def _of_parts(errors_m: FloatArray, parts: Sequence[Part]) -> FloatArray:
    """Return the (P, N) mean error of each sample over each part's targets."""
    return np.stack([errors_m[:, part.targets].mean(axis=1) for part in parts])


def _weights(parts: Sequence[Part]) -> FloatArray:
    return np.stack([part.weights for part in parts])
