"""Requests: parse rows of raw inputs into samples, and return predictions as rows."""

import binascii
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from atma18.bundle.servable import Sensors
from atma18.data import values
from atma18.data.dataset import LIGHTS
from atma18.data.frames import decode, encode
from atma18.data.lights import light_table, light_text, parse_lights
from atma18.schema import (
    FLAG_SIGNALS,
    FRAME_FILES,
    GEAR,
    OUTSIDE,
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
    rows = _can_rows(samples)
    ids = samples.ids.tolist()
    if samples.traffic_lights is not None:
        rows[LIGHTS] = [(folder / LIGHTS / f"{i}.json").read_text() for i in ids]
    frames = {name: [(folder / "images" / i / f"{name}.png").read_bytes() for i in ids] for name in FRAMES}
    return rows.assign(ID=ids, **frames)


def of_samples(samples: Samples) -> pd.DataFrame:
    """Return N samples as request rows: what `raw_rows` reads from a folder, made from the samples themselves."""
    rows = _can_rows(samples)
    if samples.traffic_lights is not None:
        rows[LIGHTS] = [light_text(samples.traffic_lights, sample_id) for sample_id in samples.ids.tolist()]
    frames = samples.frames[:]
    pngs = {name: [encode(frame) for frame in frames[:, k]] for k, name in enumerate(FRAMES)}
    return rows.assign(ID=samples.ids.tolist(), **pngs)


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
        gear=values.parse_gears(table["ID"].tolist(), table[GEAR].tolist()) if sensors.gear else None,
        traffic_lights=_lights(table) if sensors.lights else None,
        frames=FrameRows.of(np.stack([[_frame(row, name) for name in FRAMES] for _, row in table.iterrows()])),
    )


def answer(request: pd.DataFrame, samples: Samples, predicted_m: FloatArray, outside: StrArray) -> pd.DataFrame:
    """Return the (N, 18) predictions with their IDs, in the order and with the index of the request.

    Args:
        request: N rows.
        samples: the same N samples in canonical order.
        predicted_m: (N, 18) their predictions, metres, vehicle frame at t.
        outside: (N,) their signals outside the range of the training drives.
    """
    rows = rows_of(request["ID"].to_numpy(dtype=np.str_), samples.ids, "predictions")
    table = pd.DataFrame(predicted_m[rows], columns=list(TARGETS), index=request.index)
    table.insert(0, "ID", request["ID"].to_numpy())
    table[OUTSIDE] = outside[rows].astype(object)
    return table


def _can_rows(samples: Samples) -> pd.DataFrame:
    """Return the signals and the gear of N samples as a client sends them."""
    rows = samples.signals.astype({name: bool for name in FLAG_SIGNALS if name in samples.signals})
    if samples.gear is not None:
        rows[GEAR] = samples.gear.astype(object)
    return rows


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
    ids = table["ID"].tolist()
    return pd.DataFrame({name: values.parse(name, ids, table[name].tolist()) for name in names}, index=table.index)


def _frame(row: pd.Series, name: str) -> UInt8Array:
    return decode(_png(row[name], f"{row['ID']}/{name}"), f"{row['ID']}/{name}")


def _png(given: object, what: str) -> bytes:
    """Return the bytes of a PNG file, which JSON brings as base64 text."""
    if isinstance(given, bytes):
        return given
    if not isinstance(given, str):
        raise ValueError(f"{what}: expected the bytes of a PNG file, or its base64 text, found {type(given).__name__}")
    try:
        return binascii.a2b_base64("".join(given.split()).encode("ascii"), strict_mode=True)
    except ValueError as error:  # `binascii.Error` and `UnicodeEncodeError` are
        raise ValueError(f"{what}: expected the base64 text of a PNG file, found {shown(given)}") from error


def _lights(table: pd.DataFrame) -> pd.DataFrame:
    texts = zip(table["ID"], table[LIGHTS], strict=True)
    return light_table({sample_id: parse_lights(text, f"{sample_id}: {LIGHTS}") for sample_id, text in texts})
