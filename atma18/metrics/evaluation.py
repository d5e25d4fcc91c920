"""Test scores: predictions against withheld targets, joined on ID."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from atma18.metrics.scores import Score, parts, scores
from atma18.schema import TARGETS, FloatArray, StrArray, first_few, rows_of, split_id

TEST_TABLE = "test_features.csv"


def score_test(predicted_m: FloatArray, truth_m: FloatArray, ids: StrArray) -> list[Score]:
    """Score predictions of test samples over all samples, by axis, by horizon and by scene size.

    Args:
        predicted_m: (N, 18) metres, vehicle frame at t.
        truth_m: (N, 18) metres, vehicle frame at t.
        ids: (N,) sample IDs, which contain the scenes.
    """
    scenes = np.array([split_id(i)[0] for i in ids.tolist()])
    _, inverse, counts = np.unique(scenes, return_inverse=True, return_counts=True)
    return scores(predicted_m, truth_m, parts(counts[inverse]), scenes)


def table(found: Iterable[Score]) -> pd.DataFrame:
    """Return a table with one row per score."""
    return pd.DataFrame(
        {
            "by": score.part.by,
            "part": score.part.name,
            "samples": score.part.samples,
            "MAE m": score.mae_m,
            "95 % from": score.low_m,
            "to": score.high_m,
        }
        for score in found
    )


def read_targets(path: Path) -> tuple[StrArray, FloatArray]:
    """Read withheld targets: (N,) IDs and (N, 18) metres.

    Raises:
        ValueError: If the file is missing, has other columns, or holds a number that is not finite.
    """
    rows = _read(path)
    if "ID" not in rows:
        raise ValueError(f"{path}: expected a column ID, found {first_few(rows.columns)}")
    return rows["ID"].to_numpy(dtype=np.str_), _finite(path, rows)


def read_predictions(path: Path, targets: Path) -> tuple[StrArray, FloatArray]:
    """Read predictions: a table with IDs, or a submission with rows in the order of `test_features.csv`.

    Args:
        path: a .parquet or .csv file.
        targets: the file of the targets; `test_features.csv` in its folder gives the order of a submission.

    Returns:
        (N,) IDs and (N, 18) metres.

    Raises:
        ValueError: If a file is missing or does not fit.
    """
    predicted = _read(path)
    if "ID" in predicted:
        return predicted["ID"].to_numpy(dtype=np.str_), _finite(path, predicted)
    order = targets.parent / TEST_TABLE
    if not order.is_file():
        raise ValueError(f"{path}: expected a column ID, or {order} for the order of the rows, found neither")
    ids = pd.read_csv(order, usecols=["ID"], dtype=str)["ID"].to_numpy(dtype=np.str_)
    if len(ids) != len(predicted):
        raise ValueError(f"{path}: expected {len(ids)} rows as in {order}, found {len(predicted)}")
    return ids, _finite(path, predicted)


def aligned(ids: StrArray, predicted_ids: StrArray, predicted_m: FloatArray) -> FloatArray:
    """Return the predictions in the order of these IDs.

    Raises:
        ValueError: If an ID is missing, extra or repeated.
    """
    return predicted_m[rows_of(ids, predicted_ids, "predictions")]


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path}: expected a table, found no file")
    rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"ID": str})
    if missing := [name for name in TARGETS if name not in rows]:
        raise ValueError(f"{path}: expected the 18 targets, missing: {first_few(missing)}")
    return rows


def _finite(path: Path, rows: pd.DataFrame) -> FloatArray:
    values: FloatArray = rows[list(TARGETS)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        named = rows["ID"].iloc[bad] if "ID" in rows else bad + 1
        raise ValueError(f"{path}: expected finite numbers, found others at {first_few(named)}")
    return values
