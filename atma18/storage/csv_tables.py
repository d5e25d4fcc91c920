"""Read untrusted CSV files as tables of text, without conversion of cells."""

import csv
from io import StringIO

import pandas as pd

from atma18.schema import first_few, one_line, repeated

MOST_BYTES = 2**28
"""About 12 times the competition's training table; a cell takes about 10 times its file size in memory."""
_MOST_COLUMNS = 1000  # the competition's table has 30, and each column takes a separate array
_LONGEST_CELL = 1000  # characters; the longest valid cell is an ID


def parse(content: bytes, where: str) -> pd.DataFrame:
    """Parse a table whose first line names the columns; `where` names the table in messages.

    Raises:
        ValueError: If it is no CSV table in UTF-8, a column name is repeated, a cell is too long, or a row has more or
            fewer cells than there are columns.
    """
    try:
        names, *rows = _rows(content)
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{where}: expected a CSV table in UTF-8, found something else ({one_line(str(error))})"
        ) from error
    if again := repeated(name for name in names if name):
        raise ValueError(f"{where}: expected each column once, found repeated: {first_few(again)}: keep one of each")
    if long := [f"row {i}" for i, row in enumerate([names, *rows]) if max(map(len, row)) > _LONGEST_CELL]:
        raise ValueError(
            f"{where}: expected cells of at most {_LONGEST_CELL} characters, found longer ones in {first_few(long)}: "
            "is a quote not closed?"
        )
    return pd.DataFrame(rows, columns=names, dtype=str)


def _rows(content: bytes) -> list[list[str]]:
    """Return the cells of every line that is not empty; each has as many as the first one."""
    text = content.decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("a NUL")
    rows = [row for row in csv.reader(StringIO(text, newline=""), strict=True) if row]
    if not rows:
        raise ValueError("no columns")
    width = len(rows[0])
    if width > _MOST_COLUMNS:
        raise ValueError(f"{width} columns, more than {_MOST_COLUMNS}")
    if ragged := [f"row {i}: {len(row)}" for i, row in enumerate(rows) if len(row) != width]:
        raise ValueError(f"{width} columns, and other cells in {first_few(ragged)}")
    return rows
