"""MLflow's own UI over a finished `main`, in a real browser: its pages show the expected content."""

import html
import json
import os
import re
import subprocess
import sys
from urllib.parse import quote

import pytest
from mlflow import MlflowClient

from steps import main
from tests.browsing import opened
from tests.server import NO_JOBS, free_port, wait_for
from tests.store import SHORT, STEPS, all_runs, call, first, ran, store_uri, version_of

BLENDED = ("motion", "nn1", "nn2", "gbdt")
RUN_LINKS = r'href="#/experiments/\d+/runs/([0-9a-f]{32})"'


@pytest.fixture(scope="module")
def finished(finished_lite0):
    """What other processes than this one can load."""
    return finished_lite0


@pytest.fixture(scope="module")
def ui(finished, module_patch, tmp_path_factory):
    """Opens pages of the UI, which runs over the store of the finished `main`."""
    port, folder = free_port(), tmp_path_factory.mktemp("ui")
    words = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        store_uri(finished.store),
        "--port",
        str(port),
    ]
    how = {"cwd": folder, "env": os.environ | NO_JOBS}
    with (folder / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log, **how) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server)
            yield lambda page, **how: opened(f"http://127.0.0.1:{port}/#/{page}", folder / "profile", **how)
        finally:
            server.terminate()


def words_of(page):
    """The text of a page, with single spaces."""
    bare = re.sub(r"<(script|style).*?</\1>", "", page.dom, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", bare)))


def page_of(run):
    return f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def test_the_run_table_sorted_by_error_shows_the_steps(ui):
    children = quote(f"tags.mlflow.parentRunId = '{first('main').info.run_id}'")
    order = quote("metrics.`oof/mae_m`")
    experiment = first("main").info.experiment_id

    page = ui(f"experiments/{experiment}/runs?searchFilter={children}&orderByKey={order}&orderByAsc=true")

    runs = sorted(map(first, STEPS), key=lambda run: run.data.metrics["oof/mae_m"])
    assert page.texts(RUN_LINKS) == [run.info.run_id for run in runs]
    assert all(f"atma18-{step} v" in words_of(page) for step in STEPS)


def test_the_parents_page_says_whether_the_blend_is_better_and_leads_to_every_step(ui):
    page = ui(page_of(first("main")))

    metrics = first("blend").data.metrics
    [headline] = re.findall(r"<strong>(The blend [^<]+ the motion model[^<]*)", page.dom)
    assert f": gain {metrics['gain_over_motion/mean_m']:+.4f} m (95 % " in headline
    assert re.search(r"<strong>The blend (beats|may be no better than|is worse than) [^<]+</strong>", page.dom)
    assert all(f"{metrics[f'gain_over_{name}/mean_m']:+.4f} m over {name}" in words_of(page) for name in BLENDED)
    assert "Standing: a candidate" in words_of(page)
    assert f"#/models/atma18-blend/versions/{version_of('blend', first('blend'))}" in page.dom
    ahead = min(STEPS, key=lambda step: first(step).data.metrics["oof_horizon/3.0s_m"])
    assert f"3 s ahead {ahead} is best: {first(ahead).data.metrics['oof_horizon/3.0s_m']:.3f} m" in words_of(page)
    assert {first(step).info.run_id for step in STEPS} <= set(page.texts(RUN_LINKS))
    assert "<code>" in page.dom and "steps.promote" in words_of(page)


def test_runs_open_side_by_side_with_their_metrics(ui):
    runs = [first(step) for step in ("nn1", "nn2", "gbdt", "blend")]
    ids = quote(json.dumps([run.info.run_id for run in runs]))

    said = words_of(ui(f"compare-runs?runs={ids}&experiments={quote(json.dumps([runs[0].info.experiment_id]))}"))

    assert "Comparing 4 Runs" in said
    assert "oof/mae_m" in said
    for run in runs:
        assert f"{run.data.metrics['oof/mae_m']:.3f}"[:4] in said


def as_shown(value):
    """A pattern of a number as the UI writes it: three decimals, or four digits and an exponent where it is small."""
    if value == 0:
        return r"0(\.000)?(e\+0)?"
    if abs(value) >= 1e-3:
        return f"{value:.3f}"
    digits, exponent = f"{value:.3e}".split("e")
    return f"{digits}e{int(exponent)}"


@pytest.fixture(scope="module")
def mains(finished, ui):
    """Three `main`s that differ in how they blend, by ascending error."""
    for method in ("equal", "exact"):
        ran(call(main, finished.data, *SHORT, f"--blend_method={method}", f"--out={finished.store}/{method}.csv"))
    found = [run for run in all_runs() if run.data.tags.get("atma18.step") == "main"]
    assert len(found) == 3
    return sorted(found, key=lambda run: run.data.metrics["oof/mae_m"])


def test_several_mains_are_sorted_by_error_without_unfolding_them(ui, mains):
    only, order = quote("tags.`atma18.step` = 'main'"), quote("metrics.`oof/mae_m`")

    page = ui(f"experiments/{mains[0].info.experiment_id}/runs?searchFilter={only}&orderByKey={order}&orderByAsc=true")

    assert page.texts(RUN_LINKS) == [run.info.run_id for run in mains]


def test_several_mains_stand_side_by_side_with_their_gain_over_the_motion_model(ui, mains):
    ids = quote(json.dumps([run.info.run_id for run in mains]))

    said = words_of(ui(f"compare-runs?runs={ids}&experiments={quote(json.dumps([mains[0].info.experiment_id]))}"))

    assert "Comparing 3 Runs" in said
    for name in ("oof/mae_m", "gain_over_motion/mean_m"):
        assert name in said
        for run in mains:
            assert re.search(rf"(?<![0-9.]){as_shown(run.data.metrics[name])} ", said), (name, run.data.metrics[name])


def test_a_blends_version_shows_its_alias_its_tags_and_where_it_comes_from(ui):
    run = first("blend")
    number = version_of("blend", run)

    page = ui(f"models/atma18-blend/versions/{number}")

    said = words_of(page)
    aliases = MlflowClient().get_model_version("atma18-blend", number).aliases
    assert all(f"@ {alias}" in said.replace("\xa0", " ") for alias in aliases)
    assert run.info.run_id in page.texts(RUN_LINKS)
    assert f"atma18.input.gbdt {first('gbdt').info.run_id}" in said
    assert f"OOF MAE {run.data.metrics['oof/mae_m']:.4f} m" in said
    inputs = [first(step).info.run_id for step in BLENDED]
    assert {run.info.run_id, *inputs} <= set(page.texts(RUN_LINKS))  # of the description


def test_the_image_grid_of_a_net_shows_what_it_said_while_it_trained(ui):
    image = r"<img[^>]+(images|while_training|blob:)"
    for _ in range(8):  # on a busy machine the browser is done before the images have come
        page = ui(f"{page_of(first('nn1'))}/model-metrics", height_px=12000)  # what is out of sight is not there
        if re.search(image, page.dom) and "while_training" in words_of(page):
            break

    assert "while_training" in words_of(page)
    assert re.search(image, page.dom)
