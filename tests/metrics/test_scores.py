"""Scores of every part must equal calculations by hand, and gains must compare the same samples."""

import numpy as np
import pytest

from atma18.metrics import scores
from atma18.schema import TARGETS

SCENES = np.array(["a", "b", "b"])
SIZES = np.array([1, 2, 2])


def zero(n=3):
    return np.zeros((n, 18))


def by_metric(predicted_m, truth_m, parts, scenes=SCENES, split="oof"):
    return {s.part.metric(split): s.mae_m for s in scores.scores(predicted_m, truth_m, parts, scenes)}


def test_every_part_is_named_and_averaged_and_only_those_that_occur():
    predicted_m, truth_m = zero(2), zero(2)
    predicted_m[:, TARGETS.index("y_5")] = 9.0
    truth_m[:, TARGETS.index("z_0")] = [18.0, 0.0]
    parts = scores.parts(np.array([1, 6]), np.array([0.0, 12.0]), np.array([6]))

    found = by_metric(predicted_m, truth_m, parts, np.array(["a", "b"]))

    assert found == pytest.approx(
        {
            "oof/mae_m": 1.0,  # (2 * 9 + 18) / 36
            "oof/mae_m_testmix": 0.5,  # sample 2 alone: 9 / 18
            "oof_axis/x_m": 0.0,
            "oof_axis/y_m": 1.5,  # 9 in one of 6 horizons
            "oof_axis/z_m": 1.5,  # 18 in one of 12
            "oof_horizon/0.5s_m": 3.0,  # 18 in one of 6
            "oof_horizon/1.0s_m": 0.0,
            "oof_horizon/1.5s_m": 0.0,
            "oof_horizon/2.0s_m": 0.0,
            "oof_horizon/2.5s_m": 0.0,
            "oof_horizon/3.0s_m": 3.0,  # 9 in one of 3 axes
            "oof_size/1_m": 1.5,  # (9 + 18) / 18
            "oof_size/6_or_more_m": 0.5,
            "oof_speed/below_1mps_m": 1.5,
            "oof_speed/10_to_15mps_m": 0.5,
        }
    )


def test_parts_without_speeds_and_test_samples_are_left_out():
    names = by_metric(zero(), zero(), scores.parts(SIZES), split="test")

    assert {name.split("/")[0] for name in names} == {"test", "test_axis", "test_horizon", "test_size"}
    assert "test/mae_m_testmix" not in names


def test_the_test_mix_weighs_scene_sizes_as_the_test_split_does():
    predicted_m = zero() + np.array([[1.0], [4.0], [6.0]])  # 1 m alone, 5 m in pairs
    [mix] = [p for p in scores.parts(SIZES, test_sizes=np.array([1, 1, 1, 2])) if p.name == scores.TESTMIX]

    [found] = scores.scores(predicted_m, zero(), [mix], SCENES)

    assert found.mae_m == pytest.approx(3 / 4 * 1 + 1 / 4 * 5)


def test_gains_are_those_of_the_same_samples_part_by_part():
    ours_m, other_m = zero() + np.array([[1.0], [4.0], [6.0]]), zero() + np.array([[-2.0], [4.0], [3.0]])

    board = scores.compare(ours_m, {"nn1": other_m}, zero(), scores.parts(SIZES), SCENES, ours="blend")
    row = board.set_index(["model", "by", "part"])

    assert row.loc[("blend", "", "all"), "mae_m"] == pytest.approx(11 / 3)
    assert row.loc[("nn1", "", "all"), "mae_m"] == pytest.approx(9 / 3)
    assert row.loc[("nn1", "", "all"), "gain_m"] == pytest.approx(-2 / 3)  # ours is worse
    assert row.loc[("nn1", "size", "1"), "gain_m"] == pytest.approx(1.0)
    assert row.loc[("nn1", "size", "2"), "gain_m"] == pytest.approx(-1.5)
    assert row.loc[("nn1", "size", "2"), "samples"] == 2
    assert (board[board["model"] == "blend"][["gain_m", "gain_low_m", "gain_high_m"]] == 0).all(axis=None)


def test_the_interval_of_a_gain_is_that_of_paired_draws():
    """Whoever is always better by the same has no doubt about it, however much both vary."""
    errors_m = np.random.default_rng(0).uniform(1, 9, size=(30, 1))
    scenes = np.repeat(np.arange(10), 3).astype(np.str_)
    parts = scores.parts(np.full(30, 3))[:1]

    board = scores.compare(zero(30) + errors_m, {"worse": zero(30) + errors_m + 0.25}, zero(30), parts, scenes, "ours")
    worse = board.iloc[1]

    np.testing.assert_allclose([worse["gain_low_m"], worse["gain_m"], worse["gain_high_m"]], 0.25)
    assert worse["high_m"] - worse["low_m"] > 0.5


def test_a_tie_has_no_gain():
    errors_m = np.random.default_rng(0).normal(size=(30, 18))
    scenes = np.repeat(np.arange(10), 3).astype(np.str_)

    board = scores.compare(errors_m, {"same": errors_m.copy()}, zero(30), scores.parts(np.full(30, 3)), scenes, "ours")

    assert (board[["gain_m", "gain_low_m", "gain_high_m"]] == 0).all(axis=None)
