"""Read a dataset folder: checked samples, targets, and one digest of everything that can change a prediction."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from atma18.cache import Cache
from atma18.data import frames, values
from atma18.data.lights import light_table, read_lights
from atma18.geometry.camera import COMPETITION_CAMERA, Camera
from atma18.schema import (
    ALWAYS_PRESENT,
    CAN_SIGNALS,
    GEAR,
    SPLITS,
    TARGETS,
    FloatArray,
    FrameRows,
    Samples,
    StrArray,
    UInt8Array,
    canonical_order,
    first_few,
    is_id,
    one_line,
    repeated,
    shown,
    split_id,
)
from atma18.storage import csv_tables, reading
from atma18.storage.digests import data_sha256

DEMO = "demo"
CAMERA = "camera.json"
LIGHTS = "traffic_lights"


@dataclass(frozen=True)
class Dataset:
    """Training samples with targets, and test samples, of one folder."""

    folder: Path
    train: Samples
    """N samples in canonical order."""
    targets_m: FloatArray
    """(N, 18) waypoints in metres, vehicle frame at t."""
    test: Samples
    """M samples in canonical order."""
    submission_ids: StrArray
    """(M,) test IDs in the order of `test_features.csv`."""
    camera: Camera
    absent: tuple[str, ...]
    """Sensors that are missing in this dataset."""
    sha256: str
    """`data_sha256`: it changes with the content, not with the format of files."""
    unread_columns: tuple[str, ...] = ()
    """The columns of its tables that nobody reads."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """By scene, the first scene with the same frames, where there is one: it is the same drive under two names."""

    @classmethod
    def open(cls, data: str, cache: Cache, *, verify: bool = False, test_alone: bool = False) -> Self:
        """Read and check a dataset folder, or the demo drives.

        Args:
            data: a folder in the competition's layout, or `demo`.
            cache: the cache for decoded frames and demo drives.
            verify: decode every frame again even if its file seems unchanged.
            test_alone: accept a folder without `train_features.csv`, which has no training samples.

        Raises:
            ValueError: If the folder breaks the contract; the message names the first errors.
        """
        folder = demo_folder(cache) if data == DEMO else _named_folder(data)
        root = folder.resolve()
        tables = _read_tables(folder, root, test_alone=test_alone)
        ids = {split: _checked_ids(folder, split, table) for split, table in tables.items()}
        _check_apart(ids)
        signals = _Signals.parse(folder, tables)
        has_lights = _is_there(folder / LIGHTS, root, Path.is_dir, "a folder")
        lights = read_lights(folder / LIGHTS, [*ids["test"], *ids["train"]], root) if has_lights else None
        reading.check_link(folder / "images", root)
        has_camera = _is_there(folder / CAMERA, root, Path.is_file, "a file")
        own_camera = Camera.read(folder / CAMERA, root) if has_camera else None
        splits, hashes = {}, {}
        for split in SPLITS:
            order = canonical_order(ids[split])
            ordered = ids[split][order]
            store = frames.open_store(folder / "images", ordered, cache, verify=verify, root=root)
            hashes[split] = store.sha256
            splits[split] = Samples(
                ids=ordered,
                signals=signals.numeric[split].iloc[order].reset_index(drop=True),
                gear=None if signals.gear is None else signals.gear[split][order],
                traffic_lights=None if lights is None else light_table({i: lights[i] for i in ordered.tolist()}),
                frames=FrameRows.of(store.frames, own_camera),
            )
        targets = _targets(folder, tables["train"])[canonical_order(ids["train"])]
        return cls(
            folder=folder,
            train=splits["train"],
            targets_m=targets,
            test=splits["test"],
            submission_ids=ids["test"],
            camera=own_camera or COMPETITION_CAMERA,
            absent=signals.absent + (() if lights is not None else (LIGHTS,)),
            sha256=data_sha256(splits, hashes, targets, lights, own_camera and own_camera.to_json_dict()),
            unread_columns=_unread(tables),
            twins=_twins(splits, hashes),
        )


def _named_folder(data: str) -> Path:
    """Return the path of the named folder, which may not exist."""
    if "://" in data:
        raise ValueError(
            f"expected a dataset folder of this machine, or {DEMO}, found {one_line(data)}: fetch it first"
        )
    try:
        folder = Path(data).expanduser()
        folder.lstat()
    except FileNotFoundError:
        pass  # reported for the first file that is read
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, or the home of an unknown user
        raise ValueError(f"expected a dataset folder, or {DEMO}, found {shown(data)}: name another") from error
    if not data.isprintable():
        raise ValueError(f"expected a dataset folder whose name can be printed, found {shown(data)}: rename it")
    return folder


def demo_folder(cache: Cache) -> Path:
    """Return the folder of the simulated demo drives, made on first use and again when the simulator changes."""
    from atma18 import simulate  # a version of a model predicts without it

    workers = os.cpu_count() or 1
    return cache.get(
        "demo", simulate.source_sha256()[:16], lambda path: simulate.write_folder(path, simulate.DEMO, workers)
    )


def _is_there(path: Path, root: Path, is_right: Callable[[Path], bool], what: str) -> bool:
    """Return whether an optional file or folder exists; a path of another type, or a dead link, is an error."""
    reading.check_link(path, root)
    if not is_right(path) and (path.exists() or path.is_symlink()):
        raise ValueError(f"{path}: expected {what} or nothing, found something else: mend or remove it")
    return is_right(path)


def _read_tables(folder: Path, root: Path, *, test_alone: bool) -> dict[str, pd.DataFrame]:
    """Read the table of each split; with `test_alone`, a missing training table becomes an empty one."""
    test, train = (folder / f"{split}_features.csv" for split in SPLITS)
    tested = _read_table(test, root)
    if test_alone and not _is_there(train, root, Path.is_file, "a file"):
        columns = dict.fromkeys([*tested.columns, *TARGETS])
        return {"test": tested, "train": pd.DataFrame(columns=list(columns), dtype=str)}
    return {"test": tested, "train": _read_table(train, root)}


def _read_table(path: Path, root: Path) -> pd.DataFrame:
    reading.check_link(path, root)
    if not path.parent.exists():
        raise ValueError(
            f"{path.parent}: expected a dataset folder, found none: name a folder that is there, or {DEMO}"
        )
    if not path.exists():
        raise ValueError(
            f"{path}: expected this file in the dataset folder, found none: name a folder in the competition's layout, "
            f"or {DEMO}"
        )
    table = csv_tables.parse(reading.read_bytes(path, root, csv_tables.MOST_BYTES), str(path))
    wanted = ["ID", ALWAYS_PRESENT] + (list(TARGETS) if path.name.startswith("train") else [])
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ValueError(
            f"{path}: expected the columns {first_few(missing, 18)}, found {first_few(table.columns, 40)}: add them"
        )
    if table.empty:
        raise ValueError(f"{path}: expected at least one sample, found none: add drives to this split")
    return table


def _checked_ids(folder: Path, split: str, table: pd.DataFrame) -> StrArray:
    ids = table["ID"].tolist()
    path = folder / f"{split}_features.csv"
    if wrong := [shown(given) for given in ids if not is_id(given)]:
        raise ValueError(
            f"{path}: expected IDs like <scene>_<decisecond>, for example 0a7d_320 (letters, digits, - and _ name a "
            f"scene, and a whole number without leading zeros the time), found {first_few(wrong)}: rename these samples"
        )
    if again := repeated(ids):
        raise ValueError(f"{path}: expected each ID once, found repeated: {first_few(again)}: keep one row of each")
    return np.array(ids, dtype=np.str_)  # only after the check, since it drops trailing NULs


def _check_apart(ids: dict[str, StrArray]) -> None:
    train, test = ({split_id(i)[0] for i in ids[split].tolist()} for split in SPLITS)
    if both := sorted(train & test):
        raise ValueError(
            f"expected each scene in train_features.csv or in test_features.csv, found {len(both)} in both: "
            f"{first_few(both)}: keep each in one, or its test samples are known from training"
        )


@dataclass(frozen=True)
class _Signals:
    numeric: dict[str, pd.DataFrame]
    gear: dict[str, StrArray] | None
    absent: tuple[str, ...]

    @classmethod
    def parse(cls, folder: Path, tables: dict[str, pd.DataFrame]) -> Self:
        """Parse the sensors of the dataset; a missing value in one of them is an error."""
        present = [
            name
            for name in (*CAN_SIGNALS, GEAR)
            if any(name in table and not values.are_empty(table[name]).all() for table in tables.values())
        ]
        if ALWAYS_PRESENT not in present:
            raise ValueError(f"{folder}: expected values of {ALWAYS_PRESENT}, found an empty column")
        for split, table in tables.items():
            for name in present:
                _check_no_hole(folder / f"{split}_features.csv", table, name)
        numeric = {
            split: pd.DataFrame(
                {name: _parse_column(folder / f"{split}_features.csv", table, name) for name in present if name != GEAR}
            )
            for split, table in tables.items()
        }
        gear = (
            {split: _parse_gear(folder, split, table) for split, table in tables.items()} if GEAR in present else None
        )
        return cls(numeric, gear, tuple(name for name in (*CAN_SIGNALS, GEAR) if name not in present))


def _check_no_hole(path: Path, table: pd.DataFrame, name: str) -> None:
    if name not in table:
        raise ValueError(
            f"{path}: expected the column {name}, which the other split has, found none: add it, or take it from both "
            "(an absent sensor)"
        )
    holes = table["ID"][values.are_empty(table[name])]
    if len(holes):
        raise ValueError(
            f"{path}: expected a value of {name} in every row, found holes at {first_few(holes)}: fill them, drop "
            "these rows, or empty the column in both files (an absent sensor)"
        )


def _parse_column(path: Path, table: pd.DataFrame, name: str) -> FloatArray:
    try:
        return values.parse(name, table["ID"].tolist(), table[name].tolist())
    except ValueError as error:
        raise ValueError(f"{path}: {error}: mend or drop these rows") from error


def _parse_gear(folder: Path, split: str, table: pd.DataFrame) -> StrArray:
    try:
        return values.parse_gears(table["ID"].tolist(), table[GEAR].tolist())
    except ValueError as error:
        raise ValueError(f"{folder / f'{split}_features.csv'}: {error}: rename them") from error


def _unread(tables: Mapping[str, pd.DataFrame]) -> tuple[str, ...]:
    columns = dict.fromkeys(name for table in tables.values() for name in table.columns)
    return tuple(name for name in columns if name not in ("ID", *CAN_SIGNALS, GEAR, *TARGETS))


def _twins(splits: Mapping[str, Samples], hashes: Mapping[str, UInt8Array]) -> dict[str, str]:
    """Return by scene the first scene that has the frames of at least half of its samples; training comes first."""
    first: dict[bytes, str] = {}
    shared: dict[str, Counter[str]] = {}
    sizes: Counter[str] = Counter()
    for split in reversed(SPLITS):
        samples = splits[split]
        for row, (scene, frames_sha256) in enumerate(zip(samples.scenes.tolist(), hashes[split], strict=True)):
            sizes[scene] += 1
            other = first.setdefault(frames_sha256.tobytes(), scene)
            if other != scene and samples.frames[row : row + 1].std():  # a black frame is no sign of anything
                shared.setdefault(scene, Counter())[other] += 1
    most = {scene: others.most_common(1)[0] for scene, others in shared.items()}
    return {scene: other for scene, (other, count) in most.items() if 2 * count >= sizes[scene]}


def _targets(folder: Path, table: pd.DataFrame) -> FloatArray:
    path = folder / "train_features.csv"
    columns: list[FloatArray] = [_parse_column(path, table, name) for name in TARGETS]
    return np.column_stack(columns)
