"""An ID identifies exactly one sample, and all data that steps exchange are joined on it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from atma18.schema import (
    FRAME_SHAPE,
    FrameRows,
    Samples,
    canonical_order,
    first_few,
    repeated,
    rows_of,
    split_id,
)

IDS = ["a_20", "a_120", "a_220", "b_0", "c_20", "c_520"]  # canonical order; as text, a_120 comes before a_20


def make_samples(ids=IDS, rows=None):
    n = len(ids)
    return Samples(
        ids=np.array(ids),
        signals=pd.DataFrame({"vEgo": np.arange(n, dtype=float)}),
        gear=np.array(["drive", "park"] * n)[:n],
        traffic_lights=pd.DataFrame(
            [(ids[0], "red", 1.0, 2.0, 3.0, 4.0), (ids[-1], "green", 5.0, 6.0, 7.0, 8.0)],
            columns=["ID", "class", "x1_px", "y1_px", "x2_px", "y2_px"],
        ),
        frames=FrameRows(painted(n), np.arange(n) if rows is None else np.array(rows)),
    )


def painted(n):
    """N samples whose frames are all painted in the number of their row."""
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None, None], (n, *FRAME_SHAPE))


@pytest.mark.parametrize(
    ("sample_id", "parts"),
    [
        pytest.param("0a7dd782_320", ("0a7dd782", 320), id="hexadecimal scene"),
        pytest.param("a_0", ("a", 0), id="zero"),
        pytest.param("night_drive-2_999999999", ("night_drive-2", 999999999), id="scene with an underscore"),
    ],
)
def test_an_id_splits_into_scene_and_decisecond(sample_id, parts):
    assert split_id(sample_id) == parts


@pytest.mark.parametrize(
    "sample_id",
    [
        pytest.param("", id="empty"),
        pytest.param("320", id="no scene"),
        pytest.param("_320", id="empty scene"),
        pytest.param("a", id="no time"),
        pytest.param("a_", id="empty time"),
        pytest.param("a_020", id="leading zero"),
        pytest.param("a_00", id="two zeros"),
        pytest.param("a_-20", id="negative time"),
        pytest.param("a_+20", id="plus sign"),
        pytest.param("a_2.0", id="decimal point"),
        pytest.param("a_1234567890", id="ten digits"),
        pytest.param("a_２0", id="digit of another script"),
        pytest.param("../a_20", id="parent folder"),
        pytest.param("a/b_20", id="slash"),
        pytest.param("a\\b_20", id="backslash"),
        pytest.param("/a_20", id="absolute path"),
        pytest.param("a.b_20", id="dot"),
        pytest.param("a b_20", id="space"),
        pytest.param("a_20\n", id="line end"),
        pytest.param("a\0_20", id="zero byte"),
        pytest.param("-a_20", id="looks like an option"),
    ],
)
def test_an_id_of_another_form_is_refused_saying_what_is_expected(sample_id):
    with pytest.raises(ValueError, match="expected an ID like <scene>_<decisecond>") as refused:
        split_id(sample_id)
    assert repr(sample_id) in str(refused.value)


def test_canonical_order_is_by_scene_and_then_by_whole_decisecond():
    shuffled = ["c_520", "a_220", "b_0", "a_120", "c_20", "a_20"]

    assert canonical_order(shuffled).tolist() == [5, 3, 1, 2, 4, 0]


def test_scenes_are_compared_alone_not_together_with_the_underscore():
    # As text "a-_0" < "a_0" because "-" < "_", and the scenes "a" < "a-".
    assert canonical_order(["a-_0", "a_0"]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("items", "text"),
    [
        pytest.param([], "", id="none"),
        pytest.param([1, 2, 3], "1, 2, 3", id="as many as fit"),
        pytest.param("abcde", "a, b, c and 2 more", id="more"),
    ],
)
def test_the_first_few_are_named_and_the_rest_counted(items, text):
    assert first_few(items) == text


def test_repeated_values_are_listed_once_and_sorted():
    assert repeated(["b_0", "a_0", "b_0", "c_0", "a_0", "a_0"]) == ["a_0", "b_0"]


def test_each_wanted_id_finds_its_row():
    assert rows_of(np.array(["b", "a", "c"]), np.array(["c", "b", "a"]), "table").tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("have", "message"),
    [
        pytest.param(["a", "b"], "oof: expected each of 3 IDs once, found 2 rows, missing: c", id="missing"),
        pytest.param(["a", "b", "c", "d", "e"], "found 5 rows, extra: d, e", id="extra"),
        pytest.param(["a", "b", "c", "c"], "found 4 rows, repeated: c", id="repeated"),
        pytest.param(["a", "a", "d"], "found 3 rows, repeated: a; missing: b, c; extra: d", id="all three"),
        pytest.param(["a", "b", "c", *"zyxwv"], "extra: v, w, x and 2 more", id="many"),
    ],
)
def test_a_join_that_does_not_fit_is_refused_naming_the_offenders(have, message):
    with pytest.raises(ValueError, match=message):
        rows_of(np.array(["a", "b", "c"]), np.array(have), "oof")


class Unreadable(np.ndarray):
    """An array that fails when it is read."""

    def __getitem__(self, index):
        raise AssertionError(f"read at {index}")


def test_taking_frames_reads_nothing():
    frames = FrameRows.of(np.zeros((5, *FRAME_SHAPE), np.uint8).view(Unreadable))

    taken = frames.take(np.array([3, 1, 4])).take(np.array([0, 2]))

    assert taken.shape == (2, 3, 64, 128, 3)
    assert len(taken) == 2
    assert taken.store is frames.store
    with pytest.raises(AssertionError, match="read at"):
        taken[:1]


def test_frames_come_from_the_rows_that_were_taken():
    frames = FrameRows.of(painted(9)).take(np.array([7, 2, 5, 3])).take(np.array([2, 0, 3]))

    assert frames[:][:, 0, 0, 0, 0].tolist() == [5, 7, 3]
    assert frames[1:][:, 2, 63, 127, 2].tolist() == [7, 3]
    assert frames[np.array([2, 2])][:, 1, 0, 0, 0].tolist() == [3, 3]


def test_samples_know_scene_time_and_scene_size():
    samples = make_samples()

    assert len(samples) == 6
    assert samples.scenes.tolist() == ["a", "a", "a", "b", "c", "c"]
    assert samples.deciseconds.tolist() == [20, 120, 220, 0, 20, 520]
    assert samples.scene_sizes.tolist() == [3, 3, 3, 1, 2, 2]


def test_taken_samples_keep_every_field_with_its_row():
    taken = make_samples(rows=[5, 4, 3, 2, 1, 0]).take(np.array([0, 2, 3]))

    assert taken.ids.tolist() == ["a_20", "a_220", "b_0"]
    assert taken.signals.index.tolist() == [0, 1, 2]
    assert taken.signals["vEgo"].tolist() == [0, 2, 3]
    assert taken.gear.tolist() == ["drive", "drive", "park"]
    assert taken.traffic_lights.to_numpy().tolist() == [["a_20", "red", 1, 2, 3, 4]]
    assert taken.frames[:][:, 0, 0, 0, 0].tolist() == [5, 3, 2]
    assert taken.scene_sizes.tolist() == [2, 2, 1]  # of what was given, not of what there once was


def test_absent_sensors_stay_absent_when_samples_are_taken():
    taken = replace(make_samples(), gear=None, traffic_lights=None).take(np.array([1]))

    assert taken.gear is None
    assert taken.traffic_lights is None


@pytest.mark.parametrize(
    ("ids", "changes", "message"),
    [
        pytest.param(["a_120", "a_20"], {}, "sorted by scene and time", id="order as text"),
        pytest.param(["b_20", "a_20"], {}, "sorted by scene and time", id="scenes mixed up"),
        pytest.param(IDS, {"signals": pd.DataFrame({"vEgo": [0.0]})}, "expected 6 rows .* found 1 rows", id="signals"),
        pytest.param(
            IDS, {"frames": FrameRows.of(painted(5))}, r"\(6, 3, 64, 128, 3\).*\(5, 3, 64, 128, 3\)", id="frames"
        ),
        pytest.param(
            IDS, {"frames": FrameRows.of(painted(6)[:, :1])}, r"found 6 rows and \(6, 1, 64, 128, 3\)", id="one frame"
        ),
    ],
)
def test_samples_that_do_not_fit_together_are_refused(ids, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(make_samples(sorted(ids)) if ids is not IDS else make_samples(), ids=np.array(ids), **changes)


def test_samples_taken_in_another_order_are_refused():
    with pytest.raises(ValueError, match="sorted by scene and time"):
        make_samples().take(np.array([2, 0]))
