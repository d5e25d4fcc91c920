"""JSON that is written holds no NaN, and says the same when it is read."""

import json
import math

import pytest

from atma18.storage import strict_json


def refuse(name):
    raise AssertionError(f"{name} is no JSON")


def test_numbers_that_are_not_finite_become_null():
    value = {"a": [1.5, math.nan, (math.inf, -math.inf)], "b": {"c": float("nan"), "d": "NaN"}, "e": True}

    written = strict_json.dumps(value)

    expected = {"a": [1.5, None, [None, None]], "b": {"c": None, "d": "NaN"}, "e": True}
    assert json.loads(written, parse_constant=refuse) == expected


@pytest.mark.parametrize("indent", [None, 1])
def test_finite_values_are_read_as_they_were(indent):
    value = {"numbers": [0.1, 1e300, -3], "text": "ü\n", "nothing": None}
    assert strict_json.loads(strict_json.dumps(value, indent)) == value
