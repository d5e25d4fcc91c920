"""Test scores equal means calculated by hand, over rows joined on ID."""

import numpy as np
import pandas as pd
import pytest

from atma18.metrics import evaluation
from atma18.schema import TARGETS

IDS = np.array(["a_20", "a_120", "b_20"])  # a scene of two samples and one of one


def truth():
    return np.arange(54.0).reshape(3, 18)


def test_scores_are_the_means_of_the_parts_that_they_name():
    """x is wrong by 1 m, y by 2 m, z by 3 m at 0.5 s, and nothing later; in scene b all that is doubled."""
    errors_m = np.zeros((3, 6, 3))
    errors_m[:, 0] = [1, -2, 3]
    errors_m[2] *= 2

    scores = evaluation.score_test(truth() + errors_m.reshape(3, 18), truth(), IDS)
    found = {score.part.metric("test"): score for score in scores}

    expected = {
        "test/mae_m": (6 + 6 + 12) / 54,
        "test_axis/x_m": (1 + 1 + 2) / 18,
        "test_axis/y_m": (2 + 2 + 4) / 18,
        "test_axis/z_m": (3 + 3 + 6) / 18,
        "test_horizon/0.5s_m": (6 + 6 + 12) / 9,
        **{f"test_horizon/{t}s_m": 0.0 for t in ("1.0", "1.5", "2.0", "2.5", "3.0")},
        "test_size/1_m": 12 / 18,
        "test_size/2_m": 12 / 36,
    }
    assert {name: score.mae_m for name, score in found.items()} == pytest.approx(expected)
    assert [found[f"test_size/{size}_m"].part.samples for size in (1, 2)] == [1, 2]


def test_the_interval_is_that_of_drawing_whole_scenes():
    """Of two scenes, one right and one wrong by 1 m, draws hold none, one or two wrong ones: from 0 to 1 m."""
    ids = np.array([f"{scene}_{t}" for scene in "ab" for t in (20, 120)])
    predicted = np.zeros((4, 18))
    predicted[2:] = 1.0

    whole = evaluation.score_test(predicted, np.zeros((4, 18)), ids)[0]

    assert (whole.mae_m, whole.low_m, whole.high_m) == (0.5, 0.0, 1.0)


def write(path, ids, values):
    table = pd.DataFrame(values, columns=list(TARGETS))
    if ids is not None:
        table.insert(0, "ID", ids)
    table.to_parquet(path, index=False) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_joined_on_id(tmp_path, suffix):
    path = write(tmp_path / f"mine.{suffix}", IDS[::-1], truth()[::-1])

    ids, predicted = evaluation.read_predictions(path, tmp_path / "test_targets.csv")

    np.testing.assert_array_equal(evaluation.aligned(IDS, ids, predicted), truth())


def test_a_submission_has_the_order_of_the_test_file(tmp_path):
    pd.DataFrame({"ID": IDS[[2, 0, 1]], "vEgo": 1.0}).to_csv(tmp_path / "test_features.csv", index=False)
    path = write(tmp_path / "submission.csv", None, truth()[[2, 0, 1]])

    ids, predicted = evaluation.read_predictions(path, tmp_path / "test_targets.csv")

    np.testing.assert_array_equal(evaluation.aligned(IDS, ids, predicted), truth())


def test_targets_are_read_with_their_ids(tmp_path):
    ids, found = evaluation.read_targets(write(tmp_path / "test_targets.csv", IDS, truth()))

    assert ids.tolist() == IDS.tolist()
    np.testing.assert_array_equal(found, truth())


def test_what_does_not_fit_is_refused(tmp_path):
    targets = write(tmp_path / "test_targets.csv", None, truth())
    submission = write(tmp_path / "submission.csv", None, truth())
    holes = write(tmp_path / "holes.csv", IDS, np.where(truth() == 20, np.nan, truth()))
    narrow = tmp_path / "narrow.csv"
    pd.DataFrame({"ID": IDS, "x_0": 1.0}).to_csv(narrow, index=False)

    with pytest.raises(ValueError, match=r"test_targets\.csv: expected a column ID"):
        evaluation.read_targets(targets)
    with pytest.raises(ValueError, match=r"expected a column ID, or .*test_features.csv for the order"):
        evaluation.read_predictions(submission, targets)
    pd.DataFrame({"ID": IDS[:2]}).to_csv(tmp_path / "test_features.csv", index=False)
    with pytest.raises(ValueError, match=r"expected 2 rows as in .*test_features.csv, found 3"):
        evaluation.read_predictions(submission, targets)
    with pytest.raises(ValueError, match="expected finite numbers, found others at a_120"):
        evaluation.read_predictions(holes, targets)
    with pytest.raises(ValueError, match="expected the 18 targets, missing: y_0"):
        evaluation.read_predictions(narrow, targets)
    with pytest.raises(ValueError, match=r"nowhere\.csv: expected a table, found no file"):
        evaluation.read_predictions(tmp_path / "nowhere.csv", targets)
    with pytest.raises(ValueError, match=r"predictions: expected each of 3 IDs once.*missing: b_20"):
        evaluation.aligned(IDS, IDS[:2], truth()[:2])
