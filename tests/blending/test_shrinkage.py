"""Pulled weights must be those of paper and of a whole linear programme, and the pull that of the rule over scenes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from atma18 import blending
from atma18.blending import convex_weights, methods, shrinkage
from atma18.blending.weights import Pull
from atma18.config import BlendConfig
from tests.blending.stacks import noisy_stack, targets

SHRUNK, EXACT = BlendConfig(method="shrunk"), BlendConfig(method="exact")


def scenes_of(n, size=3):
    return np.array([f"s{i // size:04}" for i in range(n)])


def objective_m(values, stack_m, targets_m, pull):
    mae_m = np.abs(np.tensordot(values, stack_m, axes=1) - targets_m).mean()
    return mae_m + pull.strength * (pull.distances_m * np.abs(values - pull.anchor)).sum()


def linear_programme(stack_m, targets_m, pull):
    """The least objective, as in a textbook: M weights, then |error| of every number, then |w - a| of every input."""
    m, y = len(stack_m), targets_m.ravel()
    p = stack_m.reshape(m, -1).T
    far, near = np.zeros((y.size, m)), np.zeros((m, y.size))
    eye_n, eye_m = np.eye(y.size), np.eye(m)
    solved = linprog(
        np.r_[np.zeros(m), np.full(y.size, 1 / y.size), pull.strength * pull.distances_m],
        A_ub=np.block([[p, -eye_n, far], [-p, -eye_n, far], [eye_m, near, -eye_m], [-eye_m, near, -eye_m]]),
        b_ub=np.r_[y, -y, pull.anchor, -pull.anchor],
        A_eq=np.r_[np.ones(m), np.zeros(y.size + m)][None],
        b_eq=[1.0],
    )
    return solved.fun


@pytest.mark.parametrize(
    ("strength", "expected", "objective"),
    [
        pytest.param(0.0, (0.75, 0.25), 0.0, id="no pull: the biases cancel"),
        pytest.param(0.25, (0.75, 0.25), 0.5, id="2 m per unit of weight against 4 m: not moved"),
        pytest.param(0.75, (1.0, 0.0), 1.0, id="6 m against 4 m: the anchor"),
    ],
)
@pytest.mark.parametrize("n", [1, 30, 500], ids=["one sample", "few", "more than one programme holds"])
def test_pulled_weights_are_those_worked_out_on_paper(strength, expected, objective, n):
    """Biases of 1 m and -3 m err by |4 w - 3| in the first weight w; the pull adds 8 m times strength times 1 - w."""
    targets_m = targets(n)
    pull = Pull(np.array([1.0, 0.0]), np.array([0.0, 8.0]), strength)

    found = convex_weights.exact(np.stack([targets_m + 1.0, targets_m - 3.0]), targets_m, pull)

    np.testing.assert_allclose(found.values, expected, atol=1e-7)
    assert found.objective_m == pytest.approx(objective, abs=1e-6)
    assert found.mae_m == pytest.approx(abs(4 * expected[0] - 3), abs=1e-6)
    assert found.bound_m == pytest.approx(objective, abs=1e-6)


@pytest.mark.parametrize("strength", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("scales_m", [(0.5, 0.7), (0.5, 0.6, 1.0), (1.0, 0.9, 0.8, 0.8, 5.0)])
@pytest.mark.parametrize("n", [1, 3, 40])
def test_a_linear_programme_finds_no_lower_objective_and_the_same_bound(n, scales_m, strength):
    targets_m = targets(n)
    stack_m = noisy_stack(targets_m, scales_m)
    anchor = np.random.default_rng(n).dirichlet(np.ones(len(scales_m)))
    pull = Pull(anchor, np.linspace(0.2, 2.0, len(scales_m)), strength)
    least_m = linear_programme(stack_m, targets_m, pull)

    found = convex_weights.exact(stack_m, targets_m, pull)

    assert found.objective_m == pytest.approx(least_m, rel=1e-7)
    assert found.bound_m == pytest.approx(least_m, rel=1e-7)
    assert found.objective_m == pytest.approx(objective_m(found.values, stack_m, targets_m, pull), rel=1e-12)


@pytest.mark.parametrize("strength", [0.003, 0.03, 0.3])
@pytest.mark.parametrize("count", [2, 4, 8])
def test_many_pulled_numbers_are_settled_and_approached(count, strength):
    targets_m = targets(3000)
    stack_m = noisy_stack(targets_m, np.linspace(0.3, 0.6, count))
    pull = replace(shrinkage.pull_of(stack_m, targets_m, scenes_of(3000)), strength=strength)

    found = convex_weights.exact(stack_m, targets_m, pull)
    weaker = replace(pull, strength=strength / 3)
    near = convex_weights.exact(stack_m, targets_m, weaker).values
    approached = convex_weights.approached(stack_m, targets_m, pull, near)

    assert found.gap <= 1e-9
    assert objective_m(approached, stack_m, targets_m, pull) == pytest.approx(found.objective_m, rel=1e-3)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0, 1, 3]), st.floats(0, 2))
def test_no_weights_fall_below_the_bound_of_the_pulled_problem(n, count, seed, digits, strength):
    rng = np.random.default_rng(seed)
    targets_m = targets(n, seed).round(digits)  # many residuals are 0 at once where digits are few
    stack_m = noisy_stack(targets_m, rng.uniform(0.01, 3, count), seed).round(digits)
    pull = Pull(rng.dirichlet(np.ones(count)), rng.uniform(0, 2, count), strength)

    found = convex_weights.exact(stack_m, targets_m, pull)

    tried = [*rng.dirichlet(np.ones(count), size=50), *np.eye(count), pull.anchor, found.values]
    lowest_m = min(objective_m(values, stack_m, targets_m, pull) for values in tried)
    assert found.bound_m <= lowest_m + 1e-12
    assert found.objective_m <= lowest_m + 1e-9 or not found.proven


@pytest.mark.parametrize("n", [5, 2000], ids=["few", "many"])
def test_a_pull_of_strength_one_leaves_the_anchor(n):
    targets_m = targets(n)
    stack_m = noisy_stack(targets_m, (0.5, 0.6, 0.7))
    pull = shrinkage.pull_of(stack_m, targets_m, scenes_of(n), strength=1.0)

    found = convex_weights.exact(stack_m, targets_m, pull)

    np.testing.assert_allclose(found.values, pull.anchor, atol=1e-6)
    anchored_m = np.tensordot(pull.anchor, stack_m, axes=1)
    np.testing.assert_allclose(pull.distances_m, np.abs(stack_m - anchored_m).mean(axis=(1, 2)))


@pytest.mark.parametrize(
    ("errors_m", "expected"),
    [
        pytest.param([1.0, 1.0], [1 / 2, 1 / 2], id="equal errors"),
        pytest.param([1.0, 2.0], [1024 / 1025, 1 / 1025], id="twice the error: 2**10 times less"),
        pytest.param([3.0, 6.0], [1024 / 1025, 1 / 1025], id="no unit"),
        pytest.param([0.0, 2.0, 0.0], [1 / 2, 0.0, 1 / 2], id="inputs without error"),
        pytest.param([0.7], [1.0], id="one input"),
    ],
)
def test_the_anchor_of_a_single_scene_prefers_small_errors(errors_m, expected):
    rows_m = np.array(errors_m)[:, None] * [0.5, 1.5]

    np.testing.assert_allclose(shrinkage.anchor_of(rows_m, np.array(["a", "a"])), expected)


@pytest.mark.parametrize(
    ("worse_m", "stays"),
    [
        pytest.param([2.7, -0.3, 2.7, -0.3], True, id="1.2 worse, 1.39 standard errors"),
        pytest.param([4.2, 1.2, 4.2, 1.2], True, id="2.7 worse, 3.12 standard errors"),
        pytest.param([4.3, 1.3, 4.3, 1.3], False, id="2.8 worse, 3.23 standard errors"),
        pytest.param([0.01, 0.01, 0.01, 0.01], False, id="hardly but always worse"),
    ],
)
@pytest.mark.parametrize("rows", [1, 4], ids=["one row per scene", "four alike rows per scene"])
def test_an_input_that_is_worse_beyond_chance_has_no_share_in_the_anchor(worse_m, stays, rows):
    """Student's t of 3 degrees of freedom is 3.182 at 97.5 %; the standard error is sqrt(3)/2, as in the next test."""
    best_m = np.array([10.0, 12.0, 8.0, 10.0])
    errors_m = np.repeat(np.stack([best_m + worse_m, best_m]), rows, axis=1)
    worse, scenes = 10.0 / (10.0 + np.mean(worse_m)), np.repeat(["a", "b", "c", "d"], rows)

    anchor = shrinkage.anchor_of(errors_m, scenes)

    expected = worse**10 / (1 + worse**10) if stays else 0.0
    np.testing.assert_allclose(anchor, [expected, 1 - expected])


