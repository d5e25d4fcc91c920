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
    """(N, cells * components) of the image at t, ordered by cell; comparable within one fold's basis only."""
    similarity: Float32Array
    """(N, cells * 2) cosines, ordered by cell: t with t-0.5 s, then t-0.5 s with t-1.0 s. (N, 0) of single grids."""

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
    """(N, cells * 2), or (N, 0)"""
    cells: int
    """The number of cells of a frame, or of a grid."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.svd.ndim != 3 or self.svd.shape[1] != n or len(self.similarity) != n:
            raise ValueError(f"expected {n} rows, found svd {self.svd.shape} and similarity {self.similarity.shape}")
        if again := repeated(self.ids):
            raise ValueError(f"embedding: expected each ID once, found repeated: {first_few(again)}")
        if not (np.isfinite(self.svd).all() and np.isfinite(self.similarity).all()):
            raise ValueError("embedding: expected finite features, found others")

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
            self._table(svd, "component").to_parquet(folder / f"svd_fold{k}.parquet", index=False)
        self._table(self.similarity, "pair").to_parquet(folder / "similarity.parquet", index=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the tables that `write` wrote."""
        ids, similarities = _read_table(folder / "similarity.parquet")
        bases, cells = [], 0
        for k in range(len(list(folder.glob("svd_fold*.parquet")))):
            found, svd = _read_table(folder / f"svd_fold{k}.parquet")
            bases.append(svd.to_numpy(np.float32)[rows_of(ids, found, f"svd_fold{k}")])
            cells = len({name.split("_")[0] for name in svd.columns})
        # Old tables do not name the cells, but they have both similarities of each.
        cells = similarities.shape[1] // 2 or cells
        return cls(ids, np.stack(bases), similarities.to_numpy(np.float32), cells)

    def _table(self, values: Float32Array, what: str) -> pd.DataFrame:
        """Return a table whose columns name the cell, such as `cell0_component1`."""
        each = values.shape[1] // self.cells
        columns = [f"cell{cell}_{what}{number}" for cell in range(self.cells) for number in range(each)]
        table = pd.DataFrame(values, columns=columns)
        table.insert(0, "ID", self.ids.astype(object))
        return table


def _read_table(path: Path) -> tuple[StrArray, pd.DataFrame]:
    table = pd.read_parquet(path)
    return table["ID"].to_numpy(dtype=np.str_), table.drop(columns="ID")
