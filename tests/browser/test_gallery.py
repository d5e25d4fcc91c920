"""The page of samples opens from disk in a real browser, sorts by the chosen error, and filters."""

import json
import re

import numpy as np
import pytest

from atma18.report import gallery
from tests.browsing import opened

CARDS = r'<article data-id="([^"]+)"'
ERRORS = r'<article data-id="[^"]+" data-error="([^"]+)"'


@pytest.fixture(scope="module")
def predictions_m(tiny):
    """Two models; the second one errs by another distance for every target."""
    off_m = np.random.default_rng(0).exponential(size=tiny.targets_m.shape)
    return {"nn1": tiny.targets_m + 1.0, "blend": tiny.targets_m + off_m}


@pytest.fixture(scope="module")
def place(tiny, predictions_m, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(gallery.page(tiny, predictions_m, ["a < b", "tree"], "main on <drives>"))
    return path


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


def test_the_page_holds_what_was_predicted_and_needs_nothing_else(tiny, predictions_m, place):
    text = place.read_text()
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


@pytest.mark.e2e
@pytest.mark.parametrize("order", ["worst", "best"])
@pytest.mark.parametrize(
    ("model", "axis", "horizon"),
    [("blend", "all", "all"), ("blend", "1", "5"), ("nn1", "all", "all"), ("blend", "0", "all")],
)
def test_a_browser_sorts_by_the_error_of_what_is_chosen(
    tiny, predictions_m, place, tmp_path, model, axis, horizon, order
):
    page = opened(f"file://{place}#model={model}&axis={axis}&horizon={horizon}&order={order}", tmp_path)

    errors_m = np.abs(predictions_m[model] - tiny.targets_m).reshape(-1, 6, 3)
    errors_m = errors_m[:, slice(None) if horizon == "all" else [int(horizon)]]
    errors_m = errors_m[:, :, slice(None) if axis == "all" else [int(axis)]].mean(axis=(1, 2))
    shown, by_id = page.texts(CARDS), dict(zip(tiny.train.ids.tolist(), errors_m.tolist(), strict=True))
    expected = sorted(by_id.values(), reverse=order == "worst")
    assert sorted(shown) == sorted(by_id)
    np.testing.assert_allclose([by_id[sample_id] for sample_id in shown], expected, atol=2e-4)
    np.testing.assert_allclose([float(error) for error in page.texts(ERRORS)], expected, atol=2e-4)


@pytest.mark.e2e
def test_a_browser_shows_scenes_of_one_size_alone(tiny, place, tmp_path):
    page = opened(f"file://{place}#size=1&order=id", tmp_path)

    alone = sorted(tiny.train.ids[tiny.train.scene_sizes == 1].tolist())
    assert page.texts(CARDS) == alone != []
    assert page.texts(r'<span id="count"[^>]*>(.*?)</span>')[0].startswith(f"{len(alone)} of {len(tiny.train)} samples")
