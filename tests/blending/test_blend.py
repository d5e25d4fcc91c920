"""Weights must equal those by hand or by a linear programme, and no row's prediction may depend on its own target."""

import json

import numpy as np
import pytest

from atma18 import blending
from atma18.blending import Blend
from atma18.blending.methods import fit_weights
from atma18.config import BlendConfig

CONFIG = BlendConfig(method="exact")
CONFIGS = [BlendConfig(method=method, per_axis=each) for method in ("exact", "shrunk") for each in (False, True)]
BY_CONFIG = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.method} {config.per_axis}")
GROUPS = CONFIG.groups  # 1 and 2, then 3 and more


def scenes_of(n, size=3):
    return np.array([f"s{i // size:04}" for i in range(n)])


def targets(n=30, seed=0):
    return np.random.default_rng(seed).normal(scale=10.0, size=(n, 18))


def noisy_stack(targets_m, scales_m, seed=1):
    rng = np.random.default_rng(seed)
    return np.stack([targets_m + rng.normal(scale=scale_m, size=targets_m.shape) for scale_m in scales_m])


def test_each_scene_size_belongs_to_its_group():
    np.testing.assert_array_equal(blending.group_of(np.array([1, 2, 3, 6, 40]), GROUPS), [0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match="at least 1, found 0"):
        blending.group_of(np.array([0, 1]), GROUPS)


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param((), id="none"),
        pytest.param(((2, None),), id="starts late"),
        pytest.param(((1, 2), (4, None)), id="gap"),
        pytest.param(((1, 3), (3, None)), id="overlap"),
        pytest.param(((1, 2), (3, 6)), id="end closed"),
        pytest.param(((1, None), (3, None)), id="open in the middle"),
        pytest.param(((3, None), (1, 2)), id="descending"),
        pytest.param(((1, 0), (1, None)), id="empty group"),
    ],
)
def test_groups_that_miss_or_repeat_a_size_are_refused(groups):
    with pytest.raises(ValueError, match="from 1, ascending, without gaps, the last one open"):
        Blend(("nn1",), groups, np.ones((len(groups), 1)))
    with pytest.raises(ValueError, match="from 1, ascending"):
        blending.group_of(np.array([1]), groups)


def test_each_group_gets_the_input_that_is_right_there():
    targets_m, sizes = targets(300), np.arange(300) % 6 + 1
    small = (sizes <= 2)[:, None]
    stack_m = np.stack([np.where(small, targets_m, 0.0), np.where(small, 0.0, targets_m)])

    blend = blending.fit(stack_m, targets_m, sizes, scenes_of(len(sizes)), CONFIG, ("near", "far")).blend

    np.testing.assert_allclose(blend.weights, [[1, 0], [0, 1]], atol=1e-3)
    np.testing.assert_allclose(blend.apply(stack_m, sizes), targets_m, atol=0.1)


@pytest.mark.parametrize("small", [0, 1, 49], ids=["none", "one", "one too few"])
def test_a_group_with_few_rows_gets_the_weights_of_all_rows(small):
    sizes = np.r_[np.full(small, 1), np.full(200 - small, 4)]
    targets_m = targets(200)
    stack_m = noisy_stack(targets_m, (1.0, 0.5))
    stack_m[0, sizes == 1] = targets_m[sizes == 1]  # alone, the small scenes would take the first input

    fitted = blending.fit(stack_m, targets_m, sizes, scenes_of(len(sizes)), CONFIG, ("nn1", "nn2"))

    assert fitted.borrowed == (True, False)
    assert fitted.samples == (small, 200 - small)
    np.testing.assert_array_equal(
        fitted.blend.weights[0], fit_weights(stack_m, targets_m, scenes_of(200), CONFIG).values
    )
    large = fit_weights(stack_m[:, sizes == 4], targets_m[sizes == 4], scenes_of(200)[sizes == 4], CONFIG)
    np.testing.assert_array_equal(fitted.blend.weights[1], large.values)
    assert [part.bound_m for part in fitted.parts[1]] == [large.bound_m]


