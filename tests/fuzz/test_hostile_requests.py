"""Hostile requests and names are refused with one line, and have no other effect."""

import shlex
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atma18.bundle.servable import Sensors
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.schema import CAN_SIGNALS, FLAG_SIGNALS
from atma18.serving import request_rows
from atma18.serving.request_rows import FRAMES, MOST_ROWS
from atma18.tracking import promotion, registry, store
from tests.fuzzing import hostile_texts, often, refusal
from tests.store import store_uri
from tests.watching import outside, watched

ALL = Sensors(CAN_SIGNALS, gear=True, lights=True)


@pytest.fixture(scope="module")
def whole(tiny):
    """A request of three rows."""
    return request_rows.raw_rows(tiny.test.take(np.arange(3)), tiny.folder).astype(object)


def with_cell(request, column, value):
    """Put a value into the second row."""
    cells = request[column].tolist()
    cells[1] = value
    return request.assign(**{column: pd.Series(cells, dtype=object)})


# --- Requests


@pytest.mark.parametrize("value", [None, np.nan, 7, 3.5, b"a_20", ["a_20"], {}, pd.NA, pd.Timestamp(0), True], ids=repr)
def test_an_id_that_is_no_text_is_refused(whole, value):
    assert "expected an ID like <scene>_<decisecond>" in refusal(request_rows.parse, with_cell(whole, "ID", value), ALL)


@pytest.mark.parametrize(
    "value", ["", "a", "a_20\0", "\0a_20", "../a_20", "a_20\n", "'; DROP TABLE x; --_2", "a_20" * 10**6, "\udcff_2"]
)  # fmt: skip
def test_an_id_that_is_more_than_a_name_is_refused(whole, value):
    assert "expected an ID like <scene>_<decisecond>" in refusal(request_rows.parse, with_cell(whole, "ID", value), ALL)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        pytest.param("vEgo", 1e7, "expected a finite number within ±1e+06 in vEgo", id="faster than light"),
        pytest.param("vEgo", 10**400, "expected a finite number", id="beyond all floats"),
        pytest.param("vEgo", 1j, "expected a finite number", id="complex"),
        pytest.param("vEgo", np.complex128(1j), "expected a finite number", id="complex of numpy"),
        pytest.param("vEgo", True, "expected a finite number", id="flag for a number"),
        pytest.param("vEgo", "36 km/h", "expected a finite number", id="number with a unit"),
        pytest.param("vEgo", b"1", "expected a finite number", id="bytes"),
        pytest.param("vEgo", [1.0], "expected a finite number", id="list"),
        pytest.param("vEgo", {"a": 1}, "expected a finite number", id="object"),
        pytest.param("vEgo", pd.NA, "expected a finite number", id="missing"),
        pytest.param("vEgo", np.array([1.0, 2.0]), "expected a finite number", id="array"),
        pytest.param("brakePressed", 2, "true or false", id="flag of 2"),
        pytest.param("brakePressed", "no", "expected true or false in brakePressed", id="flag as a word"),
        pytest.param("brakePressed", None, "expected true or false in brakePressed", id="no flag"),
        pytest.param("brakePressed", 0.3, "expected true or false in brakePressed", id="flag of 0.3"),
        pytest.param("gearShifter", ["drive"], "expected one of drive, park", id="gear as a list"),
        pytest.param("gearShifter", None, "expected one of drive, park", id="no gear"),
        pytest.param("gearShifter", "drive\0", "expected one of drive, park", id="gear with a NUL"),
        pytest.param("traffic_lights", [], "expected a JSON list", id="lights as a list"),
        pytest.param("traffic_lights", "[" * 10**7, "at most 65,536 bytes", id="10 MB of lights"),
        pytest.param("image_t", "x" * 10**7, "at most 262,144 bytes", id="10 MB of text"),
        pytest.param("image_t", b"\x89PNG" * 10**6, "at most 262,144 bytes", id="4 MB of a frame"),
        pytest.param("image_t", bytearray(b"x"), "found bytearray", id="array of bytes"),
        pytest.param("image_t", None, "found NoneType", id="no frame"),
    ],
)
def test_a_cell_that_cannot_be_is_refused(whole, column, value, said):
    assert said in refusal(request_rows.parse, with_cell(whole, column, value), ALL)


def test_a_request_of_too_many_rows_is_refused_before_any_is_read(whole):
    many = whole.iloc[np.zeros(MOST_ROWS + 1, dtype=int)]
    with_nothing = many.assign(**dict.fromkeys(FRAMES))

    assert "expected at most 4,096 rows, found 4,097: send several" in refusal(request_rows.parse, with_nothing, ALL)


