"""Bodies: what a request brings, JSON or Arrow, becomes rows of values; an answer becomes JSON or Arrow.

Values stay as the client wrote them, because `request_rows` alone says what they mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from atma18.schema import shown
from atma18.serving import arrow
from atma18.serving.guard import RefusedError
from atma18.storage import strict_json

JSON = "application/json"
TAKEN = f"{JSON} or {arrow.CONTENT_TYPE}"
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def read(content_type: str, body: bytes) -> pd.DataFrame:
    """Return the rows of a request.

    Args:
        content_type: as the client sent it.
        body: in the form that this names.

    Raises:
        RefusedError: If the type is another one (415).
        ValueError: If the body has another form.
    """
    kind, _, parameters = (part.strip().lower() for part in content_type.partition(";"))
    if kind == arrow.CONTENT_TYPE:
        return arrow.read(body)
    if kind != JSON:
        raise RefusedError(415, f"expected the content type {TAKEN}, found {shown(content_type) if kind else 'none'}")
    if parameters not in ("", "charset=utf-8", 'charset="utf-8"'):
        raise RefusedError(415, f"expected the charset UTF-8, found {shown(parameters)}")
    return _json_rows(strict_json.loads(body))


def write(accepted: str, table: pd.DataFrame, told: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return an answer and its content type.

    Args:
        accepted: the client's header Accept: Arrow if it names Arrow, else JSON.
        table: a row for each sample.
        told: what is said of the whole answer: beside the rows in JSON, as the schema's metadata in Arrow.
    """
    if arrow.CONTENT_TYPE in accepted.lower():
        flat = {name: value if isinstance(value, str) else strict_json.dumps(value) for name, value in told.items()}
        return arrow.write(table, flat), arrow.CONTENT_TYPE
    return strict_json.dumps({"predictions": table.to_dict("records"), **told}).encode(), JSON


def _json_rows(value: Any) -> pd.DataFrame:  # noqa: ANN401 - any JSON value
    given = [name for name in _FORMS if isinstance(value, dict) and name in value]
    if len(given) != 1 or len(value) != 1:
        found = ", ".join(map(shown, value)) or "nothing" if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"expected an object with one of {', '.join(_FORMS)}, and nothing else, found {found}")
    [form] = given
    match form, value[form]:
        case "dataframe_split", dict() as split:
            return _of_split(split)
        case "dataframe_records" | "instances", list() as records:
            return _of_records(form, records)
        case "inputs", dict() as columns:
            return _of_columns(columns)
    raise ValueError(f"expected {_WANTED[form]} in {form}, found {shown(value[form])}")


_WANTED = {
    "dataframe_split": 'an object with "columns" and "data"',
    "dataframe_records": "a list of objects",
    "instances": "a list of objects",
    "inputs": "an object with a list for each column",
}


def _of_split(split: Mapping[str, Any]) -> pd.DataFrame:
    columns, rows, index = split.get("columns"), split.get("data"), split.get("index")
    if not isinstance(columns, list) or not isinstance(rows, list) or not split.keys() <= {"columns", "data", "index"}:
        raise ValueError(
            f"expected {_WANTED['dataframe_split']} in dataframe_split, found {', '.join(map(shown, split))}"
        )
    if not all(isinstance(name, str) for name in columns):
        raise ValueError(f"expected texts in columns of dataframe_split, found {shown(columns)}")
    if odd := [number for number, row in enumerate(rows) if not isinstance(row, list) or len(row) != len(columns)]:
        raise ValueError(f"expected {len(columns)} values in each row of dataframe_split, found others in row {odd[0]}")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise ValueError(f"expected {len(rows)} values in index of dataframe_split, found {shown(index)}")
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _of_records(form: str, records: Sequence[Any]) -> pd.DataFrame:
    if odd := [number for number, row in enumerate(records) if not isinstance(row, dict)]:
        raise ValueError(f"expected {_WANTED[form]} in {form}, found another value in row {odd[0]}")
    if odd := [number for number, row in enumerate(records) if row.keys() != records[0].keys()]:
        raise ValueError(f"expected the same names in each row of {form}, found others in row {odd[0]}")
    return pd.DataFrame(records, dtype=object)


def _of_columns(columns: Mapping[str, Any]) -> pd.DataFrame:
    if odd := [name for name, values in columns.items() if not isinstance(values, list)]:
        raise ValueError(f"expected {_WANTED['inputs']} in inputs, found another value in {shown(odd[0])}")
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError("expected lists of one length in inputs, found several lengths")
    return pd.DataFrame(dict(columns), dtype=object)