def test_a_group_with_enough_rows_has_weights_of_its_own():
    sizes = np.r_[np.full(blending.FEWEST_SAMPLES, 1), np.full(100, 4)]
    targets_m = targets(150)
    stack_m = noisy_stack(targets_m, (1.0, 0.5))
    stack_m[0, sizes == 1] = targets_m[sizes == 1]

    fitted = blending.fit(stack_m, targets_m, sizes, scenes_of(len(sizes)), CONFIG, ("nn1", "nn2"))

    assert fitted.borrowed == (False, False)
    np.testing.assert_allclose(fitted.blend.weights[0], [1, 0], atol=1e-6)


@BY_CONFIG
def test_cross_fitting_never_looks_at_a_rows_own_target(config):
    targets_m, sizes, folds = targets(), np.arange(30) % 6 + 1, np.arange(30) // 10
    stack_m, scenes = noisy_stack(targets_m, (1.0, 0.5)), scenes_of(30, size=2)
    inside = folds == 1
    changed_m = np.where(inside[:, None], -targets_m, targets_m)

    before_m, after_m = (
        blending.cross_fit(stack_m, t, sizes, scenes, folds, config, ("nn1", "nn2")) for t in (targets_m, changed_m)
    )

    np.testing.assert_array_equal(before_m[inside], after_m[inside])
    assert not np.array_equal(before_m[~inside], after_m[~inside])


@BY_CONFIG
def test_cross_fitting_uses_all_other_folds(config):
    targets_m, sizes, folds = targets(), np.arange(30) % 6 + 1, np.arange(30) // 10
    stack_m, scenes, names = noisy_stack(targets_m, (1.0, 0.5)), scenes_of(30, size=2), ("nn1", "nn2")
    others = folds != 2
    blend = blending.fit(stack_m[:, others], targets_m[others], sizes[others], scenes[others], config, names).blend

    blended_m = blending.cross_fit(stack_m, targets_m, sizes, scenes, folds, config, names)

    np.testing.assert_array_equal(blended_m[~others], blend.apply(stack_m[:, ~others], sizes[~others]))
    with pytest.raises(ValueError, match="at least 2 folds to cross-fit, found 1"):
        blending.cross_fit(stack_m, targets_m, sizes, scenes, np.zeros(30, int), config, names)


@pytest.mark.parametrize("method", ["exact", "shrunk"])
def test_weights_per_axis_are_those_of_three_fits_to_one_axis_each(method):
    sizes, targets_m = np.r_[np.full(60, 2), np.full(90, 5)], targets(150)
    stack_m, scenes = noisy_stack(targets_m, (1.0, 0.5, 0.7)), scenes_of(150)
    stack_m[0, :, 1::3] = targets_m[:, 1::3]  # the first input is right in y alone
    config = BlendConfig(method=method, per_axis=True)

    fitted = blending.fit(stack_m, targets_m, sizes, scenes, config, ("a", "b", "c"))

    blended_m = fitted.blend.apply(stack_m, sizes)
    np.testing.assert_allclose(fitted.blend.weights[:, 1], [[1, 0, 0]] * 2, atol=1e-6)
    for group, rows in enumerate((sizes == 2, sizes == 5)):
        for axis in range(3):
            of_axis = np.arange(axis, 18, 3)  # x_0, y_0, z_0, x_1 and so on
            one_m, true_m = stack_m[:, rows][:, :, of_axis], targets_m[rows][:, of_axis]
            alone = fit_weights(one_m, true_m, scenes[rows], config)
            np.testing.assert_array_equal(fitted.blend.weights[group, axis], alone.values)
            assert fitted.parts[group][axis].bound_m == pytest.approx(alone.bound_m, rel=1e-12)
            expected_m = np.tensordot(alone.values, one_m, axes=1)
            np.testing.assert_allclose(blended_m[np.ix_(rows, of_axis)], expected_m, rtol=1e-12)


def test_one_absurd_axis_does_not_touch_the_weights_of_the_others():
    targets_m, sizes, names = targets(90), np.full(90, 4), ("a", "b")
    stack_m, scenes = noisy_stack(targets_m, (0.5, 0.6)), scenes_of(90)
    absurd_m = stack_m.copy()
    absurd_m[0, :, 2::3] += 100.0

    before, after = (
        blending.fit(s, targets_m, sizes, scenes, BlendConfig(per_axis=True), names).blend.weights[1]
        for s in (stack_m, absurd_m)
    )

    np.testing.assert_array_equal(before[:2], after[:2])
    np.testing.assert_allclose(after[2], [0, 1], atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)], ids=["all axes together", "each axis"])
