"""Bodies of requests: four forms of JSON with the same rows, and one line for everything else."""

import json

import pytest

from atma18.serving import bodies
from atma18.serving.guard import RefusedError
from tests.fuzzing import helpful

SPLIT = {"columns": ["ID", "vEgo"], "data": [["a_1", 3], ["a_2", "4.5"]]}
RECORDS = [{"ID": "a_1", "vEgo": 3}, {"ID": "a_2", "vEgo": "4.5"}]
COLUMNS = {"ID": ["a_1", "a_2"], "vEgo": [3, "4.5"]}


def read(value, content_type="application/json"):
    return bodies.read(content_type, value if isinstance(value, bytes) else json.dumps(value).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": SPLIT},
        {"dataframe_split": SPLIT | {"index": [7, 8]}},
        {"dataframe_records": RECORDS},
        {"instances": RECORDS},
        {"inputs": COLUMNS},
    ],
)
def test_every_form_brings_the_same_rows_as_they_were_written(body):
    rows = read(body)

    assert rows.to_dict("list") == COLUMNS
    assert [type(value) for value in rows["vEgo"]] == [int, str]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_may_name_its_charset(content_type):
    assert len(read({"instances": RECORDS}, content_type)) == 2


@pytest.mark.parametrize("content_type", ["", "text/csv", "text/plain", "application/json; charset=latin-1"])
def test_another_content_is_refused(content_type):
    with pytest.raises(RefusedError) as refused:
        read({"instances": RECORDS}, content_type)

    assert refused.value.status == 415
    helpful(str(refused.value))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"{", "expected JSON in UTF-8", id="no JSON"),
        pytest.param(b"\xff{}", "expected JSON in UTF-8", id="no UTF-8"),
        pytest.param(b"[" * 5000 + b"]" * 5000, "at most 20 levels", id="deep"),
        pytest.param(b'{"inputs": {"a": [1], "a": [2]}}', "a key of an object is repeated", id="twice"),
        pytest.param([1], "expected an object with one of dataframe_split", id="a list"),
        pytest.param({}, "and nothing else, found nothing", id="nothing"),
        pytest.param({"instances": RECORDS, "inputs": COLUMNS}, "found 'instances', 'inputs'", id="two forms"),
        pytest.param({"instances": RECORDS, "params": {}}, "found 'instances', 'params'", id="one and more"),
        pytest.param({"dataframe_split": "rows"}, 'an object with "columns" and "data"', id="text for rows"),
        pytest.param({"dataframe_split": {"columns": ["a"]}}, "found 'columns'", id="no data"),
        pytest.param({"dataframe_split": SPLIT | {"more": 1}}, "'more'", id="more"),
        pytest.param({"dataframe_split": SPLIT | {"columns": ["ID", 2]}}, "expected texts in columns", id="no names"),
        pytest.param({"dataframe_split": SPLIT | {"data": [["a_1"]]}}, "expected 2 values in each row", id="short row"),
        pytest.param({"dataframe_split": SPLIT | {"data": ["a_1"]}}, "found others in row 0", id="a text for a row"),
        pytest.param({"dataframe_split": SPLIT | {"index": [1]}}, "expected 2 values in index", id="short index"),
        pytest.param({"instances": [RECORDS[0], 3]}, "found another value in row 1", id="no object"),
        pytest.param({"instances": [RECORDS[0], {"ID": "a"}]}, "expected the same names", id="a name is missing"),
        pytest.param({"inputs": {"ID": "a_1"}}, "found another value in 'ID'", id="no list"),
        pytest.param({"inputs": {"ID": ["a_1"], "vEgo": []}}, "lists of one length", id="lengths"),
        pytest.param({"inputs": [1]}, "an object with a list for each column", id="a list of inputs"),
    ],
)
def test_what_has_another_form_is_refused_in_one_line(body, said):
    with pytest.raises(ValueError, match=r"expected") as refused:
        read(body)

    assert said in helpful(str(refused.value))
