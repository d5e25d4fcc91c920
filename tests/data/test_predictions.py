"""Predictions are joined on ID, finite, and the same after writing and reading."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from atma18.data.predictions import Predictions
from atma18.schema import TARGETS

IDS = ["a_20", "a_120", "a_220", "b_0", "c_20", "c_520"]  # canonical order; as text, a_120 comes before a_20


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
