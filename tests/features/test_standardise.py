"""Columns get mean 0 and standard deviation 1, unless they are constant."""

import numpy as np
import pytest

from atma18.features.standardise import mean_and_scale


def test_a_column_is_measured_by_its_mean_and_deviation():
    mean, scale = mean_and_scale(np.array([[1.0, -10.0], [3.0, 10.0]]))

    np.testing.assert_allclose(mean, [2.0, 0.0])
    np.testing.assert_allclose(scale, [1.0, 10.0])


@pytest.mark.parametrize(
    "stuck",
    [
        pytest.param(np.zeros(3), id="zero"),
        pytest.param(np.full(3, 0.1), id="a tenth, whose sum is rounded"),
        pytest.param(np.array([1.0, 1.0 - 6e-8, 1.0]), id="one, as float32 has it"),
    ],
)
def test_a_column_that_does_not_vary_is_left_alone(stuck):
    _, scale = mean_and_scale(stuck[:, None])

    assert scale.tolist() == [1.0]
