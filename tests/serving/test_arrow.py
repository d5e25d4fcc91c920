"""Arrow streams: rows as they were written; what could grow, or is no stream, is refused in one line."""

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from pyarrow import ipc

from atma18.serving import arrow, bodies
from atma18.serving.request_rows import MOST_ROWS
from tests.fuzzing import damaged, often, refusal

PNG = b"\x89PNG\r\n\x1a\n\x00"
COLUMNS = {"ID": ["a_1", "a_2"], "vEgo": [3.5, 4.0], "gasPressed": [True, False], "image_t": [PNG, PNG]}


def stream(table, compression=None):
    out = pa.BufferOutputStream()
    with ipc.new_stream(out, table.schema, options=ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return bytes(out.getvalue())


WHOLE = stream(pa.table(COLUMNS))


def test_rows_arrive_as_python_values_with_pictures_as_bytes():
    rows = bodies.read(arrow.CONTENT_TYPE, WHOLE)

    assert rows.to_dict("list") == COLUMNS
    assert [type(value) for value in rows.iloc[0]] == [str, float, bool, bytes]


def test_several_batches_are_one_request():
    table = pa.table(COLUMNS)
    out = pa.BufferOutputStream()
    with ipc.new_stream(out, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=1):
            writer.write_batch(batch)

    assert arrow.read(bytes(out.getvalue())).to_dict("list") == COLUMNS


def test_numbers_keep_their_kind_and_holes_stay_holes():
    table = pa.table({"vEgo": pa.array([1, None], pa.int32()), "brake": pa.array([0.5, 1], pa.float32())})

    assert arrow.read(stream(table)).to_dict("list") == {"vEgo": [1, None], "brake": [0.5, 1.0]}


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compression_is_refused_for_it_hides_how_large_a_stream_is(compression):
    with pytest.raises(ValueError, match="expected a stream without compression, found a compressed one"):
        arrow.read(stream(pa.table(COLUMNS), compression))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        pytest.param({"a": pa.array(["x"]).dictionary_encode()}, "send no dictionaries", id="dictionary"),
        pytest.param({"a": pa.nulls(3)}, "found 'a' of type null", id="nulls without bytes"),
        pytest.param({"a": pa.array([[1]])}, "found 'a' of type list", id="lists"),
        pytest.param({"a": pa.array([{"b": 1}])}, "found 'a' of type struct", id="structs"),
        pytest.param({"a": list(range(MOST_ROWS + 1))}, "expected at most 4,096 rows, found 4,097", id="many rows"),
    ],
)
def test_what_is_not_plain_is_refused(columns, said):
    assert said in refusal(arrow.read, stream(pa.table(columns)))


def test_a_column_that_is_there_twice_is_refused():
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])

    assert "expected each column once, repeated: a" in refusal(arrow.read, stream(twice))


@pytest.mark.parametrize("body", [b"", b"{}", WHOLE[:100], WHOLE[8:], b"\0" * 64])
def test_what_is_no_stream_is_refused(body):
    assert "expected an Arrow stream" in refusal(arrow.read, body)


@often(300)
@given(damaged(WHOLE))
def test_whatever_a_stream_holds_it_is_read_or_refused_in_one_line(body):
    refusal(arrow.read, body)


def test_an_answer_is_a_stream_for_those_who_ask_for_one():
    table = pd.DataFrame({"ID": ["a_1"], "x_0": [1.25]})
    told = {"model": {"name": "blend", "version": 3}, "request_id": "r"}

    content, kind = bodies.write("application/vnd.apache.arrow.stream", table, told)
    with ipc.open_stream(content) as answer:
        metadata = answer.schema.metadata
        assert answer.read_all().to_pydict() == {"ID": ["a_1"], "x_0": [1.25]}

    assert kind == "application/vnd.apache.arrow.stream"
    assert metadata == {b"model": b'{"name":"blend","version":3}', b"request_id": b"r"}
    assert bodies.write("*/*", table, told)[1] == "application/json"
