"""Arrow streams: rows of a request in Arrow's IPC format, with PNG files as plain bytes; answers in the same format.

A stranger wrote the stream, so nothing is read that could become larger than it, or that Arrow itself does not check:
columns of plain types, no dictionaries, no compression, and offsets that Arrow has validated.
"""

import struct
from collections.abc import Callable, Mapping

import pandas as pd
import pyarrow as pa
from pyarrow import ipc

from atma18.schema import first_few, one_line, repeated, shown
from atma18.serving.request_rows import MOST_ROWS

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
_PLAIN: tuple[Callable[[pa.DataType], bool], ...] = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary),
    *(pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
)
_TAKEN = ("schema", "record batch")
_HEADER, _COMPRESSION = 2, 3
"""The numbers of two fields in Arrow's Message.fbs (format version 5): Message.header and RecordBatch.compression."""


def read(body: bytes) -> pd.DataFrame:
    """Return the rows of a stream, each value as Python's own type.

    Raises:
        ValueError: If it is no such stream, or holds what is not taken.
    """
    try:
        _check_messages(body)
        with ipc.open_stream(body) as stream:
            _check_columns(stream.schema)
            batches = list(stream)
        for batch in batches:
            batch.validate(full=True)
    except (pa.ArrowException, OSError, struct.error) as error:
        raise ValueError(f"expected an Arrow stream, found something else ({one_line(str(error))})") from error
    rows = sum(batch.num_rows for batch in batches)
    if rows > MOST_ROWS:
        raise ValueError(f"expected at most {MOST_ROWS:,} rows, found {rows:,}: send several requests")
    table = pa.Table.from_batches(batches, stream.schema)
    return pd.DataFrame({name: pd.Series(table[name].to_pylist(), dtype=object) for name in table.column_names})


def write(table: pd.DataFrame, told: Mapping[str, str]) -> bytes:
    """Return a table as a stream whose schema carries what is told about it."""
    answer = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(dict(told))
    out = pa.BufferOutputStream()
    with ipc.new_stream(out, answer.schema) as stream:
        stream.write_table(answer)
    return bytes(out.getvalue())


def _check_messages(body: bytes) -> None:
    for message in ipc.MessageReader.open_stream(body):
        if message.type not in _TAKEN:
            raise ValueError(f"expected plain columns, found a message of type {message.type}: send no dictionaries")
        if message.type == "record batch" and _is_compressed(message.metadata.to_pybytes()):
            raise ValueError("expected a stream without compression, found a compressed one")


def _check_columns(schema: pa.Schema) -> None:
    if again := repeated(schema.names):
        raise ValueError(f"expected each column once, repeated: {first_few(again)}")
    if odd := [field for field in schema if not any(is_kind(field.type) for is_kind in _PLAIN)]:
        found = f"{shown(odd[0].name)} of type {one_line(str(odd[0].type))}"
        raise ValueError(f"expected columns of texts, bytes, numbers and booleans, found {found}")


def _is_compressed(message: bytes) -> bool:
    """Whether a record batch names a compression; its metadata is a FlatBuffer that Arrow has verified."""
    [root] = struct.unpack_from("<I", message)
    place = _field(message, root, _HEADER)
    [offset] = struct.unpack_from("<I", message, place)
    return _field(message, place + offset, _COMPRESSION) > 0


def _field(message: bytes, table: int, number: int) -> int:
    """Return the place of a field of a FlatBuffers table, or 0 if the table leaves it out.

    A table begins with the distance back to its vtable: two sizes of 16 bits, then the offset of each field.
    """
    [back] = struct.unpack_from("<i", message, table)
    vtable, entry = table - back, 4 + 2 * number
    [size] = struct.unpack_from("<H", message, vtable)
    [offset] = struct.unpack_from("<H", message, vtable + entry) if entry < size else (0,)
    return table + offset if offset else 0
