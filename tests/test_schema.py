"""IDs name one sample and nothing else, and everything that crosses a step's border is joined on them."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from atma18.schema import (
    FRAME_SHAPE,
    TARGETS,
    FrameRows,
    Predictions,
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
        lights=pd.DataFrame(
            [(ids[0], "red", 1.0, 2.0, 3.0, 4.0), (ids[-1], "green", 5.0, 6.0, 7.0, 8.0)],
            columns=["ID", "class", "x1_px", "y1_px", "x2_px", "y2_px"],
        ),
        frames=FrameRows(painted(n), np.arange(n) if rows is None else np.array(rows)),
    )


def painted(n):
    """N samples whose frames are all painted in the number of their row."""
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None, None], (n, *FRAME_SHAPE))


def make_predictions():
    """Row i and target j predict i + j / 100; fold k adds k, 3k … so that folds differ and their mean is known."""
    n, m, k = 6, 4, 3
    targets = np.arange(18) / 100
    return Predictions(
        train_ids=np.array(IDS),
        folds=np.array([0, 0, 0, 1, 2, 2]),
        oof_m=np.arange(n)[:, None] + targets,
        test_ids=np.array(["y_20", "y_120", "z_20", "z_120"]),
        test_by_fold_m=np.arange(m)[:, None] + targets + 10.0 * np.arange(k)[:, None, None],
    )


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
    assert taken.lights.to_numpy().tolist() == [["a_20", "red", 1, 2, 3, 4]]
    assert taken.frames[:][:, 0, 0, 0, 0].tolist() == [5, 3, 2]
    assert taken.scene_sizes.tolist() == [2, 2, 1]  # of what was given, not of what there once was


def test_absent_sensors_stay_absent_when_samples_are_taken():
    taken = replace(make_samples(), gear=None, lights=None).take(np.array([1]))

    assert taken.gear is None
    assert taken.lights is None


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


def test_the_test_prediction_is_the_mean_over_folds():
    predictions = make_predictions()

    # Folds add 0, 10 and 20 to row + target / 100.
    np.testing.assert_allclose(predictions.test_m, np.arange(4)[:, None] + np.arange(18) / 100 + 10)


def assert_same(one, other):
    for field in fields(Predictions):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_predictions_survive_files_bit_by_bit(tmp_path):
    rng = np.random.default_rng(0)
    written = replace(
        make_predictions(), oof_m=rng.normal(0, 20, (6, 18)), test_by_fold_m=rng.normal(0, 20, (3, 4, 18))
    )

    written.write(tmp_path / "new" / "predictions")

    assert_same(Predictions.read(tmp_path / "new" / "predictions"), written)


def test_the_files_are_tables_that_anyone_can_read(tmp_path):
    predictions = make_predictions()
    predictions.write(tmp_path)

    oof, test, by_fold = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("oof", "test", "test_by_fold"))
    assert oof.columns.tolist() == ["ID", "fold", *TARGETS]
    assert test.columns.tolist() == ["ID", *TARGETS]
    assert by_fold.columns.tolist() == ["ID", "fold", *TARGETS]
    assert (oof[list(TARGETS)].dtypes == np.float64).all()
    # Test sample 1 (y_120) at target 5: 1.05 of fold 0, 11.05 of fold 1, 21.05 of fold 2, 11.05 on average.
    assert test.set_index("ID").loc["y_120", TARGETS[5]] == pytest.approx(11.05)
    assert by_fold.set_index(["ID", "fold"]).loc[("y_120", 2), TARGETS[5]] == pytest.approx(21.05)
    assert oof.set_index("ID").loc["b_0", ["fold", TARGETS[0]]].tolist() == [1, 3]


@pytest.mark.parametrize("name", ["oof", "test", "test_by_fold"])
def test_rows_of_a_file_in_another_order_change_nothing(tmp_path, name):
    written = make_predictions()
    written.write(tmp_path)
    path = tmp_path / f"{name}.parquet"
    pd.read_parquet(path).sample(frac=1, random_state=4).to_parquet(path, index=False)

    read = Predictions.read(tmp_path)

    assert_same(read.aligned(written.train_ids, written.test_ids, "read"), written)


def test_predictions_follow_the_ids_that_they_are_aligned_with():
    train_ids, test_ids = np.array(IDS[::-1]), np.array(["z_20", "y_20", "z_120", "y_120"])

    aligned = make_predictions().aligned(train_ids, test_ids, "nn1")

    assert aligned.train_ids.tolist() == train_ids.tolist()
    assert aligned.test_ids.tolist() == test_ids.tolist()
    assert aligned.folds.tolist() == [2, 2, 1, 0, 0, 0]
    assert aligned.oof_m[:, 0].tolist() == [5, 4, 3, 2, 1, 0]
    assert aligned.test_by_fold_m[:, :, 0].tolist() == [[2, 0, 3, 1], [12, 10, 13, 11], [22, 20, 23, 21]]


@pytest.mark.parametrize(
    ("train_ids", "test_ids", "message"),
    [
        pytest.param([*IDS, "d_20"], None, "nn1, oof: .*missing: d_20", id="train missing"),
        pytest.param(IDS[:-1], None, "nn1, oof: .*extra: c_520", id="train extra"),
        pytest.param(None, ["y_20", "y_120", "z_20", "q_20"], "nn1, test: .*missing: q_20; extra: z_120", id="test"),
    ],
)
def test_predictions_for_other_ids_are_refused_by_name(train_ids, test_ids, message):
    predictions = make_predictions()
    with pytest.raises(ValueError, match=message):
        predictions.aligned(
            predictions.train_ids if train_ids is None else np.array(train_ids),
            predictions.test_ids if test_ids is None else np.array(test_ids),
            "nn1",
        )


def without_last(table):
    return table.iloc[:-1]


def with_first_again(table):
    return pd.concat([table, table.iloc[:1]])


def with_last_renamed(table):
    return table.assign(ID=[*table["ID"][:-1], "q_20"])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        pytest.param("test_by_fold", without_last, "test_by_fold, fold 2: .*missing: z_120", id="missing in a fold"),
        pytest.param("test_by_fold", with_first_again, "fold 0: .*repeated: y_20", id="repeated in a fold"),
        pytest.param("test_by_fold", with_last_renamed, "missing: z_120; extra: q_20", id="extra in a fold"),
        pytest.param("test", without_last, "test_by_fold, fold 0: .*extra: z_120", id="missing in test"),
        pytest.param("test", with_first_again, "test: expected each ID once, found repeated: y_20", id="test repeated"),
        pytest.param("oof", with_first_again, "oof: expected each ID once, found repeated: a_20", id="oof repeated"),
    ],
)
def test_files_with_a_missing_an_extra_or_a_repeated_id_are_refused_by_name(tmp_path, name, change, message):
    make_predictions().write(tmp_path)
    path = tmp_path / f"{name}.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)

    with pytest.raises(ValueError, match=message):
        Predictions.read(tmp_path)


@pytest.mark.parametrize("error_m", [pytest.param(1e-6, id="a micrometre"), pytest.param(np.nan, id="not a number")])
def test_a_test_file_that_is_not_the_mean_over_folds_is_refused(tmp_path, error_m):
    make_predictions().write(tmp_path)
    path = tmp_path / "test.parquet"
    table = pd.read_parquet(path)
    table.loc[2, "z_5"] += error_m
    table.to_parquet(path, index=False)

    with pytest.raises(ValueError, match=r"test\.parquet is not the mean over folds"):
        Predictions.read(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("field", "at", "message"),
    [
        pytest.param("oof_m", (3, 17), "oof: expected finite predictions, found others for b_0$", id="oof"),
        pytest.param("test_by_fold_m", (1, 2, 0), "test, fold 1: .*found others for z_20$", id="one fold of test"),
    ],
)
def test_predictions_that_are_not_finite_are_refused_by_name(field, at, message, value):
    predictions = make_predictions()
    values = getattr(predictions, field).copy()
    values[at] = value

    with pytest.raises(ValueError, match=message):
        replace(predictions, **{field: values})


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"folds": np.array([0, 1, 2])}, id="folds of too few"),
        pytest.param({"folds": np.array([0, 0, 0, 1, 1, 1])}, id="a fold without out-of-fold rows"),
        pytest.param({"folds": np.array([0, 0, 0, 1, 2, 3])}, id="a fold without a test prediction"),
        pytest.param({"oof_m": np.zeros((6, 17))}, id="17 targets"),
        pytest.param({"oof_m": np.zeros((5, 18))}, id="a row too few"),
        pytest.param({"test_by_fold_m": np.zeros((3, 5, 18))}, id="a test row too many"),
        pytest.param({"test_by_fold_m": np.zeros((4, 18))}, id="test without folds"),
    ],
)
def test_predictions_of_other_shapes_are_refused(change):
    with pytest.raises(ValueError, match=r"expected shapes .* found "):
        replace(make_predictions(), **change)


def relabelled(fold, label):
    return lambda table: table.assign(fold=table["fold"].replace(fold, label))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        pytest.param("test_by_fold", relabelled(2, 7), r"expected the folds 0 … K-1 .* found \[0, 1, 7\]", id="gap"),
        pytest.param("test_by_fold", relabelled(0, 3), r"found \[1, 2, 3\]", id="not from 0"),
        pytest.param("oof", relabelled(2, 1), "expected the folds", id="fewer in oof"),
        pytest.param("oof", lambda table: table.drop(columns="x_3"), "oof.parquet: .* missing: x_3", id="no x_3"),
        pytest.param("test_by_fold", lambda table: table[:0], r"found \[\]", id="no rows"),
    ],
)
def test_files_whose_folds_or_columns_are_others_are_refused(tmp_path, name, change, message):
    make_predictions().write(tmp_path)
    change(pd.read_parquet(tmp_path / f"{name}.parquet")).to_parquet(tmp_path / f"{name}.parquet")

    with pytest.raises(ValueError, match=message):
        Predictions.read(tmp_path)
