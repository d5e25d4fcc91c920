"""Folds of whole scenes, stratified by driving behaviour and scene size; made once, then written and hashed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from atma18.schema import FloatArray, IntArray, StrArray, first_few, repeated, rows_of, split_id

MAX_CLUSTERS = 8
MIN_SCENES_FOR_HOLDOUT = 6


def make_folds(ids: StrArray, scenes: StrArray, signals: pd.DataFrame, count: int, seed: int) -> IntArray:
    """Assign scenes to folds, stratified by cluster of driving behaviour and by scene size.

    The result for an ID depends on the set of rows, never on their order.

    Args:
        ids: (N,) sample IDs, unique.
        scenes: (N,) the scene of each sample.
        signals: (N, number of signals) float64, finite, rows as in `ids`.
        count: number of folds, at least 2.
        seed: seed of the clusters and of the assignment.

    Returns:
        (N,) fold of each sample, 0 … count-1; the folds' numbers of scenes differ by at most 1.

    Raises:
        ValueError: If an ID is repeated, there are fewer than 2 folds, or fewer scenes than folds.
    """
    if again := repeated(ids):
        raise ValueError(f"folds: expected each ID once, found repeated: {first_few(again)}")
    names, inverse, sizes = np.unique(scenes, return_inverse=True, return_counts=True)
    if count < 2 or len(names) < count:
        raise ValueError(
            f"expected at least 2 folds and a scene for each, found {count} folds and {len(names)} scenes: "
            f"{_possible_counts(len(names))}"
        )
    order = np.lexsort((ids, scenes))  # sums in floating point, and k-means, depend on the order of rows
    features = _scene_features(inverse[order], signals.to_numpy(np.float64)[order])
    clusters = _clusters(features, min(MAX_CLUSTERS, len(names) // count), seed)
    return _deal(clusters, sizes, count, seed)[inverse]


def _possible_counts(scenes: int) -> str:
    if scenes < 2:
        return "add drives: two training scenes are the least"
    return f"ask for {'2' if scenes == 2 else f'2 to {scenes}'} folds or add drives"


def _scene_features(scene: IntArray, signals: FloatArray) -> FloatArray:
    """Return (S, 2 * number of signals): mean and standard deviation per scene, standardised over scenes."""
    grouped = pd.DataFrame(signals).groupby(scene)
    features = np.hstack([grouped.mean().to_numpy(), grouped.std(ddof=0).to_numpy()])
    spread = features.std(axis=0)
    # A signal that varies less than its rounding error is constant, and must not be scaled to unit variance.
    rounding = 1e-9 * np.tile(np.abs(signals).max(axis=0), 2)
    centred = features - features.mean(axis=0)
    standardised = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > rounding)
    return np.asarray(standardised.round(4))  # smaller differences between scenes are rounding errors


def _clusters(features: FloatArray, count: int, seed: int) -> IntArray:
    from sklearn.cluster import KMeans

    distinct = len(np.unique(features, axis=0))
    with threadpool_limits(limits=1):  # with more threads, the order of sums varies
        fitted = KMeans(min(count, distinct), random_state=seed, n_init=10).fit(features)
    return np.asarray(fitted.labels_, dtype=np.int64)


def _deal(clusters: IntArray, sizes: IntArray, count: int, seed: int) -> IntArray:
    """Return the (S,) fold of each scene: scenes sorted by stratum, each `count` in a row in different folds."""
    rng = np.random.default_rng(seed)
    line = np.lexsort((rng.random(len(sizes)), sizes, clusters))
    blocks = np.tile(np.arange(count), (-(-len(sizes) // count), 1))
    folds = np.empty(len(sizes), dtype=np.int64)
    folds[line] = rng.permuted(blocks, axis=1).ravel()[: len(sizes)]
    return folds


@dataclass(frozen=True)
class Folds:
    """The fold of each training sample; whole scenes in one fold, folds numbered from 0, none empty."""

    ids: StrArray
    """(N,) unique."""
    fold: IntArray
    """(N,) 0 … count-1."""

    def __post_init__(self) -> None:
        if self.fold.shape != self.ids.shape:
            raise ValueError(f"folds: expected a fold for each of {self.ids.shape} IDs, found {self.fold.shape}")
        if again := repeated(self.ids):
            raise ValueError(f"folds: expected each ID once, found repeated: {first_few(again)}")
        present = np.unique(self.fold)
        if len(present) < 2 or not np.array_equal(present, np.arange(len(present))):
            raise ValueError(f"folds: expected 0 … K-1 with K of at least 2 and none empty, found {present.tolist()}")
        scenes = [split_id(i)[0] for i in self.ids.tolist()]
        pairs = sorted(set(zip(scenes, self.fold.tolist(), strict=True)))
        if split := repeated([scene for scene, _ in pairs]):
            raise ValueError(f"folds: expected each scene in one fold, found in several: {first_few(split)}")

    @property
    def count(self) -> int:
        """The number of folds."""
        return int(self.fold.max()) + 1

    @property
    def sha256(self) -> str:
        """The SHA-256 of the mapping from ID to fold; it does not depend on the order of rows."""
        digest = hashlib.sha256()
        for sample_id, k in sorted(zip(self.ids.tolist(), self.fold.tolist(), strict=True)):
            for field in (sample_id.encode(), str(k).encode()):
                digest.update(len(field).to_bytes(8, "little") + field)
        return digest.hexdigest()

    def of(self, ids: StrArray) -> IntArray:
        """Return the (N,) fold of each of these IDs.

        Raises:
            ValueError: If an ID is missing, extra or repeated.
        """
        return self.fold[rows_of(ids, self.ids, "folds")]

    def write(self, path: Path) -> None:
        """Write a parquet table with the columns ID and fold."""
        pd.DataFrame({"ID": self.ids.astype(object), "fold": self.fold}).to_parquet(path, index=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table of folds.

        Raises:
            ValueError: If a column is missing or the table breaks a rule of this class.
        """
        table = pd.read_parquet(path)
        if missing := {"ID", "fold"} - set(table.columns):
            raise ValueError(f"{path}: expected the columns ID and fold, found {list(table.columns)}, not {missing}")
        if table["fold"].dtype.kind != "i":
            raise ValueError(f"{path}: expected whole numbers in column fold, found {table['fold'].dtype}")
        return cls(table["ID"].to_numpy(dtype=np.str_), table["fold"].to_numpy(np.int64))


def held_out_scenes(scenes: StrArray, seed: int, part: int = 0, parts: int = 1) -> NDArray[np.bool_] | None:
    """Choose held-out scenes of a training part for early stopping: a tenth, or less with more parts; at least 2.

    Args:
        scenes: (N,) the scene of each training sample.
        seed: seed of the choice, which depends on the set of scenes, not on the order of rows.
        part: index of the part; no scene is in two of them.
        parts: number of disjoint parts.

    Returns:
        (N,) True for held-out samples; None below 6 scenes, which are too few to hold any out.

    Raises:
        ValueError: If there are too few scenes for so many parts.
    """
    names = np.unique(scenes)
    if len(names) < MIN_SCENES_FOR_HOLDOUT:
        return None
    size = max(2, len(names) // max(10, parts))
    if parts * size > len(names):
        raise ValueError(
            f"expected at most {len(names) // size} parts of {len(names)} training scenes, found {parts}: "
            "ask for fewer bags or add drives"
        )
    chosen = np.random.default_rng(seed).permutation(names)[part * size : (part + 1) * size]
    return np.isin(scenes, chosen)
