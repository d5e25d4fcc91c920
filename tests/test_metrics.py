"""Metrics must agree with sums that can be done on paper."""

import numpy as np
import pytest

from atma18 import metrics
from atma18.schema import TARGETS

ZERO_M = np.zeros((4, 18))


def errors_of(*per_sample_m):
    """(N, 18) predictions whose error against 0 is the same in all targets of a sample."""
    return np.repeat(np.array(per_sample_m, dtype=float)[:, None], 18, axis=1)


@pytest.mark.parametrize(
    ("predicted_m", "expected_m"),
    [
        pytest.param(errors_of(0, 0, 0, 0), 0.0, id="perfect"),
        pytest.param(errors_of(1, -1, 1, -1), 1.0, id="opposite biases do not cancel"),
        pytest.param(errors_of(4, 0, 0, 0), 1.0, id="one sample off"),
    ],
)
def test_mae_is_the_mean_over_samples_and_targets(predicted_m, expected_m):
    assert metrics.mae_m(predicted_m, ZERO_M) == expected_m


@pytest.mark.parametrize(
    ("predicted_m", "truth_m", "message"),
    [
        pytest.param(np.zeros((3, 18)), ZERO_M, r"\(3, 18\) and \(4, 18\)", id="other samples"),
        pytest.param(np.zeros((4, 6, 3)), np.zeros((4, 6, 3)), r"\(4, 6, 3\)", id="waypoints"),
        pytest.param(np.zeros((4, 1)), ZERO_M, r"\(4, 1\)", id="would broadcast"),
        pytest.param(np.zeros((0, 18)), np.zeros((0, 18)), r"N of at least 1", id="nothing"),
    ],
)
def test_other_shapes_are_refused_naming_them(predicted_m, truth_m, message):
    with pytest.raises(ValueError, match=message):
        metrics.mae_m(predicted_m, truth_m)


def test_scenes_of_six_and_more_share_a_class():
    classes = metrics.size_class(np.array([1, 2, 3, 4, 5, 6, 7, 60]))

    assert [metrics.SIZE_CLASSES[c] for c in classes] == ["1", "2", "3", "4", "5", *["6_or_more"] * 3]


def test_a_scene_size_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1, found 0"):
        metrics.size_class(np.array([2, 0]))


def test_testmix_weighs_classes_by_test_samples():
    predicted_m = errors_of(1, 3, 3, 8)  # MAE 1 m alone, 3 m in pairs, 8 m in sevens
    train, test = np.array([1, 2, 2, 7]), np.array([1, 2, 2, 6])

    assert metrics.testmix_mae_m(predicted_m, ZERO_M, train, test) == 1 / 4 * 1 + 1 / 2 * 3 + 1 / 4 * 8


def test_testmix_drops_what_training_cannot_score_and_renormalises():
    mix = metrics.size_mix(np.array([1, 2, 2, 3]), np.array([1, 2, 2, 4, 4, 4]))

    assert mix.dropped == ("4",)
    assert mix.shares == {"1": 1 / 3, "2": 2 / 3}
    assert mix.mae_m(errors_of(3, 6, 6, 100), ZERO_M, np.array([1, 2, 2, 3])) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("test_sizes", "dropped"),
    [pytest.param([5, 5], ("5",), id="no class in common"), pytest.param([], (), id="no test samples")],
)
def test_testmix_without_a_common_class_is_the_plain_mae(test_sizes, dropped):
    train, test = np.array([1, 2, 2, 3]), np.array(test_sizes, dtype=int)

    assert metrics.size_mix(train, test).dropped == dropped
    assert metrics.testmix_mae_m(errors_of(1, 2, 3, 4), ZERO_M, train, test) == 2.5


def test_summary_names_every_number_and_only_sizes_that_occur():
    predicted_m = np.zeros((2, 18))
    predicted_m[:, TARGETS.index("y_5")] = 9.0
    truth_m = np.zeros((2, 18))
    truth_m[:, TARGETS.index("z_0")] = [18.0, 0.0]

    found = metrics.summary(predicted_m, truth_m, np.array([1, 6]), np.array([6]))

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
        }
    )


def test_summary_takes_its_prefix_from_the_split():
    names = metrics.summary(ZERO_M, ZERO_M, np.ones(4, dtype=int), np.ones(1, dtype=int), split="test")

    assert {name.split("/")[0] for name in names} == {"test", "test_axis", "test_horizon", "test_size"}


def test_sizes_of_other_samples_are_refused():
    with pytest.raises(ValueError, match=r"scene sizes of shape \(4,\), found \(3,\)"):
        metrics.mae_by_size_m(ZERO_M, ZERO_M, np.ones(3, dtype=int))


def test_equal_values_leave_no_doubt():
    assert metrics.scene_bootstrap(np.full(5, 0.25), np.array(list("aabbc")), seed=0) == (0.25, 0.25)