def test_a_column_that_is_there_twice_is_refused(whole):
    twice = pd.concat([whole, whole[["vEgo"]]], axis=1)

    assert "expected each column once, repeated: vEgo" in refusal(request_rows.parse, twice, ALL)


anything = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=9), hostile_texts, st.complex_numbers()),
    *(st.just(pd.NA), st.just(pd.NaT), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(), st.none())),
    *(st.just(10**5000), st.just(object()), st.just(np.array([1, 2])), st.just(np.datetime64(1, "s"))),
)


@often(400)
@given(st.sampled_from(["ID", *CAN_SIGNALS, "gearShifter", "traffic_lights", *FRAMES]), anything)
def test_whatever_a_cell_holds_a_request_is_read_or_refused(whole, column, value):
    def read():
        samples = request_rows.parse(with_cell(whole, column, value), ALL)
        assert np.isfinite(samples.signals.to_numpy()).all()
        assert samples.signals[list(FLAG_SIGNALS)].isin((0, 1)).all(axis=None)

    with watched() as seen:
        refusal(read)
    assert outside(seen) == []


@often(100)
@given(st.lists(st.sampled_from([*CAN_SIGNALS, "ID", *FRAMES, "x", "\n"]), max_size=20), st.integers(0, 3))
def test_whatever_columns_and_rows_there_are_a_request_is_read_or_refused(whole, columns, rows):
    known = whole.assign(**{"x": 1, "\n": 2})
    refusal(request_rows.parse, known[columns][:rows], ALL)
    refusal(request_rows.parse, known[[*whole.columns, *columns]][:rows], ALL)


# --- Names

NAMES = [
    *("'", '"', "`", "';--", "' OR '1'='1", "a\nb", "\0", "\x1b[2J", "x" * 100_000, "$(touch pwned)", "; touch pwned"),
    *("models:/x'/1", 'models:/x"/1', "models:/a\nb/1", "models:/\0/1", "models:/x@a'b", "models:/x@a\nb"),
    *("models:/" + "x" * 100_000 + "/1", "models:/x@" + "y" * 100_000, "models:/x/1; DROP TABLE runs", "models:/../1"),
    *("models:/x/999999999", "models:/%/1", "models:/\udcff/1", "runs:/../../etc/passwd", "file:///etc/passwd"),
    *("../" * 100, "0" * 32 + "\n", "0" * 32 + "' OR 1", "A" * 32, "٣" * 32, "-rf", "--help", ""),
]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A store in which nothing is."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store_uri(folder))
        patch.setenv("ATMA18_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        store.client().search_experiments()
        yield folder


@pytest.fixture
def ask(empty_store, monkeypatch):
    """The four ways in which a name is looked up."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(empty_store))
    monkeypatch.chdir(empty_store)
    cache = Cache.open(empty_store / "cache")
    return [
        lambda name: registry.resolve(name, SimpleNamespace(cache=cache)),
        lambda name: registry.named_run(name, cache),
        lambda name: registry.folds_of(name, cache),
        promotion.blend_version,
    ]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:20]))
def test_a_name_that_stands_for_nothing_is_refused(empty_store, ask, name):
    for look_up in ask:
        with watched() as seen:
            assert refusal(look_up, name) is not None
        assert outside(seen, empty_store) == []
    assert not (empty_store / "pwned").exists()


@often(60)
@given(hostile_texts | st.builds("models:/{}/{}".format, hostile_texts, st.integers(0, 99)) | st.text(max_size=40))
def test_whatever_a_name_is_it_is_refused(empty_store, ask, name):
    for look_up in ask:
        assert refusal(look_up, name) is not None


@pytest.mark.parametrize(
    "data",
    ["\0", "a\0b", "a\nb", "x" * 100_000, "~nobody-of-this-name/x", "\udcff", "/dev/null", "file:///etc\n", "", "/"],
)
def test_data_that_are_no_folder_are_refused(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    assert refusal(Dataset.open, data, Cache.open(tmp_path / "cache")) is not None


@often(20)
@given(st.dictionaries(st.sampled_from(["data", "folds", "seed"]), st.text(st.characters(exclude_categories=("Cs",),
       exclude_characters="\0"), max_size=20)))  # fmt: skip
def test_a_command_that_is_printed_gives_a_shell_the_same_words(empty_store, ask, parameters):
    command = store.command("nn1", parameters)

    expected = [word for name, value in parameters.items() for word in (f"--{name}", value)]
    assert shlex.split(command)[3:] == expected
    printed = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True, cwd=empty_store
    )
    assert printed.stdout.decode().split("\0")[3:-1] == expected
