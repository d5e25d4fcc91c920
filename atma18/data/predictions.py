"""Predictions: the table that steps exchange, checked when it is made and when it is read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from atma18.schema import TARGETS, FloatArray, IntArray, StrArray, first_few, repeated, rows_of


@dataclass(frozen=True)
class Predictions:
    """The predictions of a step: out-of-fold for training samples, and of each fold's model for test samples."""

    train_ids: StrArray
    """(N,)"""
    folds: IntArray
    """(N,) the fold whose model predicted the sample; that model was not trained on the sample's scene."""
    oof_m: FloatArray
    """(N, 18) metres, vehicle frame at t."""
    test_ids: StrArray
    """(M,)"""
    test_by_fold_m: FloatArray
    """(K, M, 18) metres, vehicle frame at t."""

    def __post_init__(self) -> None:
        n, m, targets = len(self.train_ids), len(self.test_ids), len(TARGETS)
        k = int(self.folds.max()) + 1 if n else 0
        shapes = (self.folds.shape, self.oof_m.shape, self.test_by_fold_m.shape)
        if shapes != ((n,), (n, targets), (k, m, targets)):
            raise ValueError(f"expected shapes {((n,), (n, targets), (k, m, targets))}, found {shapes}")
        for what, ids in (("oof", self.train_ids), ("test", self.test_ids)):
            if again := repeated(ids):
                raise ValueError(f"{what}: expected each ID once, found repeated: {first_few(again)}")
        self._check_finite("oof", self.train_ids, self.oof_m)
        for k, values in enumerate(self.test_by_fold_m):
            self._check_finite(f"test, fold {k}", self.test_ids, values)

    @staticmethod
    def _check_finite(what: str, ids: StrArray, values: FloatArray) -> None:
        bad = ids[~np.isfinite(values).all(axis=1)]
        if len(bad):
            raise ValueError(f"{what}: expected finite predictions, found others for {first_few(bad.tolist())}")

    @property
    def test_m(self) -> FloatArray:
        """(M, 18) the mean over the fold models, metres."""
        return np.asarray(self.test_by_fold_m.mean(axis=0))

    def aligned(self, train_ids: StrArray, test_ids: StrArray, what: str) -> Self:
        """Return the same predictions with rows in the order of these IDs.

        Raises:
            ValueError: If an ID is missing or extra; `what` names the predictions in the message.
        """
        train = rows_of(train_ids, self.train_ids, f"{what}, oof")
        test = rows_of(test_ids, self.test_ids, f"{what}, test")
        return replace(
            self,
            train_ids=train_ids,
            folds=self.folds[train],
            oof_m=self.oof_m[train],
            test_ids=test_ids,
            test_by_fold_m=self.test_by_fold_m[:, test],
        )

    def write(self, folder: Path) -> None:
        """Write `oof.parquet`, `test.parquet` and `test_by_fold.parquet`."""
        folder.mkdir(parents=True, exist_ok=True)
        prediction_table(self.train_ids, self.oof_m, fold=self.folds).to_parquet(folder / "oof.parquet", index=False)
        prediction_table(self.test_ids, self.test_m).to_parquet(folder / "test.parquet", index=False)
        by_fold = [
            prediction_table(self.test_ids, m, fold=np.full(len(self.test_ids), k))
            for k, m in enumerate(self.test_by_fold_m)
        ]
        pd.concat(by_fold).to_parquet(folder / "test_by_fold.parquet", index=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the three tables.

        Raises:
            ValueError: If a table breaks a rule, or `test.parquet` is not the mean of `test_by_fold.parquet`.
        """
        oof, test = _read(folder / "oof.parquet", "fold"), _read(folder / "test.parquet")
        by_fold = _read(folder / "test_by_fold.parquet", "fold")
        test_ids = _ids(test)
        labels = sorted(set(by_fold["fold"]))
        if labels != sorted(set(oof["fold"])) or labels != list(range(len(labels))) or not labels:
            raise ValueError(f"{folder}: expected the folds 0 … K-1 in oof and test_by_fold, found {labels}")
        parts = [by_fold[by_fold["fold"] == k] for k in labels]
        rows = [rows_of(test_ids, _ids(part), f"test_by_fold, fold {k}") for k, part in enumerate(parts)]
        stacked = [_values(part)[order] for part, order in zip(parts, rows, strict=True)]
        read = cls(_ids(oof), oof["fold"].to_numpy(np.int64), _values(oof), test_ids, np.stack(stacked))
        if not np.allclose(read.test_m, _values(test), rtol=0, atol=1e-9):
            raise ValueError(f"{folder / 'test.parquet'} is not the mean over folds of test_by_fold.parquet")
        return read


def prediction_table(ids: StrArray, values: FloatArray, fold: IntArray | None = None) -> pd.DataFrame:
    """Return (N, 18) predictions as a table: ID, the fold if there is one, 18 targets."""
    table = pd.DataFrame(values, columns=list(TARGETS))
    if fold is not None:
        table.insert(0, "fold", fold)
    table.insert(0, "ID", ids.astype(object))
    return table


def _read(path: Path, *columns: str) -> pd.DataFrame:
    table = pd.read_parquet(path)
    if missing := [name for name in ("ID", *columns, *TARGETS) if name not in table]:
        raise ValueError(
            f"{path}: expected {', '.join(('ID', *columns))} and 18 targets, missing: {first_few(missing)}"
        )
    return table


def _ids(table: pd.DataFrame) -> StrArray:
    return table["ID"].to_numpy(dtype=np.str_)


def _values(table: pd.DataFrame) -> FloatArray:
    return table[list(TARGETS)].to_numpy(dtype=np.float64)
