"""The page of samples opens from disk in a real browser, sorts by the chosen error, and filters."""

import numpy as np
import pytest

from atma18.report import gallery
from tests.browsing import opened
from tests.report.test_gallery import two_models

CARDS = r'<article data-id="([^"]+)"'
ERRORS = r'<article data-id="[^"]+" data-error="([^"]+)"'


@pytest.fixture(scope="module")
def predictions_m(tiny):
    return two_models(tiny)


@pytest.fixture(scope="module")
def place(tiny, predictions_m, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(gallery.page(tiny, predictions_m, ["tree"], "main"))
    return path


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


def test_a_browser_shows_scenes_of_one_size_alone(tiny, place, tmp_path):
    page = opened(f"file://{place}#size=1&order=id", tmp_path)

    alone = sorted(tiny.train.ids[tiny.train.scene_sizes == 1].tolist())
    assert page.texts(CARDS) == alone != []
    assert page.texts(r'<span id="count"[^>]*>(.*?)</span>')[0].startswith(f"{len(alone)} of {len(tiny.train)} samples")