def test_a_row_does_not_depend_on_its_neighbours(shape):
    blend = Blend(("a", "b", "c"), GROUPS, np.random.default_rng(0).dirichlet(np.ones(3), size=shape[:-1]))
    stack_m, sizes = noisy_stack(targets(), (1.0, 2.0, 3.0)), np.arange(30) % 6 + 1

    one_by_one_m = np.concatenate([blend.apply(stack_m[:, [i]], sizes[[i]]) for i in range(30)])

    np.testing.assert_array_equal(blend.apply(stack_m, sizes), one_by_one_m)


@pytest.mark.parametrize(
    ("groups", "causal"),
    [
        pytest.param(((1, None),), True, id="one group"),
        pytest.param(GROUPS, False, id="two groups"),
        pytest.param(((1, 1), (2, 2), (3, None)), False, id="three groups"),
    ],
)
def test_a_blend_is_causal_if_later_samples_of_a_scene_cannot_change_its_weights(groups, causal):
    blend = Blend(("a", "b"), groups, np.linspace([1.0, 0.0], [0.0, 1.0], len(groups)))
    stack_m = np.stack([np.zeros((6, 18)), np.ones((6, 18))])

    alone_m, in_company_m = (blend.apply(stack_m, sizes) for sizes in (np.ones(6, int), np.arange(1, 7)))

    assert blend.causal == np.array_equal(alone_m, in_company_m) == causal


def test_a_blend_survives_json():
    blend = Blend(("nn1", "gbdt"), GROUPS, np.array([[0.1, 0.9], [1 / 3, 2 / 3]]))

    read = Blend.from_json(json.loads(json.dumps(blend.describe())))

    assert (read.inputs, read.groups) == (blend.inputs, blend.groups)
    np.testing.assert_array_equal(read.weights, blend.weights)
    with pytest.raises(ValueError, match="found groups, inputs, weights, wights"):
        Blend.from_json({**blend.describe(), "wights": []})


def test_a_blend_with_weights_per_axis_survives_json():
    blend = Blend(("nn1", "gbdt"), GROUPS, np.random.default_rng(0).dirichlet([1, 1], size=(2, 3)))

    read = Blend.from_json(json.loads(json.dumps(blend.describe())))

    np.testing.assert_array_equal(read.weights, blend.weights)
    assert (read.axes, blend.causal) == (("x", "y", "z"), False)


def test_a_blend_of_before_is_read_and_written_as_it_was():
    text = '{"inputs": ["nn1", "gbdt"], "groups": [[1, 2], [3, null]], "weights": [[0.25, 0.75], [1.0, 0.0]]}'

    blend = Blend.from_json(json.loads(text))

    assert (blend.inputs, blend.groups, blend.axes) == (("nn1", "gbdt"), ((1, 2), (3, None)), ())
    assert json.dumps(blend.describe()) == text
    ones_and_tens_m = np.stack([np.full((2, 18), 1.0), np.full((2, 18), 10.0)])
    np.testing.assert_array_equal(blend.apply(ones_and_tens_m, np.array([2, 3])), [[7.75] * 18, [1.0] * 18])


def test_weights_per_axis_meet_the_targets_of_their_axis():
    blend = Blend(("a", "b"), ((1, None),), np.array([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]]))
    ones_and_tens_m = np.stack([np.full((1, 18), 1.0), np.full((1, 18), 10.0)])

    np.testing.assert_array_equal(blend.apply(ones_and_tens_m, np.array([3])), [[1.0, 10.0, 5.5] * 6])


