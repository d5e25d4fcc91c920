"""Requests: rows of raw inputs, as a service gets them, become samples; predictions become rows again."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from atma18.dataset import LIGHTS
from atma18.frames import decode
from atma18.lights import light_table, parse_lights
from atma18.schema import (
    FLAG_SIGNALS,
    FRAME_FILES,
    GEAR,
    GEARS,
    TARGETS,
    FloatArray,
    FrameRows,
    Samples,
    StrArray,
    UInt8Array,
    canonical_order,
    first_few,
    repeated,
    rows_of,
)
from atma18.servable import Sensors

FRAMES = tuple(name.removesuffix(".png") for name in FRAME_FILES)


def columns(sensors: Sensors) -> list[str]:
    """Return the columns of a request: ID, CAN signals, gear, traffic lights as JSON text, three PNG files as bytes."""
    return ["ID", *sensors.signals, *[GEAR] * sensors.gear, *[LIGHTS] * sensors.lights, *FRAMES]


def raw_rows(samples: Samples, folder: Path) -> pd.DataFrame:
    """Return what a service gets of N samples of a dataset folder: signals, PNG bytes and the lights' JSON text."""
    rows = samples.signals.astype({name: bool for name in FLAG_SIGNALS if name in samples.signals})
    if samples.gear is not None:
        rows[GEAR] = samples.gear.astype(object)
    ids = samples.ids.tolist()
    if samples.lights is not None:
        rows[LIGHTS] = [(folder / LIGHTS / f"{i}.json").read_text() for i in ids]
    frames = {name: [(folder / "images" / i / f"{name}.png").read_bytes() for i in ids] for name in FRAMES}
    return rows.assign(ID=ids, **frames)


def parse(request: pd.DataFrame, sensors: Sensors) -> Samples:
    """Read a request of N rows, in any order.

    Raises:
        ValueError: If a column is missing, an ID repeated, a signal not finite, or a PNG or JSON text broken.
    """
    if missing := [name for name in columns(sensors) if name not in request]:
        raise ValueError(f"expected the columns {', '.join(columns(sensors))}; missing: {', '.join(missing)}")
    ids = request["ID"].to_numpy(dtype=np.str_)
    if len(ids) == 0 or repeated(ids):
        raise ValueError(f"expected at least one row and each ID once, repeated: {first_few(repeated(ids)) or 'none'}")
    table = request.iloc[canonical_order(ids)].reset_index(drop=True)
    signals = table[list(sensors.signals)].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    finite = np.isfinite(signals.to_numpy()).all(axis=1)
    if not finite.all():
        raise ValueError(f"expected finite signals, found others at {first_few(table.loc[~finite, 'ID'])}")
    return Samples(
        ids=table["ID"].to_numpy(dtype=np.str_),
        signals=signals,
        gear=_gear(table) if sensors.gear else None,
        lights=_lights(table) if sensors.lights else None,
        frames=FrameRows.of(np.stack([[_frame(row, name) for name in FRAMES] for _, row in table.iterrows()])),
    )


def answer(request: pd.DataFrame, samples: Samples, predicted_m: FloatArray) -> pd.DataFrame:
    """Return the (N, 18) predictions with their IDs, in the order of the request."""
    rows = rows_of(request["ID"].to_numpy(dtype=np.str_), samples.ids, "predictions")
    table = pd.DataFrame(predicted_m[rows], columns=list(TARGETS))
    table.insert(0, "ID", request["ID"].to_numpy())
    return table


def _frame(row: pd.Series, name: str) -> UInt8Array:
    if not isinstance(row[name], bytes):
        raise ValueError(f"{row['ID']}/{name}: expected the bytes of a PNG file, found {type(row[name]).__name__}")
    return decode(BytesIO(row[name]), f"{row['ID']}/{name}")


def _gear(table: pd.DataFrame) -> StrArray:
    unknown = ~table[GEAR].isin(GEARS)
    if unknown.any():
        raise ValueError(
            f"expected a {GEAR} of {', '.join(GEARS)}, found others at {first_few(table.loc[unknown, 'ID'])}"
        )
    return table[GEAR].to_numpy(dtype=np.str_)


def _lights(table: pd.DataFrame) -> pd.DataFrame:
    texts = zip(table["ID"], table[LIGHTS], strict=True)
    return light_table({sample_id: parse_lights(text, f"{sample_id}: {LIGHTS}") for sample_id, text in texts})
