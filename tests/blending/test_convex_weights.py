"""Exact weights must equal those by hand and by a linear programme, and their bound must hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from atma18.blending import Weights, convex_weights, methods
from atma18.config import BlendConfig
from tests.blending.stacks import noisy_stack, targets

SCENES = np.array([f"s{i // 3:04}" for i in range(300)])


def mae_m(values, stack_m, targets_m):
    return np.abs(np.tensordot(values, stack_m, axes=1) - targets_m).mean()


def linear_programme(stack_m, targets_m):
    """The least MAE, as in a textbook: M weights, then |error| of every number, bounded from both sides."""
    m = len(stack_m)
    p, y = stack_m.reshape(m, -1).T, targets_m.ravel()
    eye = np.eye(y.size)
    solved = linprog(
        np.r_[np.zeros(m), np.full(y.size, 1 / y.size)],
        A_ub=np.block([[p, -eye], [-p, -eye]]),
        b_ub=np.r_[y, -y],
        A_eq=np.r_[np.ones(m), np.zeros(y.size)][None],
        b_eq=[1.0],
    )
    return solved.fun


@pytest.mark.parametrize(
    ("biases_m", "expected"),
    [
        pytest.param((1.0, -1.0), (0.5, 0.5), id="opposite biases cancel"),
        pytest.param((1.0, -3.0), (0.75, 0.25), id="unequal biases cancel at 3 to 1"),
        pytest.param((5.0, 0.0), (0.0, 1.0), id="perfect input takes all"),
        pytest.param((1.0, 2.0), (1.0, 0.0), id="biases of one side leave the smaller"),
        pytest.param((4.0,), (1.0,), id="one input"),
    ],
)
@pytest.mark.parametrize("n", [1, 30, 500], ids=["one sample", "few", "more than one programme holds"])
def test_weights_are_those_worked_out_on_paper(biases_m, expected, n):
    targets_m = targets(n)
    stack_m = np.stack([targets_m + bias_m for bias_m in biases_m])

    found = convex_weights.exact(stack_m, targets_m)

    np.testing.assert_allclose(found.values, expected, atol=1e-7)
    assert found.mae_m == pytest.approx(abs(np.dot(expected, biases_m)), abs=1e-7)
    assert found.gap <= 1e-9


@pytest.mark.parametrize("scales_m", [(0.5, 0.7), (0.5, 0.6, 1.0), (1.0, 0.9, 0.8, 0.8, 5.0)])
@pytest.mark.parametrize("n", [1, 3, 40])
def test_a_linear_programme_finds_nothing_lower_and_the_same_bound(n, scales_m):
    targets_m = targets(n)
    stack_m = noisy_stack(targets_m, scales_m)
    least_m = linear_programme(stack_m, targets_m)

    found = convex_weights.exact(stack_m, targets_m)

    assert found.mae_m == pytest.approx(least_m, rel=1e-7)
    assert found.bound_m == pytest.approx(least_m, rel=1e-7)
    assert found.mae_m == pytest.approx(mae_m(found.values, stack_m, targets_m), rel=1e-12)


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_many_numbers_are_settled_to_the_last_digit_and_not_above_a_search(count):
    targets_m = targets(3000)
    stack_m = noisy_stack(targets_m, np.linspace(0.3, 0.6, count))

    found = convex_weights.exact(stack_m, targets_m)
    searched = methods.nelder_mead(stack_m, targets_m, 200)

    assert found.gap <= 1e-9
    assert found.mae_m <= mae_m(searched, stack_m, targets_m)
    assert (found.values >= 0).all()
    assert found.values.sum() == pytest.approx(1.0)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0, 1, 3]))
def test_no_weights_fall_below_the_bound(n, count, seed, digits):
    rng = np.random.default_rng(seed)
    targets_m = targets(n, seed).round(digits)  # many residuals are 0 at once where digits are few
    stack_m = noisy_stack(targets_m, rng.uniform(0.01, 3, count), seed).round(digits)

    found = convex_weights.exact(stack_m, targets_m)

    tried = [*rng.dirichlet(np.ones(count), size=50), *np.eye(count), found.values]
    lowest_m = min(mae_m(values, stack_m, targets_m) for values in tried)
    assert found.bound_m <= lowest_m + 1e-12
    assert found.mae_m <= lowest_m + 1e-9 or not found.proven


@pytest.mark.parametrize("count", [3, 6])
def test_residuals_that_are_zero_by_the_thousand_are_narrowed_down(count):
    targets_m = targets(5000)
    stack_m = noisy_stack(targets_m, np.linspace(0.1, 0.2, count))
    stack_m[:, 1::2] = targets_m[1::2]

    found = convex_weights.exact(stack_m, targets_m)

    assert found.proven
    assert found.bound_m <= mae_m(found.values, stack_m, targets_m) + 1e-12


def test_a_bound_from_some_signs_is_a_proof_and_not_the_error_itself():
    targets_m = targets(40)
    stack_m = noisy_stack(targets_m, (0.5, 0.6, 1.0))
    least_m = linear_programme(stack_m, targets_m)

    equal = methods.fit_weights(stack_m, targets_m, SCENES[: len(targets_m)], BlendConfig(method="equal"))

    np.testing.assert_array_equal(equal.values, [1 / 3] * 3)
    assert equal.bound_m == pytest.approx(least_m, rel=1e-7)
    assert equal.gap == pytest.approx(1 - least_m / mae_m(equal.values, stack_m, targets_m), rel=1e-6)
    assert equal.gap > 1e-3
    assert not equal.proven


def test_the_published_search_is_kept_and_told_how_far_it_is_from_the_least():
    targets_m = targets(100)
    stack_m = noisy_stack(targets_m, np.linspace(0.3, 0.6, 8))
    least_m = convex_weights.exact(stack_m, targets_m).mae_m

    few = methods.fit_weights(
        stack_m, targets_m, SCENES[: len(targets_m)], BlendConfig(method="nelder-mead", max_iterations=5)
    )
    many = methods.fit_weights(
        stack_m, targets_m, SCENES[: len(targets_m)], BlendConfig(method="nelder-mead", max_iterations=4000)
    )

    assert least_m < many.mae_m < few.mae_m
    assert many.gap == pytest.approx(1 - least_m / many.mae_m, rel=1e-6)


@pytest.mark.parametrize("n", [20, 2000], ids=["few", "many"])
class TestDegenerate:
    """Cases that a person may well hand in; a warning fails the test."""

    def test_two_identical_inputs_share_what_one_of_them_would_get(self, n):
        targets_m = targets(n)
        a, b = noisy_stack(targets_m, (0.5, 0.6))

        once, twice = (
            convex_weights.exact(np.stack([a, b]), targets_m),
            convex_weights.exact(np.stack([a, a, b]), targets_m),
        )

        assert twice.values[:2].sum() == pytest.approx(once.values[0], abs=1e-4)
        assert twice.mae_m == pytest.approx(once.mae_m, rel=1e-9)

    def test_all_inputs_identical(self, n):
        targets_m = targets(n)
        [a] = noisy_stack(targets_m, (0.5,))

        found = convex_weights.exact(np.stack([a, a, a]), targets_m)

        assert found.mae_m == pytest.approx(mae_m([1.0], a[None], targets_m))
        assert found.proven

    def test_an_input_that_is_the_truth_takes_all(self, n):
        targets_m = targets(n)
        a, b = noisy_stack(targets_m, (0.5, 0.6))

        found = convex_weights.exact(np.stack([a, targets_m, b]), targets_m)

        np.testing.assert_allclose(found.values, [0, 1, 0], atol=1e-6)
        assert found.mae_m == pytest.approx(0.0, abs=1e-6)
        assert found.gap == pytest.approx(0.0, abs=1e-6)

    def test_an_input_that_is_the_truth_on_half_of_the_rows(self, n):
        targets_m = targets(n)
        stack_m = noisy_stack(targets_m, (0.5, 0.6))
        stack_m[0, n // 2 :] = targets_m[n // 2 :]

        found = convex_weights.exact(stack_m, targets_m)

        assert found.proven
        assert found.mae_m <= mae_m([1.0, 0.0], stack_m, targets_m)

    def test_a_constant_input_gets_next_to_nothing(self, n):
        targets_m = targets(n)
        [a] = noisy_stack(targets_m, (0.05,))

        found = convex_weights.exact(np.stack([a, np.full_like(a, 3.0)]), targets_m)

        assert found.values[1] < 0.02
        assert found.proven

    def test_an_input_in_millimetres(self, n):
        targets_m = targets(n)
        a, b = noisy_stack(targets_m, (0.5, 0.6))

        found = convex_weights.exact(np.stack([a, 1000 * b]), targets_m)

        assert found.values[1] < 1e-3
        assert found.proven

    def test_everything_is_zero(self, n):
        found = convex_weights.exact(np.zeros((2, n, 18)), np.zeros((n, 18)))

        assert found.values.sum() == pytest.approx(1.0)
        assert (found.mae_m, found.gap) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param((3.0, 1.0), (0.75, 0.25), id="scaled"),
        pytest.param((-1.0, 2.0), (0.0, 1.0), id="clipped"),
        pytest.param((-1.0, -2.0), (0.5, 0.5), id="nothing left"),
    ],
)
def test_any_numbers_become_convex_weights(raw, expected):
    np.testing.assert_allclose(convex_weights.convex(np.array(raw)), expected)


@pytest.mark.parametrize(
    ("mae", "bound", "gap"),
    [(0.2, 0.2, 0.0), (0.2, 0.19, 0.05), (1e-10, 0.0, 0.0), (0.0, 0.0, 0.0)],
    ids=["reached", "five percent", "below a nanometre", "perfect"],
)
def test_a_gap_is_a_share_of_the_error(mae, bound, gap):
    assert Weights(np.ones(1), mae, bound).gap == pytest.approx(gap)


def test_what_cannot_be_fitted_is_refused():
    targets_m = targets()
    stack_m = noisy_stack(targets_m, (1.0, 2.0))
    for method in ("shrunk", "exact", "nelder-mead", "equal"):
        config = BlendConfig(method=method)
        with pytest.raises(ValueError, match=r"finite targets \(30, 18\), found \(30, 17\)"):
            methods.fit_weights(stack_m, targets_m[:, :17], SCENES[:30], config)
        with pytest.raises(ValueError, match="found none"):
            methods.fit_weights(stack_m[:, :0], targets_m[:0], SCENES[:0], config)
        with pytest.raises(ValueError, match="finite predictions, found 540 others"):
            absurd_m = np.stack([targets_m, np.full_like(targets_m, np.inf)])
            methods.fit_weights(absurd_m, targets_m, SCENES[:30], config)


def test_arguments_are_left_as_they_were():
    targets_m = targets(500)
    stack_m = noisy_stack(targets_m, (1.0, 0.5))
    before = stack_m.copy(), targets_m.copy()

    convex_weights.exact(stack_m, targets_m)

    np.testing.assert_array_equal(stack_m, before[0])
    np.testing.assert_array_equal(targets_m, before[1])
