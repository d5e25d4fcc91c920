"""The SVD of each cell and the ridge probe, fitted in each fold."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from atma18.config import EmbedConfig
from atma18.embedding.cells import Float16Array, similarity
from atma18.embedding.tables import EmbeddingFeatures
from atma18.features.standardise import mean_and_scale
from atma18.geometry.baseline import Baseline
from atma18.schema import TARGETS, Float32Array, FloatArray, IntArray, Samples, StrArray

if TYPE_CHECKING:  # predictions do without scikit-learn, whose import takes a second
    from sklearn.linear_model import Ridge, RidgeCV

_INNER_SPLITS = 3
_SIMILARITIES = (2, 0)  # of each cell: of three frames, of one grid


@dataclass(frozen=True)
class FoldEmbedding:
    """The SVD bases and the ridge probe of one fold, fitted on the rows outside the fold."""

    components: Float32Array
    """(cells, components, channels) right singular vectors of the image at t."""
    mean: FloatArray
    """(F,) mean of the probe's features."""
    scale: FloatArray
    """(F,) standard deviation of the probe's features; 1 where a feature is constant."""
    coefficients: FloatArray
    """(F + R, 18) coefficients of the standardised features, then of the random Fourier features."""
    intercept: FloatArray
    """(18,) intercept of the probe."""
    directions: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    """(F, R) weights of the standardised features in each random Fourier feature; empty in files without this field."""
    phases: FloatArray = field(default_factory=lambda: np.empty(0))
    """(R,) phases of the random Fourier features, rad."""
    motion: FloatArray = field(default_factory=lambda: np.empty(0))
    """Parameters of the motion model, if it is the baseline of the probe; else empty."""

    def __post_init__(self) -> None:
        cells, count = self.components.shape[:2] if self.components.ndim == 3 else (0, 0)
        features, random = len(self.mean), len(self.phases)
        expected = [(features,), (features,), (features + random, len(TARGETS)), (len(TARGETS),), (random,)]
        possible = [cells * (count + similarities) for similarities in _SIMILARITIES]
        shapes = [a.shape for a in (self.mean, self.scale, self.coefficients, self.intercept, self.phases)]
        if features not in possible or shapes != expected or (random and self.directions.shape != (features, random)):
            raise ValueError(
                f"expected a probe of {possible[0]} or {possible[1]} features and {random} random ones, found {shapes}"
            )

    def features(self, cells: Float16Array) -> EmbeddingFeatures:
        """Project (N, F, cells, channels) onto this fold's SVD bases."""
        return EmbeddingFeatures(_project(cells, self.components), similarity(cells))

    def probe(self, features: EmbeddingFeatures) -> FloatArray:
        """Predict the (N, 18) values that the probe was fitted to, from the embedding alone."""
        standard = (features.stacked() - self.mean) / self.scale
        return np.asarray(
            _with_random_features(standard, self.directions, self.phases) @ self.coefficients + self.intercept
        )


def fit(
    cells: Float16Array, samples: Samples, targets_m: FloatArray, rows: IntArray, config: EmbedConfig
) -> FoldEmbedding:
    """Fit one fold's SVD per cell, the baseline and the ridge probe on these rows alone.

    Args:
        cells: (N, F, cells, channels) of all training samples; with view path along the paths of this fold.
        samples: the N training samples.
        targets_m: (N, 18) metres, vehicle frame at t.
        rows: the training rows of the fold.
        config: the configuration of SVD, baseline and probe.
    """
    baseline = fit_baseline(samples, targets_m, rows, config)
    difference, pace = baseline.difference(samples, targets_m), baseline.pace(samples)[:, 0]
    return replace(fit_fold(cells, difference, rows, samples.scenes, config, pace), motion=baseline.motion)


def fit_baseline(samples: Samples, targets_m: FloatArray, rows: IntArray, config: EmbedConfig) -> Baseline:
    """Fit what one fold's probe predicts the difference to on these rows alone; its motion model lays the grids."""
    return Baseline.fit(config.target, config.by_speed, samples.take(rows), targets_m[rows])


