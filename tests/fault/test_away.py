"""The store fails while a step works: the result still gets into the store, at once or by `upload`."""

import sqlite3
import time
from contextlib import closing

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from atma18.cache import OUTBOX, Cache
from atma18.tracking import packaging
from steps import doctor, main, upload
from tests import proxy as faulty
from tests import shared
from tests.fixtures import enter, forget_caller
from tests.forked import Forked
from tests.store import SMALL, all_runs, artifacts, call, newest, ran, refused, versions

pytestmark = pytest.mark.usefixtures("small_backbone")

EPOCHS = ["--num_epochs=2", "--stage=first", "--folds=2", SMALL]
METRICS = "runs/log-batch"
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        with shared.plain_server(folder) as server:
            yield server


@pytest.fixture
def proxy(server, tmp_path, no_caller, monkeypatch):
    """A proxy before the server; this test's own client goes to the server itself."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("ATMA18_CACHE", f"{tmp_path}/cache")
    monkeypatch.chdir(tmp_path)
    with faulty.before(server.uri) as proxy:
        yield proxy


def start(proxy, data, folder, *words, step="nn1", **environment):
    environment |= {"MLFLOW_TRACKING_URI": proxy.uri}
    return Forked(step, [f"--data={data}", *words], folder, environment)


def curve(run, fold):
    return [m.step for m in MlflowClient().get_metric_history(run.info.run_id, f"fold{fold}/train_mae_m")]


def assert_whole(run):
    assert run.info.status == "FINISHED"
    assert [curve(run, fold) for fold in (0, 1)] == [[0, 1], [0, 1]]
    assert {"train/seconds", "servable/size_mb", "oof/mae_m"} <= set(run.data.metrics)
    assert [v.run_id for v in versions("nn1")].count(run.info.run_id) == 1


def test_a_server_that_is_slow_answers_500_is_gone_and_is_started_again_costs_time_alone(
    server, proxy, tiny_folder, tmp_path
):
    process = start(proxy, tiny_folder, tmp_path, *EPOCHS, MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR="1")
    proxy.wait_for(METRICS)
    for mode in ("slow", "500"):
        proxy.mode = mode
        proxy.wait_for("", 1, mode=mode)
    server.stop()
    proxy.mode = "pass"  # to nobody
    proxy.wait_for_nobody(2)
    server.start()

    process.finish()

    assert {mode for mode, _ in proxy.asked} == {"pass", "slow", "500"}
    assert_whole(newest("nn1"))
    ran(call(doctor))


def test_a_store_that_stays_away_is_given_the_result_later(proxy, tiny_folder, tmp_path, monkeypatch):
    process = start(proxy, tiny_folder, tmp_path, *EPOCHS, **IMPATIENT)
    proxy.wait_for(METRICS, 2)
    proxy.mode = "away"

    assert process.wait() == 1, process.said

    assert "Traceback" not in process.said
    assert "the store does not take what run" in process.said
    assert "nn1: expected the store to take the result of run" in process.said
    assert "-m steps.upload" in process.said
    cut_off = all_runs()[-1]
    place = Cache.open().place(OUTBOX, cut_off.info.run_id)
    assert f"It is kept in {place}" in process.said
    assert f"run {cut_off.info.run_id} stays open in the store" in process.said
    assert cut_off.info.status == "RUNNING"
    proxy.mode = "pass"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)  # the store that the result is for
    told = refused(call(doctor))
    assert f"run {cut_off.info.run_id}: its result is kept in {place}, and not in the store" in told
    assert "found 1 broken" in told

    said = ran(call(upload))

    assert f"nn1: uploaded run {cut_off.info.run_id}, which was kept here" in said
    assert "1 results uploaded" in said
    uploaded = newest("nn1")
    assert uploaded.info.run_id == cut_off.info.run_id
    assert_whole(uploaded)
    assert not place.exists()
    assert "nothing was kept for this store" in ran(call(upload))
    ran(call(doctor))
    assert_same_predictions(uploaded, straight(proxy, tiny_folder, tmp_path), tmp_path)


def straight(proxy, data, folder):
    """The run of the same command again, without a fault."""
    start(proxy, data, folder, *EPOCHS).finish()
    return newest("nn1")


def assert_same_predictions(run, other, folder):
    assert run.info.run_id != other.info.run_id
    tables = []
    for each in (run, other):
        place = folder / each.info.run_id
        place.mkdir()
        tables.append(
            pd.read_parquet(MlflowClient().download_artifacts(each.info.run_id, "predictions/oof.parquet", str(place)))
        )
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_main_delivers_what_was_kept_and_goes_on(tiny_folder, tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    words = [f"--data={tiny_folder}", "--folds=2", SMALL, "--nn1_num_epochs=1"]

    def away(*given):
        raise MlflowException("API request failed")

    def enough(*given, **more):
        raise ValueError("the rest is another test's")

    monkeypatch.setattr("atma18.pipeline.all_steps.net", enough)
    with monkeypatch.context() as patch:
        patch.setattr(packaging, "log_model", away)
        assert "motion: expected the store to take the result" in refused(call(main, *words))
    [kept] = [entry.key for entry in Cache.open().entries() if entry.kind == OUTBOX]
    assert MlflowClient().get_run(kept).info.status == "FAILED"

    said = refused(call(main, *words))

    assert f"motion: uploaded run {kept}, which was kept here" in said
    assert f"motion: reused run {kept}" in said
    assert MlflowClient().get_run(kept).info.status == "FINISHED"
    ran(call(doctor))


def test_a_database_that_is_locked_for_longer_than_mlflow_waits_costs_time_alone(tiny_folder, tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    process = Forked("nn1", [f"--data={tiny_folder}", *EPOCHS], tmp_path, locked_s=1)
    while process.process.is_alive() and not (tmp_path / "cache" / "checkpoints").exists():
        time.sleep(0.02)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, timeout=60)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        process.wait_for("the store does not take what run")
        connection.execute("ROLLBACK")

    said = process.finish()

    assert "database is locked" in said
    assert_whole(newest("nn1"))
    assert (artifacts(newest("nn1")) / "manifest.json").is_file()
    ran(call(doctor))