def test_interval_of_single_sample_scenes_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3.0, 1.0, 2500)

    low, high = metrics.scene_bootstrap(values, np.arange(2500).astype(np.str_), seed=1)

    half_width = 1.96 * values.std() / 50  # standard error: sigma over the root of 2500
    np.testing.assert_allclose([low, high], values.mean() + np.array([-half_width, half_width]), atol=0.1 * half_width)


def test_copies_of_a_sample_inside_its_scene_do_not_narrow_the_interval():
    values, scenes = np.random.default_rng(0).normal(size=200), np.arange(200).astype(np.str_)

    once = metrics.scene_bootstrap(values, scenes, seed=1)
    nine_times = metrics.scene_bootstrap(np.tile(values, 9), np.tile(scenes, 9), seed=1)

    np.testing.assert_allclose(nine_times, once, rtol=1e-12)


def test_bootstrap_weighs_samples_not_scenes():
    scenes = np.array(["big"] * 99 + ["small"])
    values = np.array([0.0] * 99 + [1.0])

    # The mean of a draw is 0 (big twice), 1/100 (one each) or 1 (small twice); the extremes have 25 % each.
    assert metrics.scene_bootstrap(values, scenes, seed=0) == (0.0, 1.0)
    assert metrics.scene_bootstrap(values, scenes, resamples=1, seed=0)[0] in (0.0, 0.01, 1.0)


def test_bootstrap_agrees_with_resampling_row_by_row():
    rng = np.random.default_rng(3)
    scenes = np.sort(rng.integers(12, size=40)).astype(np.str_)
    values, names = rng.normal(size=40), np.unique(scenes)
    draws = np.random.default_rng(5)
    means = [
        np.concatenate([values[scenes == names[s]] for s in draws.integers(len(names), size=len(names))]).mean()
        for _ in range(300)
    ]

    found = metrics.scene_bootstrap(values, scenes, resamples=300, seed=5)

    np.testing.assert_allclose(found, np.percentile(means, [2.5, 97.5]), rtol=1e-12)


def test_bootstrap_repeats_with_its_seed_and_only_then():
    values, scenes = np.random.default_rng(0).normal(size=60), np.repeat(np.arange(20), 3).astype(np.str_)

    assert metrics.scene_bootstrap(values, scenes, seed=4) == metrics.scene_bootstrap(values, scenes, seed=4)
    assert metrics.scene_bootstrap(values, scenes, seed=4) != metrics.scene_bootstrap(values, scenes, seed=5)


@pytest.mark.parametrize(
    ("values", "scenes", "message"),
    [
        pytest.param(np.zeros(0), np.zeros(0, dtype=np.str_), "at least one sample", id="nothing"),
        pytest.param(np.zeros(2), np.array(["a"]), r"scenes of shape \(2,\), found \(1,\)", id="other length"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_resample(values, scenes, message):
    with pytest.raises(ValueError, match=message):
        metrics.scene_bootstrap(values, scenes, seed=0)


def test_gain_is_positive_for_the_better_predictions():
    scenes = np.array(list("aabb"))

    gain = metrics.paired_gain(errors_of(1, -1, 1, -1), errors_of(-3, 3, 3, -3), ZERO_M, scenes, seed=0)

    assert gain == metrics.PairedGain(mean_m=2.0, low_m=2.0, high_m=2.0)


def test_swapped_predictions_have_the_opposite_gain():
    rng = np.random.default_rng(0)
    one, other, truth = rng.normal(size=(3, 30, 18))
    scenes = np.repeat(np.arange(10), 3).astype(np.str_)

    gain = metrics.paired_gain(one, other, truth, scenes, seed=0)
    loss = metrics.paired_gain(other, one, truth, scenes, seed=0)

    assert gain.low_m < gain.mean_m < gain.high_m
    np.testing.assert_allclose([gain.mean_m, gain.low_m, gain.high_m], [-loss.mean_m, -loss.high_m, -loss.low_m])


def test_median_comes_from_the_other_folds_alone():
    truth_m = errors_of(0, 100, 1, 2, 6)

    medians_m = metrics.in_fold_median(truth_m, np.array([0, 0, 1, 1, 1]))

    np.testing.assert_array_equal(medians_m, errors_of(2, 2, 50, 50, 50))


def test_median_needs_a_second_fold():
    with pytest.raises(ValueError, match="at least 2 folds, found 1"):
        metrics.in_fold_median(ZERO_M, np.zeros(4, dtype=int))


def test_arguments_stay_as_they_are():
    rng = np.random.default_rng(0)
    one, other, truth = rng.normal(size=(3, 4, 18))
    before = [array.copy() for array in (one, other, truth)]

    metrics.paired_gain(one, other, truth, np.array(list("aabb")), seed=0)
    metrics.in_fold_median(truth, np.array([0, 0, 1, 1]))

    for array, copy in zip((one, other, truth), before, strict=True):
        np.testing.assert_array_equal(array, copy)