@pytest.mark.parametrize(
    ("worse_m", "index"),
    [
        pytest.param([[0, 0, 0, 0], [1, 1, 1, 1]], 0, id="surely worse"),
        pytest.param([[0, 0, 0, 0], [2, -1, 2, -1]], 1, id="0.5 worse, standard error 0.87"),
        pytest.param([[0, 0, 0, 0], [2.3, -0.7, 2.3, -0.7]], 1, id="0.8 worse, standard error 0.87 (of n - 1, not n)"),
        pytest.param([[0, 0, 0, 0], [1.5, 0.5, 1.5, 0.5]], 0, id="1 worse, standard error 0.29"),
        pytest.param([[1, 1, 1, 1], [0, 0, 0, 0]], 1, id="better"),
        pytest.param([[0, 0, 0, 0], [9, 9, 9, 9], [2, -1, 2, -1]], 2, id="the largest that is within"),
    ],
)
@pytest.mark.parametrize("rows", [1, 4], ids=["one row per scene", "four alike rows per scene"])
def test_the_largest_strength_within_one_standard_error_over_scenes_is_taken(worse_m, index, rows):
    """Sums of squares of (1.5, -1.5, 1.5, -1.5) are 9: a standard error of sqrt(9 / 3 / 4); alike rows add nothing."""
    errors_m = 10.0 + np.repeat(np.array(worse_m, dtype=float), rows, axis=1)

    assert shrinkage.largest_within_one_error(errors_m, np.repeat(["a", "b", "c", "d"], rows)) == index


