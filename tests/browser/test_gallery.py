"""The gallery opens from disk in a real browser; a click on a header sorts, and filters choose."""

import re

import numpy as np
import pytest

from atma18.report import gallery
from tests.browsing import opened
from tests.report.test_gallery import BOARD, two_models

PICTURES = r'<article data-id="([^"]+)"'
ROWS = r'<tr data-id="([^"]+)"'
DRAWN = r'<td class="drawn">([^<]+)</td>'
SORTED = r'<th data-column="([^"]+)" aria-sort="(ascending|descending)"'
FIRST_PICTURES = 12


@pytest.fixture(scope="module")
def predictions_m(tiny):
    return two_models(tiny)


@pytest.fixture(scope="module")
def place(tiny, predictions_m, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(gallery.page(tiny, predictions_m, BOARD, "tree", "main"))
    return path


@pytest.fixture
def clicked(place, tmp_path):
    """Opens a copy of the page in which somebody clicks on things, one after the other."""

    def open_and_click(*selectors, view=""):
        clicks = "".join(f"document.querySelector('{selector}').click();" for selector in selectors)
        copy = tmp_path / "clicked.html"
        copy.write_text(place.read_text().replace("</body>", f"<script>{clicks}</script></body>"))
        return opened(f"file://{copy}#{view}", tmp_path / "profile")

    return open_and_click


def errors_of(tiny, predicted_m, axis="all", horizon="all"):
    """The error of each sample by its ID."""
    errors_m = np.abs(predicted_m - tiny.targets_m).reshape(-1, 6, 3)
    errors_m = errors_m[:, slice(None) if horizon == "all" else [int(horizon)]]
    errors_m = errors_m[:, :, slice(None) if axis == "all" else [int(axis)]].mean(axis=(1, 2))
    return dict(zip(tiny.train.ids.tolist(), errors_m.tolist(), strict=True))


@pytest.mark.parametrize("direction", ["ascending", "descending"])
@pytest.mark.parametrize(
    ("model", "axis", "horizon"),
    [("blend", "all", "all"), ("blend", "1", "5"), ("nn1", "all", "all"), ("blend", "0", "all")],
)
def test_a_browser_sorts_by_the_error_of_what_is_chosen(
    tiny, predictions_m, place, tmp_path, model, axis, horizon, direction
):
    page = opened(f"file://{place}#sort={model}&axis={axis}&horizon={horizon}&direction={direction}", tmp_path)

    by_id = errors_of(tiny, predictions_m[model], axis, horizon)
    rows, expected = page.texts(ROWS), sorted(by_id.values(), reverse=direction == "descending")
    assert sorted(rows) == sorted(by_id)
    np.testing.assert_allclose([by_id[sample_id] for sample_id in rows], expected, atol=2e-4)
    np.testing.assert_allclose([float(error) for error in page.texts(DRAWN)], expected, atol=2e-4)
    assert page.texts(PICTURES) == rows[:FIRST_PICTURES]
    assert len(rows) > FIRST_PICTURES
    assert re.findall(SORTED, page.dom) == [(model, direction)]


def test_the_page_opens_with_pictures_of_the_largest_errors_of_the_last_model(tiny, predictions_m, place, tmp_path):
    page = opened(f"file://{place}", tmp_path)

    by_id = errors_of(tiny, predictions_m["blend"])
    assert page.texts(PICTURES) == sorted(by_id, key=lambda sample_id: -by_id[sample_id])[:FIRST_PICTURES]
    assert page.texts(r'<span id="drawn">([^<]+)</span>') == ["blend"]


HEAD = '#samples th[data-column="{}"] button'


@pytest.mark.parametrize(
    ("column", "clicks", "direction"),
    [
        pytest.param("id", 1, "ascending", id="by ID"),
        pytest.param("id", 2, "descending", id="by ID, again"),
        pytest.param("size", 1, "descending", id="by scene size"),
        pytest.param("nn1", 1, "descending", id="by another model"),
        pytest.param("nn1", 2, "ascending", id="by another model, again"),
        pytest.param("blend", 1, "ascending", id="by the model that it was sorted by"),
    ],
)
def test_a_click_on_a_header_sorts_the_table_and_the_pictures(tiny, predictions_m, clicked, column, clicks, direction):
    page = clicked(*[HEAD.format(column)] * clicks)

    sizes = dict(zip(tiny.train.ids.tolist(), tiny.train.scene_sizes.tolist(), strict=True))
    ranks = {sample_id: rank for rank, sample_id in enumerate(sorted(sizes))}
    keys = {"id": ranks, "size": sizes} | {model: errors_of(tiny, m) for model, m in predictions_m.items()}
    found = [keys[column][sample_id] for sample_id in page.texts(ROWS)]
    np.testing.assert_allclose(found, sorted(keys[column].values(), reverse=direction == "descending"), atol=2e-4)
    assert page.texts(PICTURES) == page.texts(ROWS)[:FIRST_PICTURES]
    assert re.findall(SORTED, page.dom) == [(column, direction)]
    assert page.texts(r'<span id="drawn">([^<]+)</span>') == ["nn1" if column == "nn1" else "blend"]


def test_a_button_shows_all_pictures(tiny, clicked):
    page = clicked("#all")

    assert page.texts(PICTURES) == page.texts(ROWS)
    assert len(page.texts(ROWS)) == len(tiny.train)
    assert re.search(r'<button id="all"[^>]* hidden', page.dom)


def test_a_browser_shows_scenes_of_one_size_alone(tiny, place, tmp_path):
    page = opened(f"file://{place}#size=1&sort=id&direction=ascending", tmp_path)

    alone = sorted(tiny.train.ids[tiny.train.scene_sizes == 1].tolist())
    assert page.texts(ROWS) == alone != []
    assert page.texts(PICTURES) == alone[:FIRST_PICTURES]
    said = page.texts(r'<span id="count"[^>]*>(.*?)</span>')[0]
    assert said.startswith(f"Pictures of {len(alone[:FIRST_PICTURES])} of {len(alone)} samples. The page has ")


@pytest.mark.parametrize(
    ("clicks", "steps"),
    [
        pytest.param(["2"], ["blend", "nn1", "constant velocity", "nn2 <b>"], id="least error first"),
        pytest.param(["2", "2"], ["nn2 <b>", "constant velocity", "nn1", "blend"], id="largest error first"),
        pytest.param(["3"], ["blend", "nn1", "nn2 <b>", "constant velocity"], id="what is empty comes last"),
        pytest.param(["3", "3"], ["nn2 <b>", "nn1", "blend", "constant velocity"], id="in both directions"),
        pytest.param(["1"], ["blend", "constant velocity", "nn1", "nn2 <b>"], id="by name"),
    ],
)
def test_a_click_on_a_header_sorts_the_steps(clicked, clicks, steps):
    page = clicked(*[f"#steps th:nth-child({column}) button" for column in clicks])

    [table] = re.findall(r'<table[^>]*id="steps">(.*?)</table>', page.dom, re.S)
    found = re.findall(r"<tr>\s*<td>(.*?)</td>", table, re.S)
    assert [name.replace("&lt;", "<").replace("&gt;", ">") for name in found] == steps
