"""Helpers for tests with a real MLflow store: call steps and find runs."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

from click.testing import CliRunner
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.graphs import lent

STEPS = ("motion", "embed", "nn1", "nn2", "gbdt", "blend")
SHORT = ["--nn1_num_epochs=1", "--nn2_num_epochs=1", "--gbdt_rounds=5"]
SMALL = "--backbone=small"
"""Known to processes of `Forked`, and to a test that asks for `small_backbone`; to no other process."""
FAST = "--backbone=cnn"
"""Drawn weights, known everywhere, and nothing to import for it."""
OF_METRES = ["--view=frame", "--target=absolute", "--by_speed=false"]
"""Options of embed: its probe learns metres from frames, as published, and errs by metres."""

PROJECT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SYSTEM_PATH = "/usr/bin:/bin"


@event.listens_for(Engine, "connect")
def _unsynced(connection, _):
    """Wait for no disk: what a killed process has written is there all the same, and tests cut no power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def mlflow_run(store, *words, python=sys.executable, **environment):
    """Call `mlflow run` with this Python's MLflow, in a folder that holds the store and the cache.

    The environment has only the given variables, as on a machine without an activated environment.
    """
    bare = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    bare |= {"PATH": SYSTEM_PATH, "MLFLOW_TRACKING_URI": store_uri(store), "ATMA18_CACHE": f"{store}/cache"}
    words = [str(python), "-m", "mlflow", "run", str(PROJECT), *words]
    with lent(f"{store}/cache"):
        return subprocess.run(words, cwd=store, env=bare | environment, capture_output=True, text=True)


def store_uri(folder):
    return f"sqlite:///{folder}/mlflow.db"


PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Where MLflow's tables name folders."""


def clone_store(source, target):
    """Copy a store with its artifacts and its cache, links between files included; return the copy."""
    subprocess.run(["cp", "-a", f"{source}/.", target], check=True)
    with closing(sqlite3.connect(target / "mlflow.db")) as connection, connection:
        for table, columns in PLACES.items():
            moved = ", ".join(f"{column} = replace({column}, :source, :target)" for column in columns)
            connection.execute(f"UPDATE {table} SET {moved}", {"source": str(source), "target": str(target)})
    return target


def call(command, *words):
    """Run a step in this process."""
    return CliRunner().invoke(command.main, [str(word) for word in words])


def ran(result):
    """Check that a step succeeded, and return its output."""
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def refused(result):
    """Check that a step ended with an error message and not with a crash, and return its output."""
    assert result.exit_code != 0, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.output
    return result.output


@contextmanager
def put_back(*paths):
    """Restore files and their times afterwards, because other tests use the same store."""
    kept = {path: (path.read_bytes(), path.stat()) for path in paths}
    try:
        yield
    finally:
        for path, (content, stat) in kept.items():
            path.write_bytes(content)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def all_runs():
    """Return the runs of the store, the oldest first."""
    return _search("", "ASC", most=1000)


def newest(step):
    """Return the newest finished run of a step."""
    return _search(f"tags.`atma18.step` = '{step}' and attributes.status = 'FINISHED'", "DESC")[0]


def first(step):
    """Return the run of a step in the first `main`."""
    return _search(f"tags.`atma18.step` = '{step}'", "ASC")[0]


def _search(query, order, most=1):
    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    order_by = [f"attributes.start_time {order}"]
    return client.search_runs(experiments, query, order_by=order_by, max_results=most)


def artifacts(run):
    return Path(run.info.artifact_uri)


def versions(step):
    return MlflowClient().search_model_versions(f"name = 'atma18-{step}'")


def version_of(step, run):
    """Return the number of the version of a run."""
    return next(v.version for v in versions(step) if v.run_id == run.info.run_id)
