"""The page of samples holds what was predicted, of samples with errors of every size."""

import json
import re

import numpy as np
import pytest

from atma18.report import gallery


def two_models(drives):
    """What two models predict; the second one errs by another distance for every target."""
    off_m = np.random.default_rng(0).exponential(size=drives.targets_m.shape)
    return {"nn1": drives.targets_m + 1.0, "blend": drives.targets_m + off_m}


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
    text = gallery.page(tiny, predictions_m, ["a < b", "tree"], "main on <drives>")
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
