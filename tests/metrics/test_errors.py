"""Metrics must equal calculations by hand."""

import numpy as np
import pytest

from atma18 import metrics

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
    train, test = np.array([1, 2, 2, 7]), np.array([1, 2, 2, 6])

    # A quarter of the test samples is alone, half in pairs, a quarter in six or more.
    np.testing.assert_allclose(metrics.size_mix(train, test).weights(train), [1 / 4, 1 / 4, 1 / 4, 1 / 4])
    np.testing.assert_allclose(
        metrics.size_mix(train, np.array([1, 1, 6, 2])).weights(train), [1 / 2, 1 / 8, 1 / 8, 1 / 4]
    )


def test_testmix_drops_what_training_cannot_score_and_renormalises():
    mix = metrics.size_mix(np.array([1, 2, 2, 3]), np.array([1, 2, 2, 4, 4, 4]))

    assert mix.dropped == ("4",)
    assert mix.shares == {"1": 1 / 3, "2": 2 / 3}
    np.testing.assert_allclose(mix.weights(np.array([1, 2, 2, 3])), [1 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize(
    ("test_sizes", "dropped"),
    [pytest.param([5, 5], ("5",), id="no class in common"), pytest.param([], (), id="no test samples")],
)
def test_testmix_without_a_common_class_weighs_all_the_same(test_sizes, dropped):
    train, test = np.array([1, 2, 2, 3]), np.array(test_sizes, dtype=int)

    assert metrics.size_mix(train, test).dropped == dropped
    np.testing.assert_array_equal(metrics.size_mix(train, test).weights(train), [1 / 4] * 4)


def test_speeds_belong_to_bands_that_reach_from_below_zero_up():
    bands = metrics.speed_band(np.array([-0.02, 0.99, 1.0, 7.5, 14.9, 15.0, 40.0]))

    assert [metrics.SPEED_BANDS[b].split("mps")[0] for b in bands] == [
        "below_1",
        "below_1",
        "1_to_5",
        "5_to_10",
        "10_to_15",
        "15",
        "15",
    ]


def interval(values, scenes, **options):
    [found] = metrics.scene_bootstrap(values[None], scenes, **options)
    return found.low, found.high


def test_equal_values_leave_no_doubt():
    assert interval(np.full(5, 0.25), np.array(list("aabbc")), seed=0) == (0.25, 0.25)


def test_interval_of_single_sample_scenes_is_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3.0, 1.0, 2500)

    low, high = interval(values, np.arange(2500).astype(np.str_), seed=1)

    half_width = 1.96 * values.std() / 50  # standard error: sigma over the root of 2500
    np.testing.assert_allclose([low, high], values.mean() + np.array([-half_width, half_width]), atol=0.1 * half_width)


def test_copies_of_a_sample_inside_its_scene_do_not_narrow_the_interval():
    values, scenes = np.random.default_rng(0).normal(size=200), np.arange(200).astype(np.str_)

    once = interval(values, scenes, seed=1)
    nine_times = interval(np.tile(values, 9), np.tile(scenes, 9), seed=1)

    np.testing.assert_allclose(nine_times, once, rtol=1e-12)


def test_bootstrap_weighs_samples_not_scenes():
    scenes = np.array(["big"] * 99 + ["small"])
    values = np.array([0.0] * 99 + [1.0])

    # The mean of a draw is 0 (big twice), 1/100 (one each) or 1 (small twice); the extremes have 25 % each.
    assert interval(values, scenes, seed=0) == (0.0, 1.0)
    assert interval(values, scenes, resamples=1, seed=0)[0] in (0.0, 0.01, 1.0)


def test_bootstrap_agrees_with_resampling_row_by_row():
    rng = np.random.default_rng(3)
    scenes = np.sort(rng.integers(12, size=40)).astype(np.str_)
    values, names = rng.normal(size=40), np.unique(scenes)
    draws = np.random.default_rng(5)
    means = [
        np.concatenate([values[scenes == names[s]] for s in draws.integers(len(names), size=len(names))]).mean()
        for _ in range(300)
    ]

    found = interval(values, scenes, resamples=300, seed=5)

    np.testing.assert_allclose(found, np.percentile(means, [2.5, 97.5]), rtol=1e-12)


def test_bootstrap_repeats_with_its_seed_and_only_then():
    values, scenes = np.random.default_rng(0).normal(size=60), np.repeat(np.arange(20), 3).astype(np.str_)

    assert interval(values, scenes, seed=4) == interval(values, scenes, seed=4)
    assert interval(values, scenes, seed=4) != interval(values, scenes, seed=5)


@pytest.mark.parametrize(
    ("values", "scenes", "message"),
    [
        pytest.param(np.zeros(0), np.zeros(0, dtype=np.str_), "at least one sample", id="nothing"),
        pytest.param(np.zeros(2), np.array(["a"]), r"scenes of shape \(2,\), found \(1,\)", id="other length"),
    ],
)
def test_bootstrap_refuses_what_it_cannot_resample(values, scenes, message):
    with pytest.raises(ValueError, match=message):
        metrics.scene_bootstrap(values[None], scenes, seed=0)


def test_bootstrap_of_weighted_samples_is_that_of_their_part_alone():
    """Samples that weigh nothing do not count, but a draw still takes from all scenes."""
    rng = np.random.default_rng(0)
    scenes = np.repeat(np.arange(12), 3).astype(np.str_)
    values, weights = rng.normal(size=36), np.repeat(rng.uniform(0, 2, 12) * (np.arange(12) % 3 > 0), 3)
    draws = np.random.default_rng(7)
    means = []
    for _ in range(250):
        rows = np.concatenate([np.flatnonzero(scenes == str(s)) for s in draws.integers(12, size=12)])
        # numpy sorts the names as text: 0, 1, 10, 11, 2 …
        named = np.unique(scenes)
        rows = np.concatenate([np.flatnonzero(scenes == named[int(scenes[r])]) for r in rows[::3]])
        means.append(np.average(values[rows], weights=weights[rows]))

    [found] = metrics.scene_bootstrap(values[None], scenes, weights=weights[None], resamples=250, seed=7)

    np.testing.assert_allclose([found.low, found.high], np.percentile(means, [2.5, 97.5]), rtol=1e-12)
    assert found.mean == pytest.approx(np.average(values, weights=weights))


def test_draws_without_any_weight_are_left_out():
    values, scenes = np.array([[1.0, 5.0]]), np.array(["a", "b"])

    [found] = metrics.scene_bootstrap(values, scenes, weights=np.array([[1.0, 0.0]]), seed=0)

    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="not all 0 in a row"):
        metrics.scene_bootstrap(values, scenes, weights=np.zeros((1, 2)), seed=0)


def test_all_columns_see_the_same_draws():
    rng = np.random.default_rng(0)
    values, scenes = rng.normal(size=(2, 30)), np.repeat(np.arange(10), 3).astype(np.str_)

    together = metrics.scene_bootstrap(np.stack([values[0], values[1], values[0] - values[1]]), scenes, seed=3)
    alone = [metrics.scene_bootstrap(v[None], scenes, seed=3)[0] for v in values]

    assert together[:2] == alone
    assert together[2].mean == pytest.approx(alone[0].mean - alone[1].mean)


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

    metrics.scene_bootstrap(one.T, np.array(list("aabb")), seed=0)
    metrics.in_fold_median(truth, np.array([0, 0, 1, 1]))

    for array, copy in zip((one, other, truth), before, strict=True):
        np.testing.assert_array_equal(array, copy)
