"""The gallery holds what was predicted, of samples with errors of every size, and needs no other file."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from atma18.report import gallery
from atma18.report.leaderboard import Leaderboard

BOARD = Leaderboard(
    "The blend & the motion model.",
    pd.DataFrame(
        [
            {"step": "nn1", "OOF MAE m": 0.25, "seconds": 9.0, "": "", "run": "run-a"},
            {"step": "nn2 <b>", "OOF MAE m": 0.5, "seconds": 10.0, "": "reused", "run": "run-b"},
            {"step": "blend", "OOF MAE m": 0.125, "seconds": 0.5, "": "", "run": "run-c"},
            {"step": "constant velocity", "OOF MAE m": 0.375, "run": ""},
        ]
    ),
)


def two_models(drives):
    """What two models predict; each errs by another distance for every target."""
    nn1_m, blend_m = np.random.default_rng(0).exponential(size=(2, *drives.targets_m.shape))
    return {"nn1": drives.targets_m + nn1_m, "blend": drives.targets_m + blend_m}


@pytest.mark.parametrize(
    ("count", "most", "rows"),
    [
        pytest.param(3, 300, [0, 1, 2], id="all"),
        pytest.param(5, 3, [0, 2, 4], id="evenly"),
        pytest.param(1, 300, [0], id="one"),
    ],
)
def test_errors_of_every_size_are_chosen(count, most, rows):
    error_m = np.arange(count) * 1.5

    np.testing.assert_array_equal(gallery.choose(error_m, most), rows)
    np.testing.assert_array_equal(gallery.choose(error_m[::-1], most), sorted(count - 1 - row for row in rows))


def test_the_page_holds_what_was_predicted_and_needs_nothing_else(tiny):
    predictions_m = two_models(tiny)
    text = gallery.page(tiny, predictions_m, BOARD, "a < b", "main on <drives>")
    [written] = re.findall(r'<script id="data"[^>]*>(.*?)</script>', text)

    found = json.loads(written)

    assert found["of"] == len(tiny.train) == len(found["samples"])
    for sample in found["samples"]:
        row = tiny.train.ids.tolist().index(sample["id"])
        errors_m = np.abs(predictions_m["blend"] - tiny.targets_m)[row]
        np.testing.assert_allclose(sample["models"]["blend"]["errors"], errors_m, atol=1e-4)
        np.testing.assert_allclose(sample["truth"]["m"], tiny.targets_m[row].reshape(6, 3)[:, :2], atol=0.01)
        projected = tiny.camera.project(tiny.targets_m[row].reshape(6, 3))
        for point, pixel in zip(sample["truth"]["px"], projected, strict=True):
            assert (point is None) == np.isnan(pixel).any()
            assert point is None or np.abs(point - pixel).max() < 0.06
    assert "http" not in text.replace("http-equiv", "")
    assert "<pre>a &lt; b</pre>" in text and "<h1>main on &lt;drives&gt;</h1>" in text
    assert "<b>The blend &amp; the motion model.</b>" in text and "<td>nn2 &lt;b&gt;</td>" in text


def test_the_page_begins_with_the_headline_and_pictures_and_ends_with_the_lineage(tiny):
    text = gallery.page(tiny, two_models(tiny), BOARD, "the tree", "main")

    marks = ['id="headline"', 'id="cards"', 'id="samples"', 'id="steps"', "<pre>the tree</pre>"]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert text.count("<pre>") == 1
    assert "<select" not in text[: text.index('id="cards"')]
