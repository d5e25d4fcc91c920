"""Store setup: before any work, check that the store is usable, and create it if it does not exist."""

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlparse

import mlflow
import psutil
from filelock import FileLock
from mlflow.entities import Experiment, LifecycleStage
from mlflow.store.db.utils import _get_latest_schema_revision

from atma18.cache import default_root
from atma18.storage.digests import sha256_of_records
from atma18.tracking import store, uris

DEFAULT_EXPERIMENT = "atma18"
_STARTED_BY_MLFLOW = "MLFLOW_RUN_ID"
_EXPERIMENT_NAMED_BY = (_STARTED_BY_MLFLOW, "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
_NAMED_BY = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_MIGRATION_S = 2
_ASK_VERSION = "from importlib.metadata import version; print(version('mlflow'))"


def prepare() -> None:
    """Prepare the store for runs; other processes that do so at the same time wait.

    Raises:
        ValueError: If the store is named by a relative path or with a password, cannot be opened or was made by another
            MLflow, or if another MLflow than ours has started this process.
    """
    _check_named()
    _check_same_outside()
    with exclusive():
        _check_schema()
        with store.errors_explained():
            store.client().search_experiments(max_results=1)  # makes the tables
            _check_experiment()
            if not any(os.environ.get(name) for name in _EXPERIMENT_NAMED_BY):
                mlflow.set_experiment(DEFAULT_EXPERIMENT)


def _check_experiment() -> None:
    """Refuse new runs in an experiment that was deleted."""
    if os.environ.get(_STARTED_BY_MLFLOW):
        return  # MLflow has checked the experiment of the run that it opened
    if number := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        experiment: Experiment | None = store.client().get_experiment(number)
    else:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or DEFAULT_EXPERIMENT
        experiment = store.client().get_experiment_by_name(name)
    if experiment is not None and experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise ValueError(
            f"experiment {experiment.name}: expected one that takes runs, found it deleted: restore it with "
            f"{store.restore_command(experiment.experiment_id)}, or name another with MLFLOW_EXPERIMENT_NAME"
        )


@contextmanager
def reading() -> Iterator[None]:
    """Open a store that must exist; it is never created.

    Raises:
        ValueError: If it does not exist or does not answer, and in the cases of `prepare`.
    """
    _check_named()
    _check_same_outside()
    database = _database()
    if database is not None and not database.is_file():
        raise ValueError(f"{database}: expected a tracking store, found none: check MLFLOW_TRACKING_URI")
    _check_schema()
    with store.errors_explained():
        yield


@contextmanager
def exclusive() -> Iterator[None]:
    """Hold the lock of the store, for work that only one process may do: creating it, and moving an alias.

    For a store behind a server, the lock excludes only processes of this machine and user.
    """
    database = _database()
    if database is None:
        locks = default_root(os.environ) / ".stores"
        locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(locks / f"{sha256_of_records([[mlflow.get_tracking_uri().encode()]])}.lock"):
            yield
        return
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{database}: expected a place for a database ({error}): set MLFLOW_TRACKING_URI") from error
    if database.is_dir():
        raise ValueError(f"{database}: expected a database, found a folder: name a file in it")
    with FileLock(database.with_name(f"{database.name}.lock")):
        yield


def _database() -> Path | None:
    """Return the file of an SQLite store."""
    path = uris.database_path(mlflow.get_tracking_uri())
    return None if path is None else path.absolute()


def _check_named() -> None:
    """Refuse a store with a relative path or with a password, since the password would be printed and logged."""
    for name in _NAMED_BY:
        if urlparse(os.environ.get(name, "")).password:
            raise ValueError(
                f"{name}: expected a store without a password in its name, found one: set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or write them to ~/.mlflow/credentials"
            )
    for name in _NAMED_BY:
        path = uris.database_path(os.environ.get(name, ""))
        if path is not None and not path.is_absolute():
            raise ValueError(
                f"{name}: expected an absolute path, for `mlflow run` and its steps work in different folders, "
                f"found {os.environ[name]}: set {name}={uris.of_database(path)} or leave it out"
            )
    database = _database()
    if database is not None and not uris.survives(database.parent):
        raise ValueError(
            f"{database.parent}: expected a folder without codes like %20, which MLflow {mlflow.__version__} decodes, "
            "found one: rename it"
        )


def _check_same_outside() -> None:
    """Refuse an `mlflow run` of another MLflow version, which would misread or migrate the store."""
    if not os.environ.get(_STARTED_BY_MLFLOW):
        return
    outside = _version_outside()
    if outside is not None and outside != mlflow.__version__:
        raise ValueError(
            f"expected the same MLflow outside and inside the project's environment, found {outside} outside and "
            f"{mlflow.__version__} inside: start it with mlflow {mlflow.__version__}, "
            f"for example uvx mlflow@{mlflow.__version__} run . --env-manager uv"
        )


def _version_outside() -> str | None:
    """Return the MLflow version of the `mlflow run` that started this process; None without one on this machine."""
    for words, path in _parents():
        if "run" in words and any(Path(word).name == "mlflow" for word in words[1:3]):
            python = shutil.which(words[0], path=path)
            if python is None:
                return None
            asked = subprocess.run([python, "-I", "-c", _ASK_VERSION], capture_output=True, text=True, check=False)
            return asked.stdout.strip() or None
    return None


def _parents() -> Iterator[tuple[list[str], str | None]]:
    """Yield the command line and the PATH of each readable parent process, the nearest first."""
    with suppress(psutil.Error):
        for parent in psutil.Process().parents():
            with suppress(psutil.Error):  # a process of another user, or one that has just ended
                yield parent.cmdline(), parent.environ().get("PATH")


def _check_schema() -> None:
    """Refuse a database of another MLflow version: opening an older one would migrate it and lock out its owner."""
    expected: str = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
    actual = _schema()
    while actual not in (None, expected):
        time.sleep(_MIGRATION_S)  # another `mlflow run` may be creating it
        before, actual = actual, _schema()
        if actual == before:
            raise ValueError(
                f"{_database()}: expected a store of MLflow {mlflow.__version__} (schema {expected}), found schema "
                f"{actual}: use the MLflow that made it, name another store, or back it up and change it for good with "
                f"mlflow db upgrade {mlflow.get_tracking_uri()}"
            )


def _schema() -> str | None:
    """Return the schema revision of an SQLite store; None where there is no file, or no table yet."""
    database = _database()
    if database is None or not database.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else None
    except sqlite3.OperationalError:  # the table does not exist
        return None
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{database}: expected a database of MLflow, found something else ({error})") from error
