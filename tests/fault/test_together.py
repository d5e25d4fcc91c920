"""Several processes at once: on an empty store, on empty caches, and on a store that another MLflow version made."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from atma18.cache import Cache
from atma18.tracking import registry, runs, store_setup
from atma18.tracking.upstream import open_run
from steps import embed
from tests.fixtures import enter
from tests.forked import Forked
from tests.store import PROJECT, SHORT, SMALL, STEPS, all_runs, call, newest, ran, refused, store_uri, versions


def test_two_mains_at_once_on_an_empty_store_and_empty_caches_both_finish(tiny_folder, tmp_path, monkeypatch):
    words = [f"--data={tiny_folder}", SMALL, "--folds=2", *SHORT]
    both = [Forked("main", [*words, f"--out={tmp_path}/{name}.csv"], tmp_path) for name in "ab"]
    for process in both:
        process.finish()
    enter(tmp_path, monkeypatch)

    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert sorted(m.name for m in MlflowClient().search_registered_models()) == sorted(f"atma18-{s}" for s in STEPS)
    assert {run.info.status for run in all_runs()} == {"FINISHED"}
    assert [run.data.tags["atma18.step"] for run in all_runs()].count("main") == 2
    for step in STEPS:
        candidate = MlflowClient().get_model_version_by_alias(f"atma18-{step}", "candidate")
        assert int(candidate.version) == max(int(version.version) for version in versions(step))
        open_run(candidate.run_id, Cache.open())  # whole
    cache = Cache.open()
    assert cache.leftovers() == []
    kinds = [entry.kind for entry in cache.entries()]
    # Nothing was made twice: frames of both splits, their embeddings along the paths of each fold, one set of folds.
    assert {kind: kinds.count(kind) for kind in ("frames", "embeddings", "folds")} == {
        "frames": 2,
        "embeddings": 2 * 2,
        "folds": 1,
    }


def test_many_that_enter_a_store_that_is_not_there_yet_find_one_whole_store(tmp_path):
    script = "from atma18.tracking import store_setup; store_setup.prepare(); print('in')"
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": store_uri(tmp_path / "new"),
        "ATMA18_CACHE": f"{tmp_path}/cache",
    }
    pipe = subprocess.PIPE
    together = [
        subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe)
        for _ in range(3)
    ]
    printed = [process.communicate() for process in together]

    assert [out.decode().splitlines() for out, _ in printed] == [["in"]] * 3, printed
    with closing(sqlite3.connect(tmp_path / "new" / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM experiments WHERE name = 'atma18'").fetchone() == (1,)


def test_a_version_is_made_and_named_candidate_alone(there, monkeypatch):
    """Somebody else holds the store's lock: the version waits, so that an older one can't take the alias back."""
    lock = FileLock(there.store / "mlflow.db.lock")
    held = []
    register = registry.mlflow.register_model

    def watched(*args, **kwargs):
        with pytest.raises(TimeoutError):
            lock.acquire(timeout=0)
        held.append(True)
        return register(*args, **kwargs)

    monkeypatch.setattr(registry.mlflow, "register_model", watched)
    ran(call(embed, there.data, SMALL))

    assert held == [True]
    lock.acquire(timeout=0)
    lock.release()


@pytest.mark.parametrize("revision", ["00000000cafe", "451aebb31d03"], ids=["a later MLflow", "an early MLflow"])
def test_the_store_of_another_mlflow_is_refused_and_left_as_it_is(tiny_folder, tmp_path, monkeypatch, revision):
    enter(tmp_path, monkeypatch)
    monkeypatch.setattr(store_setup, "_MIGRATION_S", 0.01)
    store_setup.prepare()
    database = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    before = database.read_bytes()

    message = refused(call(embed, f"--data={tiny_folder}"))

    assert f"expected a store of MLflow 3.17.2 (schema {store_setup._get_latest_schema_revision()})" in message
    assert f"found schema {revision}" in message
    assert "back it up" in message
    assert database.read_bytes() == before


def test_a_store_that_is_just_being_made_is_waited_for(tmp_path, monkeypatch):
    """An `mlflow run` beside us migrates its new database step by step, without our lock."""
    enter(tmp_path, monkeypatch)
    monkeypatch.setattr(store_setup, "_MIGRATION_S", 0.01)
    latest = store_setup._get_latest_schema_revision()
    seen = iter(["451aebb31d03", "90e64c465722", latest])
    monkeypatch.setattr(store_setup, "_schema", lambda: next(seen))

    store_setup.prepare()

    assert list(seen) == []


def test_a_folder_for_a_database_is_refused(tiny_folder, tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    (tmp_path / "mlflow.db").mkdir()

    message = refused(call(embed, f"--data={tiny_folder}"))

    assert f"{tmp_path}/mlflow.db: expected a database, found a folder" in message


def test_a_file_that_is_no_database_is_refused(tiny_folder, tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)
    (tmp_path / "mlflow.db").write_text("a thousand words, and none of them a table " * 50)

    message = refused(call(embed, f"--data={tiny_folder}"))

    assert f"{tmp_path}/mlflow.db: expected a database of MLflow, found something else" in message


def test_drives_that_somebody_else_logs_at_the_same_moment_are_logged_once(there, monkeypatch):
    """Two processes see that a store does not know the drives, and both write them: the second one's write fails."""
    log_input, failed = runs.mlflow.log_input, []

    def at_the_same_moment(*given):
        log_input(*given)
        if not failed:
            failed.append(given)
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id")

    monkeypatch.setattr(runs.mlflow, "log_input", at_the_same_moment)
    ran(call(embed, there.data, SMALL))

    assert len(failed) == 1
    inputs = newest("embed").inputs.dataset_inputs
    assert sorted(tag.value for each in inputs for tag in each.tags) == ["testing", "training"]