def fit_fold(
    cells: Float16Array,
    targets: FloatArray,
    rows: IntArray,
    scenes: StrArray,
    config: EmbedConfig,
    importance: FloatArray | None = None,
) -> FoldEmbedding:
    """Fit one fold's SVD per cell and its ridge probe on these rows alone.

    Args:
        cells: (N, F, cells, channels) of all training samples.
        targets: (N, 18) values that the probe predicts.
        rows: the training rows of the fold.
        scenes: (N,) the scene of each sample; inner splits keep scenes whole.
        config: components, penalties and seed.
        importance: (N,) the weight of each sample's errors; None for equal weights.
    """
    from sklearn.decomposition import TruncatedSVD

    count = max(1, min(config.svd_components, cells.shape[3] - 1, len(rows) - 1))
    current = cells[rows, 0].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # TruncatedSVD divides by the variance of a cell
        bases = [
            TruncatedSVD(count, random_state=config.seed).fit(current[:, c]).components_
            for c in range(current.shape[1])
        ]
    components = np.stack(bases).astype(np.float32)
    features = EmbeddingFeatures(_project(cells, components), similarity(cells)).take(rows).stacked()
    mean, scale = mean_and_scale(features)
    directions, phases = _random_features(features.shape[1], config.random_features, config.seed)
    read = _with_random_features((features - mean) / scale, directions, phases)
    counts = None if importance is None else importance[rows]
    ridge = _ridge(read, targets[rows], scenes[rows], config.ridge_alphas, counts)
    return FoldEmbedding(components, mean, scale, ridge.coef_.T.copy(), ridge.intercept_, directions, phases)


def _random_features(features: int, count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Draw directions (F, R) and phases (R,) of random Fourier features, which approximate a Gaussian kernel.

    Rahimi and Recht, Random Features for Large-Scale Kernel Machines, 2007.
    """
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1 / np.sqrt(features), (features, count)), rng.uniform(0, 2 * np.pi, count)


def _with_random_features(standard: FloatArray, directions: FloatArray, phases: FloatArray) -> FloatArray:
    """Return (N, F + R): standardised features, then their random Fourier features."""
    if len(phases) == 0:
        return standard
    return np.hstack([standard, np.cos(standard @ directions + phases)])


def explained_variance(cells: Float16Array, components: Float32Array) -> FloatArray:
    """Return the share of each cell's variance in the frame at t that each SVD component explains.

    Args:
        cells: (N, F, cells, channels).
        components: (cells, components, channels).

    Returns:
        (cells, components); zeros for a cell without variance.
    """
    shares = np.zeros(components.shape[:2])
    for cell, basis in enumerate(components):
        current = cells[:, 0, cell].astype(np.float64)
        whole = current.var(axis=0).sum()
        if whole > 0:
            shares[cell] = (current @ basis.T.astype(np.float64)).var(axis=0) / whole
    return shares


def _project(cells: Float16Array, components: Float32Array) -> Float32Array:
    """Return (N, cells * components) SVD components of the frame at t, ordered by cell."""
    # Computed in float64, so that the result of a row does not depend on the number of rows in a BLAS call.
    parts = [cells[:, 0, c].astype(np.float64) @ basis.T.astype(np.float64) for c, basis in enumerate(components)]
    return np.hstack(parts).astype(np.float32)


def _ridge(
    features: FloatArray,
    targets: FloatArray,
    scenes: StrArray,
    alphas: tuple[float, ...],
    importance: FloatArray | None,
) -> "Ridge | RidgeCV":
    """Choose the penalty by the cross-validated MAE over whole scenes; with a single scene, use the strongest."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.model_selection import GroupKFold

    splits = min(_INNER_SPLITS, len(np.unique(scenes)))
    if splits < 2:
        return Ridge(max(alphas)).fit(features, targets, importance)
    inner = list(GroupKFold(splits).split(features, groups=scenes))
    return RidgeCV(alphas, cv=inner, scoring="neg_mean_absolute_error").fit(features, targets, importance)
