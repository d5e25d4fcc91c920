"""What a frozen backbone sees: embeddings of image cells, their similarity between frames, and a probe on both."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GroupKFold
from torch import Tensor

from atma18 import backbones, compute, digests
from atma18.backbones import Backbone
from atma18.cache import Cache
from atma18.origin import Origin
from atma18.presets import EmbedConfig
from atma18.schema import Float32Array, FloatArray, FrameRows, IntArray, Samples, StrArray, first_few, repeated, rows_of
from atma18.standardise import mean_and_scale

Float16Array = NDArray[np.float16]

_INNER_SPLITS = 3
_SOURCES = (__file__, backbones.__file__, compute.__file__)


@dataclass(frozen=True)
class EmbeddingFeatures:
    """The embedding of N samples as numbers that a table can hold, in the basis of one fold."""

    svd: Float32Array
    """(N, cells * components) of the frame at t, cell by cell; comparable inside one fold's basis only."""
    similarity: Float32Array
    """(N, cells * 2) cosines, cell after cell: t with t-0.5 s, then t-0.5 s with t-1.0 s."""

    def take(self, rows: IntArray) -> Self:
        """Return the features of these rows."""
        return type(self)(self.svd[rows], self.similarity[rows])

    def stacked(self) -> FloatArray:
        """Return (N, F): both side by side."""
        return np.hstack([self.svd, self.similarity]).astype(np.float64)


