"""What a value of a column means, however it arrives: as text of a CSV file, or typed by JSON, Parquet or pandas.

| column | taken | read as |
| --- | --- | --- |
| flag | true and false in any case, 1 and 0, 1.0 and 0.0 | 1, 0 |
| number | a finite number within ±1e6, or its decimal text | metres, m/s and so on, unchanged |
| gear | the names of openpilot's `GearShifter` in any case, and P, R, N, D | one of `GEARS` |

A cell of a CSV file is empty without text, and with the words of `_EMPTY`, which pandas, R, SQL and spreadsheets write.
"""

import re
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from atma18.schema import (
    DRIVE_MODES,
    FLAG_SIGNALS,
    GEAR,
    GEAR_WORDS,
    GEARS,
    LARGEST_SIGNAL,
    FloatArray,
    StrArray,
    first_few,
    shown,
)

_FLAGS = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_EMPTY = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none"})


def parse(name: str, ids: Sequence[str], values: Sequence[object]) -> FloatArray:
    """Return N values of a signal as numbers; flags become 0 and 1.

    Args:
        name: the column.
        ids: (N,) IDs, for messages.
        values: (N,) values.

    Raises:
        ValueError: If one of them is not a flag or a number.
    """
    is_flag = name in FLAG_SIGNALS
    read = _flag if is_flag else _number
    numbers = np.array([read(value) for value in values], dtype=np.float64)
    _refuse_others(
        name, "true or false" if is_flag else f"a finite number within ±{LARGEST_SIGNAL:.0e}", ids, values, numbers
    )
    return numbers


def parse_gears(ids: Sequence[str], values: Sequence[object]) -> StrArray:
    """Return N gears as names of `GEARS`.

    Args:
        ids: (N,) IDs, for messages.
        values: (N,) names of gears.

    Raises:
        ValueError: If one of them is not the name of a gear.
    """
    gears = [GEAR_WORDS.get(_word(value)) for value in values]
    known = np.array([np.nan if gear is None else 0.0 for gear in gears])
    _refuse_others(GEAR, f"one of {', '.join((*GEARS, *DRIVE_MODES))}", ids, values, known)
    return np.array(gears, dtype=np.str_)


def are_empty(texts: pd.Series) -> pd.Series:
    """Return whether each of N texts stands for a missing value."""
    return texts.str.strip().str.lower().isin(_EMPTY)


def _refuse_others(name: str, expected: str, ids: Sequence[str], values: Sequence[object], read: FloatArray) -> None:
    if bad := np.flatnonzero(np.isnan(read)).tolist():
        found = first_few(f"{ids[row]} = {shown(values[row])}" for row in bad)
        raise ValueError(f"expected {expected} in {name}, found {found}")


def _flag(value: object) -> float:
    if isinstance(value, bool | np.bool_):
        return float(value)
    if isinstance(value, str):
        return _FLAGS.get(_word(value), np.nan)
    number = _number(value)
    return number if number in (0.0, 1.0) else np.nan


def _number(value: object) -> float:
    if isinstance(value, str):
        number = float(value) if _NUMBER.fullmatch(value.strip()) else np.nan
    elif isinstance(value, int | float | np.integer | np.floating | Decimal) and not isinstance(value, bool):
        number = _as_float(value)
    else:
        number = np.nan
    return number if abs(number) <= LARGEST_SIGNAL else np.nan


def _as_float(value: int | float | np.number | Decimal) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError):  # an integer too large for a float, or a signalling NaN
        return np.nan


def _word(value: object) -> str:
    return value.strip().lower() if isinstance(value, str) else ""
