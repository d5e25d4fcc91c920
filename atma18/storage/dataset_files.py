"""The files of a dataset folder in the competition's layout, as they are written."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from atma18.schema import FRAME_FILES, GEAR, TARGETS, UInt8Array

FEATURE_COLUMNS = (
    *("ID", "vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "brakePressed", "gas", "gasPressed"),
    *(GEAR, "leftBlinker", "rightBlinker"),
)
"""The columns of `test_features.csv` in the published order; `train_features.csv` has the targets after them."""

Row = dict[str, object]
"""ID, signals and targets of a sample."""


def as_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as a table with the published columns."""
    return pd.DataFrame(rows, columns=[*FEATURE_COLUMNS, *TARGETS])


def write_tables(folder: Path, rows: Mapping[str, Sequence[Row]]) -> None:
    """Write the tables of the splits, sorted by ID, and the withheld targets of test as `test_targets.csv`.

    Args:
        folder: the dataset folder.
        rows: the rows of `train` and `test`; without rows, a split has no tables.
    """
    tables = {split: as_table(list(found)).sort_values("ID", ignore_index=True) for split, found in rows.items()}
    if len(train := tables["train"]):
        train.to_csv(folder / "train_features.csv", index=False)
    if len(test := tables["test"]):
        test[list(FEATURE_COLUMNS)].to_csv(folder / "test_features.csv", index=False)
        test[["ID", *TARGETS]].to_csv(folder / "test_targets.csv", index=False)


def write_frames(folder: Path, sample_id: str, frames: Sequence[UInt8Array] | UInt8Array) -> None:
    """Write the frames of a sample at t, t-0.5 s and t-1.0 s, each (64, 128, 3) RGB; they appear together."""
    place = folder / "images" / sample_id
    unfinished = place.with_name(f".{sample_id}.unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    for name, frame in zip(FRAME_FILES, frames, strict=True):
        Image.fromarray(frame).save(unfinished / name, compress_level=1)
    if place.exists():
        shutil.rmtree(place)
    unfinished.rename(place)