def test_parts_hold_whole_scenes_of_like_sizes_and_do_not_depend_on_the_order_of_rows():
    scenes = np.repeat([f"s{i:02}" for i in range(25)], np.arange(25) % 3 + 1)
    order = np.random.default_rng(0).permutation(len(scenes))

    part = shrinkage.parts_of(scenes)

    np.testing.assert_array_equal(shrinkage.parts_of(scenes[order]), part[order])
    of_scene = {scene: set(part[scenes == scene]) for scene in scenes}
    assert all(len(parts) == 1 for parts in of_scene.values())
    assert set(part) == set(range(shrinkage.PARTS))
    assert np.ptp(np.bincount(part)) <= 4
    assert set(shrinkage.parts_of(np.array(["a", "a", "b"]))) == {0, 1}


def test_large_scenes_are_dealt_to_different_parts():
    sizes = np.where(np.arange(20) % shrinkage.PARTS == 0, 6, 1)  # by name alone, both large ones would be in part 0

    part = shrinkage.parts_of(np.repeat([f"s{i:02}" for i in range(20)], sizes))

    assert sorted(np.bincount(part)) == [2] * 8 + [7] * 2


def test_the_strength_is_that_of_an_independent_cross_validation():
    targets_m, scenes = targets(24), scenes_of(24)
    stack_m = noisy_stack(targets_m, (0.5, 0.55, 0.7), seed=3)
    errors_m = np.empty((len(shrinkage.STRENGTHS), 24))
    for scene in np.unique(scenes):  # 8 scenes: a part each
        inside, others = scenes == scene, scenes != scene
        pull = shrinkage.pull_of(stack_m[:, others], targets_m[others], scenes[others])
        for row, strength in enumerate(shrinkage.STRENGTHS):
            found = convex_weights.exact(stack_m[:, others], targets_m[others], replace(pull, strength=strength))
            blended_m = np.tensordot(found.values, stack_m[:, inside], axes=1)
            errors_m[row, inside] = np.abs(blended_m - targets_m[inside]).mean(axis=1)
    expected = shrinkage.STRENGTHS[shrinkage.largest_within_one_error(errors_m, scenes)]

    found = shrinkage.shrunk(stack_m, targets_m, scenes)

    assert found.strength == expected > 0
    pull = replace(shrinkage.pull_of(stack_m, targets_m, scenes), strength=expected)
    assert found.objective_m == pytest.approx(linear_programme(stack_m, targets_m, pull), rel=1e-7)
    assert found.proven


def test_a_single_scene_decides_nothing_and_a_single_input_has_all_weight():
    targets_m = targets(6)
    stack_m = noisy_stack(targets_m, (0.5, 0.6))

    one_scene = methods.fit_weights(stack_m, targets_m, np.full(6, "a"), SHRUNK)
    one_input = methods.fit_weights(stack_m[:1], targets_m, scenes_of(6), SHRUNK)

    assert one_scene.strength == 1.0
    np.testing.assert_allclose(
        one_scene.values, shrinkage.pull_of(stack_m, targets_m, np.full(6, "a")).anchor, atol=1e-6
    )
    np.testing.assert_array_equal(one_input.values, [1.0])


def test_of_many_scenes_nothing_is_lost():
    targets_m = targets(1500)
    stack_m = noisy_stack(targets_m, (0.5, 0.55, 0.7))
    rows = (stack_m, targets_m, np.full(1500, 3), scenes_of(1500))
    folds = np.arange(1500) // 3 % 3

    shrunk_m, exact_m = (
        np.abs(blending.cross_fit(*rows, folds, config, ("a", "b", "c")) - targets_m).mean()
        for config in (SHRUNK, EXACT)
    )

    assert shrunk_m <= 1.002 * exact_m


def test_an_input_that_is_absurd_in_one_scene_gets_no_weight_from_the_anchor():
    targets_m, scenes = targets(36), scenes_of(36)
    stack_m = noisy_stack(targets_m, (0.3, 0.3))
    stack_m[1, 5, 15] += 1000.0

    found = shrinkage.shrunk(stack_m, targets_m, scenes)

    assert found.values[1] < 0.01