@pytest.mark.parametrize(
    ("inputs", "weights", "message"),
    [
        pytest.param(("a", "a"), [[0.5, 0.5]] * 2, "repeated: a", id="repeated input"),
        pytest.param(("a", "b"), [[0.5, 0.5]], r"\(2, 2\) or \(2, 3, 2\), found \(1, 2\)", id="group without weights"),
        pytest.param(("a", "b"), [[[0.5, 0.5]] * 2] * 2, r"or \(2, 3, 2\), found \(2, 2, 2\)", id="two axes"),
        pytest.param(("a", "b"), [[[0.5, 0.5], [1, 1], [1, 0]]] * 2, "at least 0 summing to 1", id="sum of an axis"),
        pytest.param(("a", "b"), [[1.5, -0.5]] * 2, "at least 0 summing to 1", id="negative"),
        pytest.param(("a", "b"), [[0.5, 0.4]] * 2, "at least 0 summing to 1", id="sum below one"),
        pytest.param(("a", "b"), [[np.nan, 0.5]] * 2, "at least 0 summing to 1", id="not a number"),
    ],
)
def test_blends_that_are_no_weighted_mean_are_refused(inputs, weights, message):
    with pytest.raises(ValueError, match=message):
        Blend(inputs, GROUPS, np.array(weights))


def test_stacks_that_do_not_fit_are_refused():
    targets_m, sizes, scenes = targets(), np.full(30, 2), scenes_of(30)
    stack_m = noisy_stack(targets_m, (1.0, 2.0))
    with pytest.raises(ValueError, match=r"3 inputs and 30 rows, found \(2, 30, 18\)"):
        blending.fit(stack_m, targets_m, sizes, scenes, CONFIG, ("a", "b", "c"))
    with pytest.raises(ValueError, match="finite predictions, found 540 others"):
        absurd_m = np.stack([targets_m, np.full_like(targets_m, np.nan)])
        blending.fit(absurd_m, targets_m, sizes, scenes, CONFIG, ("a", "b"))
    with pytest.raises(ValueError, match=r"finite targets \(30, 18\), found \(31, 18\)"):
        blending.fit(stack_m, targets(n=31), sizes, scenes, CONFIG, ("a", "b"))
    with pytest.raises(ValueError, match=r"a scene for each of 30 rows, found \(29,\)"):
        blending.fit(stack_m, targets_m, sizes, scenes[1:], CONFIG, ("a", "b"))
    with pytest.raises(ValueError, match=r"a fold for each of 30 rows, found \(29,\)"):
        blending.cross_fit(stack_m, targets_m, sizes, scenes, np.arange(29), CONFIG, ("a", "b"))
    with pytest.raises(ValueError, match="found none"):
        blending.fit(stack_m[:, :0], targets_m[:0], sizes[:0], scenes[:0], CONFIG, ("a", "b"))


@BY_CONFIG
def test_arguments_are_left_as_they_were(config):
    targets_m, sizes, folds = targets(), np.arange(30) % 6 + 1, np.arange(30) // 10
    stack_m = noisy_stack(targets_m, (1.0, 0.5))
    arrays = (stack_m, targets_m, sizes, scenes_of(30), folds)
    before = [a.copy() for a in arrays]

    blending.cross_fit(*arrays, config, ("nn1", "nn2"))

    for now, then in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_blend_says_its_weights_in_words():
    blend = Blend(("nn1", "gbdt"), ((1, 2), (3, None)), np.array([[0.25, 0.75], [1.0, 0.0]]))

    assert str(blend) == "scenes of 1–2: nn1 25%, gbdt 75%; scenes of 3+: nn1 100%, gbdt 0%"
    assert str(Blend(blend.inputs, blend.groups, np.full((2, 2), 0.5))) == "nn1 50%, gbdt 50% in scenes of any size"


def test_a_blend_says_the_weights_of_each_axis_and_labels_each_row():
    x, y, z = [0.25, 0.75], [1.0, 0.0], [0.5, 0.5]
    blend = Blend(("nn1", "gbdt"), ((1, 2), (3, None)), np.array([[x, y, z], [y, x, z]]))
    one, other = "nn1 25%, gbdt 75%", "nn1 100%, gbdt 0%"
    half = "nn1 50%, gbdt 50%"

    assert str(blend) == (
        f"scenes of 1–2: x ({one}), y ({other}), z ({half}); scenes of 3+: x ({other}), y ({one}), z ({half})"
    )
    assert blend.row_labels == ["1–2, x", "1–2, y", "1–2, z", "3+, x", "3+, y", "3+, z"]
    assert Blend(blend.inputs, blend.groups, np.full((2, 2), 0.5)).row_labels == ["1–2", "3+"]
