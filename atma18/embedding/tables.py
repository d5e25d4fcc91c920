"""Tables of the samples' embeddings, joined on ID."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from atma18.schema import Float32Array, FloatArray, IntArray, StrArray, first_few, repeated, rows_of


@dataclass(frozen=True)
class EmbeddingFeatures:
    """Tabular features of the embedding of N samples, in the SVD basis of one fold."""

    svd: Float32Array
    """(N, cells * components) of the frame at t, ordered by cell; comparable within one fold's basis only."""
    similarity: Float32Array
    """(N, cells * 2) cosines, ordered by cell: t with t-0.5 s, then t-0.5 s with t-1.0 s."""

    def take(self, rows: IntArray) -> Self:
        """Return the features of these rows."""
        return type(self)(self.svd[rows], self.similarity[rows])

    def stacked(self) -> FloatArray:
        """Return (N, F): SVD components, then similarities."""
        return np.hstack([self.svd, self.similarity]).astype(np.float64)


@dataclass(frozen=True)
class EmbeddingTables:
    """The output of `embed`: every training and test sample, in the SVD basis of every fold."""

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
        """The number of cells per frame."""
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
        """Read the tables that `write` wrote."""
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
