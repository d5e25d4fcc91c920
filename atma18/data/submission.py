"""Submissions: predictions in the order of `test_features.csv`, copied atomically to the user's folder."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from atma18.data.dataset import Dataset
from atma18.schema import TARGETS, FloatArray, first_few, rows_of

SUBMISSION = "submission.csv"
SAMPLE_SUBMISSION = "atmaCup18__sample_submit.csv"


def submission_table(dataset: Dataset, test_m: FloatArray) -> pd.DataFrame:
    """Return the (M, 18) predictions in the order of `test_features.csv`, without IDs.

    Raises:
        ValueError: If the folder's sample submission has other columns or another number of rows.
    """
    rows = rows_of(dataset.submission_ids, dataset.test.ids, "submission")
    table = pd.DataFrame(test_m[rows], columns=list(TARGETS))
    sample = dataset.folder / SAMPLE_SUBMISSION
    if sample.is_file():
        expected = pd.read_csv(sample)
        if list(expected.columns) != list(table.columns) or len(expected) != len(table):
            raise ValueError(
                f"{sample}: expected {len(table)} rows of {first_few(table.columns)}, "
                f"found {len(expected)} rows of {first_few(expected.columns)}"
            )
    return table


def check_folder(folder: Path, names: Iterable[str]) -> None:
    """Check before any work that these files can be written to a folder.

    Raises:
        ValueError: If they cannot.
    """
    places = (folder.absolute(), *folder.absolute().parents)
    nearest = next(place for place in places if place.exists() or place.is_symlink())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise ValueError(
            f"{folder}: expected a folder that can be written into, found {nearest} in the way: name another"
        )
    if folders := [folder / name for name in names if (folder / name).is_dir()]:
        raise ValueError(f"{folder}: expected files in it, found {first_few(folders)} in the way: name another")


def deliver(copies: Mapping[Path, Path]) -> None:
    """Copy finished files to the user's folder atomically: a reader finds only complete files.

    Args:
        copies: the source path by target path.
    """
    beside = {target: target.with_name(f".{target.name}.{os.getpid()}") for target in copies}
    try:
        for target, source in copies.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, beside[target])
        for target, copy in beside.items():
            copy.replace(target)
    finally:
        for copy in beside.values():
            copy.unlink(missing_ok=True)
