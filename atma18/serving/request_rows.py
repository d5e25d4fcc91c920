"""Requests: parse rows of raw inputs into samples, and return predictions as rows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from atma18.bundle.servable import Sensors
from atma18.data.dataset import LIGHTS
from atma18.data.frames import decode
from atma18.data.lights import light_table, parse_lights
from atma18.schema import (
    FLAG_SIGNALS,
    FRAME_FILES,
    GEAR,
    GEARS,
    LARGEST_SIGNAL,
    TARGETS,
    FloatArray,
    FrameRows,
    Samples,
    StrArray,
    UInt8Array,
    canonical_order,
    first_few,
    is_id,
    repeated,
    rows_of,
    shown,
)

FRAMES = tuple(name.removesuffix(".png") for name in FRAME_FILES)
MOST_ROWS = 4096
"""Largest number of rows. Decoded frames take 74 kB per row, twice while they are joined: 600 MB in all."""


def columns(sensors: Sensors) -> list[str]:
    """Return the columns of a request: ID, CAN signals, gear, traffic lights as JSON text, three PNG files as bytes."""
    return ["ID", *sensors.signals, *[GEAR] * sensors.gear, *[LIGHTS] * sensors.lights, *FRAMES]


def raw_rows(samples: Samples, folder: Path) -> pd.DataFrame:
    """Return N samples of a dataset folder as request rows: signals, PNG bytes and the traffic lights' JSON text."""
    rows = samples.signals.astype({name: bool for name in FLAG_SIGNALS if name in samples.signals})
    if samples.gear is not None:
        rows[GEAR] = samples.gear.astype(object)
    ids = samples.ids.tolist()
    if samples.traffic_lights is not None:
        rows[LIGHTS] = [(folder / LIGHTS / f"{i}.json").read_text() for i in ids]
    frames = {name: [(folder / "images" / i / f"{name}.png").read_bytes() for i in ids] for name in FRAMES}
    return rows.assign(ID=ids, **frames)


def parse(request: pd.DataFrame, sensors: Sensors) -> Samples:
    """Parse a request of N rows, in any order.

    Raises:
        ValueError: If there are too many rows, a column is missing or repeated, an ID is invalid or repeated, a signal
            is not a possible number, or a PNG or JSON text is broken.
    """
    wanted = columns(sensors)
    if missing := [name for name in wanted if name not in request]:
        raise ValueError(f"expected the columns {', '.join(wanted)}; missing: {', '.join(missing)}")
    if again := [name for name in wanted if list(request.columns).count(name) > 1]:
        raise ValueError(f"expected each column once, repeated: {', '.join(again)}")
    table = request[wanted].iloc[canonical_order(_ids(request))].reset_index(drop=True)
    return Samples(
        ids=table["ID"].to_numpy(dtype=np.str_),
        signals=_signals(table, sensors.signals),
        gear=_gear(table) if sensors.gear else None,
        traffic_lights=_lights(table) if sensors.lights else None,
        frames=FrameRows.of(np.stack([[_frame(row, name) for name in FRAMES] for _, row in table.iterrows()])),
    )


def answer(request: pd.DataFrame, samples: Samples, predicted_m: FloatArray) -> pd.DataFrame:
    """Return the (N, 18) predictions with their IDs, in the order of the request."""
    rows = rows_of(request["ID"].to_numpy(dtype=np.str_), samples.ids, "predictions")
    table = pd.DataFrame(predicted_m[rows], columns=list(TARGETS))
    table.insert(0, "ID", request["ID"].to_numpy())
    return table


def _ids(request: pd.DataFrame) -> list[str]:
    """Return the ID of each row as Python text, because an array would drop trailing NULs."""
    if len(request) > MOST_ROWS:
        raise ValueError(f"expected at most {MOST_ROWS:,} rows, found {len(request):,}: send several requests")
    ids = request["ID"].tolist()
    if wrong := [shown(given) for given in ids if not (isinstance(given, str) and is_id(given))]:
        raise ValueError(f"expected an ID like <scene>_<decisecond>, for example 0a7d_320, found {first_few(wrong)}")
    if not ids or repeated(ids):
        raise ValueError(f"expected at least one row and each ID once, repeated: {first_few(repeated(ids)) or 'none'}")
    return ids


def _signals(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    signals = pd.DataFrame({name: [_number(value) for value in table[name].tolist()] for name in names}, dtype=float)
    finite = signals.map(np.isfinite)
    if not finite.all(axis=None):
        raise ValueError(f"expected finite signals, found others at {_where(table, ~finite)}")
    possible = signals.abs() <= LARGEST_SIGNAL
    flags = [name for name in names if name in FLAG_SIGNALS]
    possible[flags] = signals[flags].isin((0, 1))
    if not possible.all(axis=None):
        raise ValueError(
            f"expected signals within ±{LARGEST_SIGNAL:.0e}, and of {', '.join(FLAG_SIGNALS)} true or false, "
            f"found others at {_where(table, ~possible)}"
        )
    return signals


def _where(table: pd.DataFrame, wrong: pd.DataFrame) -> str:
    """Name the first samples with wrong values, and the values."""
    rows = zip(table["ID"], wrong.to_numpy(), strict=True)
    return first_few(f"{sample_id} ({', '.join(wrong.columns[row])})" for sample_id, row in rows if row.any())


def _number(value: object) -> float:
    """Return a number or a flag as a float, and NaN for anything else."""
    try:
        return float(value) if isinstance(value, int | float | np.integer | np.floating | np.bool_) else np.nan
    except OverflowError:  # an integer too large for a float
        return np.nan


def _frame(row: pd.Series, name: str) -> UInt8Array:
    if not isinstance(row[name], bytes):
        raise ValueError(f"{row['ID']}/{name}: expected the bytes of a PNG file, found {type(row[name]).__name__}")
    return decode(row[name], f"{row['ID']}/{name}")


def _gear(table: pd.DataFrame) -> StrArray:
    known = [isinstance(gear, str) and gear in GEARS for gear in table[GEAR].tolist()]
    if not all(known):
        unknown = table.loc[~np.array(known), "ID"]
        raise ValueError(f"expected a {GEAR} of {', '.join(GEARS)}, found others at {first_few(unknown)}")
    return table[GEAR].to_numpy(dtype=np.str_)


def _lights(table: pd.DataFrame) -> pd.DataFrame:
    texts = zip(table["ID"], table[LIGHTS], strict=True)
    return light_table({sample_id: parse_lights(text, f"{sample_id}: {LIGHTS}") for sample_id, text in texts})