@dataclass(frozen=True)
class EmbeddingTables:
    """What `embed` hands on: every sample, training and test, in the basis of every fold."""

    ids: StrArray
    """(N,) unique."""
    svd: Float32Array
    """(K, N, cells * components)"""
    similarity: Float32Array
    """(N, cells * 2)"""

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.svd.ndim != 3 or self.svd.shape[1] != n or len(self.similarity) != n:
            raise ValueError(f"expected {n} rows, found svd {self.svd.shape} and similarity {self.similarity.shape}")
        if again := repeated(self.ids):
            raise ValueError(f"embedding: expected each ID once, found repeated: {first_few(again)}")
        if not (np.isfinite(self.svd).all() and np.isfinite(self.similarity).all()):
            raise ValueError("embedding: expected finite features, found others")

    @property
    def cells(self) -> int:
        """The number of cells of a frame."""
        return int(self.similarity.shape[1] // 2)

    def of(self, ids: StrArray) -> tuple[EmbeddingFeatures, ...]:
        """Return the features of these samples in the basis of each fold, joined on ID."""
        rows = pd.Index(self.ids).get_indexer(pd.Index(ids))
        if missing := ids[rows < 0].tolist():
            raise ValueError(f"embedding: expected every sample, missing: {first_few(missing)}")
        return tuple(EmbeddingFeatures(svd[rows], self.similarity[rows]) for svd in self.svd)

    def write(self, folder: Path) -> None:
        """Write `svd_fold<k>.parquet` for every fold, and `similarity.parquet`."""
        folder.mkdir(parents=True, exist_ok=True)
        for k, svd in enumerate(self.svd):
            self._table(svd).to_parquet(folder / f"svd_fold{k}.parquet", index=False)
        self._table(self.similarity).to_parquet(folder / "similarity.parquet", index=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote."""
        ids, similarities = _read_table(folder / "similarity.parquet")
        bases = []
        for k in range(len(list(folder.glob("svd_fold*.parquet")))):
            found, svd = _read_table(folder / f"svd_fold{k}.parquet")
            bases.append(svd[rows_of(ids, found, f"svd_fold{k}")])
        return cls(ids, np.stack(bases), similarities)

    def _table(self, values: Float32Array) -> pd.DataFrame:
        table = pd.DataFrame(values, columns=[f"f{i}" for i in range(values.shape[1])])
        table.insert(0, "ID", self.ids.astype(object))
        return table


def _read_table(path: Path) -> tuple[StrArray, Float32Array]:
    table = pd.read_parquet(path)
    return table["ID"].to_numpy(dtype=np.str_), table.drop(columns="ID").to_numpy(np.float32)


def embed_cells(frames: FrameRows, backbone: Backbone, config: EmbedConfig, device: str, out: Float16Array) -> None:
    """Fill `out` (N, 3, cells, channels) with the embedding of every cell of every frame.

    Raises:
        ValueError: If an embedding leaves the range of float16.
    """

    def forward(batch: Tensor) -> Tensor:
        images = compute.single_images(batch)
        with compute.autocast(device, config.autocast):
            maps: Tensor = backbone(images)
        cells = maps.float().flatten(2).transpose(1, 2)  # (B * 3, cells, channels)
        return cells.reshape(len(batch), -1, *cells.shape[1:])

    backbone.eval()
    for rows, cells in compute.run_padded(forward, (frames,), config.inference_batch, device, "embed"):
        with np.errstate(over="ignore"):
            out[rows] = cells
        if not np.isfinite(out[rows]).all():
            raise ValueError(f"expected embeddings within float16, found up to {np.abs(cells).max():.3g}")


def cached_cells(
    samples: Samples, data_sha256: str, backbone: Backbone, config: EmbedConfig, device: str, threads: int, cache: Cache
) -> Float16Array:
    """Return (N, 3, cells, channels), memory-mapped; computed once per data, backbone, precision and machine kind."""
    settings = [config.backbone, weights_sha256(config), config.autocast, config.inference_batch, device, threads]
    sources = [Path(source).read_bytes() for source in _SOURCES]
    key = digests.sha256_of_records(
        [[digests.canonical_json([data_sha256, len(samples), settings])], [i.encode() for i in samples.ids], sources]
    )

    def make(path: Path) -> None:
        shape = (len(samples), 3, cell_count(backbone), backbone.channels)
        with path.open("wb") as file:
            cells = np.lib.format.open_memmap(file.name, mode="w+", dtype=np.float16, shape=shape)
        embed_cells(samples.frames, backbone, config, device, cells)
        cells.flush()

    return np.asanyarray(np.load(cache.get("embeddings", f"{key}.npy", make), mmap_mode="r"))


def weights_sha256(config: EmbedConfig) -> str:
    """Digest the weights that the backbone starts from."""
    return backbones.weights_sha256(config.backbone, config.seed)


def cell_count(backbone: Backbone) -> int:
    """Return the number of cells of a frame."""
    height, width = backbone.cells(64, 128)
    return height * width


def similarity(cells: Float16Array) -> Float32Array:
    """Compare neighbouring frames cell by cell.

    Args:
        cells: (N, 3, cells, channels).

    Returns:
        (N, cells * 2) cosines, cell after cell: t with t-0.5 s, then t-0.5 s with t-1.0 s; 0 where a cell is all zero.
    """
    out = np.empty((len(cells), cells.shape[2], 2), np.float32)
    for start in range(0, len(cells), 1024):
        c = cells[start : start + 1024].astype(np.float64)
        dot = (c[:, :-1] * c[:, 1:]).sum(axis=-1)
        norm = np.linalg.norm(c, axis=-1)
        product = norm[:, :-1] * norm[:, 1:]
        cosine = np.divide(dot, product, out=np.zeros_like(dot), where=product > 0)  # (N, 2, cells)
        out[start : start + 1024] = cosine.transpose(0, 2, 1)
    return out.reshape(len(cells), -1)


@dataclass(frozen=True)
class FoldEmbedding:
    """One fold's bases and its probe, fitted on the rows outside the fold."""

    components: Float32Array
    """(cells, components, channels) right singular vectors of the frame at t."""
    mean: FloatArray
    """(F,) of the features, for the probe."""
    scale: FloatArray
    """(F,) standard deviation of the features; 1 where they are constant."""
    coefficients: FloatArray
    """(F + W, 18) of what the probe says, per standardised feature, and per wave."""
    intercept: FloatArray
    """(18,) of the same."""
    directions: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    """(F, W) of the waves over the standardised features; none in files from before there were waves."""
    phases: FloatArray = field(default_factory=lambda: np.empty(0))
    """(W,) rad."""
    motion: FloatArray = field(default_factory=lambda: np.empty(0))
    """The numbers of the motion model to which the probe says the difference; none otherwise."""

    def features(self, cells: Float16Array) -> EmbeddingFeatures:
        """Project (N, 3, cells, channels) onto this fold's bases."""
        return EmbeddingFeatures(_project(cells, self.components), similarity(cells))

    def probe(self, features: EmbeddingFeatures) -> FloatArray:
        """Predict from the embedding alone the (N, 18) numbers that were fitted."""
        standard = (features.stacked() - self.mean) / self.scale
        return np.asarray(_with_waves(standard, self.directions, self.phases) @ self.coefficients + self.intercept)


def fit(
    cells: Float16Array, samples: Samples, targets_m: FloatArray, rows: IntArray, config: EmbedConfig
) -> FoldEmbedding:
    """Fit one fold's SVD per cell, the origin of its probe, and the probe, on these rows alone.

    Args:
        cells: (N, 3, cells, channels) of all training samples.
        samples: the N training samples.
        targets_m: (N, 18) metres, vehicle frame at t.
        rows: the training rows of the fold.
        config: of the probe.
    """
    origin = Origin.fit(config.target, config.by_speed, samples.signals.iloc[rows], targets_m[rows])
    difference, pace = origin.difference(samples.signals, targets_m), origin.pace(samples.signals)[:, 0]
    return replace(fit_fold(cells, difference, rows, samples.scenes, config, pace), motion=origin.motion)


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
        cells: (N, 3, cells, channels) of all training samples.
        targets: (N, 18) what the probe is to say.
        rows: the training rows of the fold.
        scenes: (N,) the scene of each sample, which the inner splits keep whole.
        config: components, penalties and seed.
        importance: (N,) for how much each sample's errors count; None for the same.
    """
    count = max(1, min(config.svd_components, cells.shape[3] - 1, len(rows) - 1))
    current = cells[rows, 0].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # the share of variance explained, where a cell has none
        bases = [
            TruncatedSVD(count, random_state=config.seed).fit(current[:, c]).components_
            for c in range(current.shape[1])
        ]
    components = np.stack(bases).astype(np.float32)
    features = EmbeddingFeatures(_project(cells, components), similarity(cells)).take(rows).stacked()
    mean, scale = mean_and_scale(features)
    directions, phases = _waves(features.shape[1], config.waves, config.seed)
    read = _with_waves((features - mean) / scale, directions, phases)
    counts = None if importance is None else importance[rows]
    ridge = _ridge(read, targets[rows], scenes[rows], config.ridge_alphas, counts)
    return FoldEmbedding(components, mean, scale, ridge.coef_.T.copy(), ridge.intercept_, directions, phases)


def _waves(features: int, count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Draw directions (F, W) and phases (W,): together they stand for a Gaussian kernel over the F features.

    Rahimi and Recht, Random Features for Large-Scale Kernel Machines, 2007.
    """
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1 / np.sqrt(features), (features, count)), rng.uniform(0, 2 * np.pi, count)


def _with_waves(standard: FloatArray, directions: FloatArray, phases: FloatArray) -> FloatArray:
    """Return (N, F + W): standardised features with their waves beside them."""
    if len(phases) == 0:
        return standard
    return np.hstack([standard, np.cos(standard @ directions + phases)])


def explained_variance(cells: Float16Array, components: Float32Array) -> FloatArray:
    """Return the share of each cell's variance, in the frame at t, that each component of its SVD explains.

    Args:
        cells: (N, 3, cells, channels).
        components: (cells, components, channels).

    Returns:
        (cells, components); zeros for a cell that never changes.
    """
    shares = np.zeros(components.shape[:2])
    for cell, basis in enumerate(components):
        current = cells[:, 0, cell].astype(np.float64)
        whole = current.var(axis=0).sum()
        if whole > 0:
            shares[cell] = (current @ basis.T.astype(np.float64)).var(axis=0) / whole
    return shares


def _project(cells: Float16Array, components: Float32Array) -> Float32Array:
    """Return (N, cells * components) of the frame at t, cell after cell."""
    # Float64 inside, so that a row's result does not depend on how many rows BLAS gets at once.
    parts = [cells[:, 0, c].astype(np.float64) @ basis.T.astype(np.float64) for c, basis in enumerate(components)]
    return np.hstack(parts).astype(np.float32)


def _ridge(
    features: FloatArray,
    targets: FloatArray,
    scenes: StrArray,
    alphas: tuple[float, ...],
    importance: FloatArray | None,
) -> Ridge | RidgeCV:
    """Choose the penalty by the MAE on whole scenes; with a single scene take the strongest."""
    splits = min(_INNER_SPLITS, len(np.unique(scenes)))
    if splits < 2:
        return Ridge(max(alphas)).fit(features, targets, importance)
    inner = list(GroupKFold(splits).split(features, groups=scenes))
    return RidgeCV(alphas, cv=inner, scoring="neg_mean_absolute_error").fit(features, targets, importance)


@dataclass(frozen=True)
class EmbedModel:
    """The backbone with the bases and probe of every fold: all that `embed` predicts with."""

    config: EmbedConfig
    backbone: Backbone
    folds: tuple[FoldEmbedding, ...]
    causal: bool = True

    def predict(self, fold: int, samples: Samples, features: EmbeddingFeatures) -> FloatArray:
        """Predict (N, 18) waypoints in metres, vehicle frame at t, with the probe of one fold."""
        probe = self.folds[fold]
        origin = Origin(self.config.target, self.config.by_speed, probe.motion)
        return origin.metres(samples.signals, probe.probe(features))

    def cells(self, samples: Samples, device: str) -> Float16Array:
        """Return (N, 3, cells, channels) embeddings."""
        shape = (len(samples), 3, cell_count(self.backbone), self.backbone.channels)
        out = np.empty(shape, np.float16)
        embed_cells(samples.frames, self.backbone, self.config, device, out)
        return out

    def save(self, folder: Path) -> None:
        """Write the backbone and each fold as safetensors."""
        state = {name: tensor.cpu().contiguous().numpy() for name, tensor in self.backbone.state_dict().items()}
        save_file(state, folder / "backbone.safetensors")
        for k, fold in enumerate(self.folds):
            save_file({name: np.ascontiguousarray(v) for name, v in vars(fold).items()}, folder / _fold_file(k))

    @classmethod
    def load(cls, config: EmbedConfig, files: Mapping[str, Path], device: str) -> Self:
        """Read what `save` wrote."""
        backbone = backbones.build(config.backbone, pretrained=False)
        state = {name: torch.from_numpy(v) for name, v in load_file(files["backbone.safetensors"]).items()}
        backbone.load_state_dict(state)
        folds = tuple(FoldEmbedding(**load_file(files[_fold_file(k)])) for k in range(len(files) - 1))
        return cls(config, backbone.to(device).freeze(), folds)


def _fold_file(k: int) -> str:
    return f"fold{k}.safetensors"
