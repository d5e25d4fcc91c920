"""Access to the tracking store: its client, its errors, its artifact folders, and commands for the user."""

import logging
import os
import re
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException

from atma18.cache import Cache
from atma18.tracking import uris

_ARTIFACTS, _MODELS = "artifacts", "models"
_ENTRY_POINT_TAG = "mlflow.project.entryPoint"
_LAUNCHERS = {
    "uv": f"uvx mlflow@{mlflow.__version__} run . --env-manager uv",
    "virtualenv": "mlflow run . --env-manager virtualenv",
    "conda": "mlflow run .",
    "local": "mlflow run . --env-manager local",
}
FAILURES = (MlflowException, OSError)
"""The errors of a store that is unreachable, full or locked; a network error of requests is an OSError."""
_ONE_RETRY = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_LONGEST_MESSAGE = 300
_LOGGED = {"mlflow": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
"""By logger, what is logged: the second logs each error that it raises."""
_RUN_FOLDER = re.compile(r"tmp[a-z0-9_]{8}")  # the names of tempfile.mkdtemp


def client() -> MlflowClient:
    """Return a client of the store that MLflow's environment variables name."""
    for name, level in _LOGGED.items():
        logger = logging.getLogger(name)
        if logger.level != level:  # to set a level makes every logger of the process look its own up again
            logger.setLevel(level)
    return MlflowClient()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until a write to a database is over; the second one ends the process at once.

    In the middle of a write, MLflow may take the end of the process for a failure of the database, so that the process
    goes on, or leave the database locked. A server is not waited for: its answer may take minutes.
    """
    of_server = urlparse(mlflow.get_tracking_uri()).scheme in ("http", "https")
    if of_server or threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    handlers = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def wait(number: int, frame: object) -> None:
        if waiting:
            restore()
            signal.raise_signal(number)
        waiting.append(number)

    for number in handlers:
        signal.signal(number, wait)
    try:
        yield
    finally:
        restore()
        if waiting:
            signal.raise_signal(waiting[0])


def message_of(error: Exception) -> str:
    """Return the message of a store's error as one line."""
    message = str(error.message if isinstance(error, MlflowException) else error)
    return " ".join(message.split("\n[SQL")[0].split())[:_LONGEST_MESSAGE]


@contextmanager
def errors_explained() -> Iterator[None]:
    """Turn an error of the store into one message with the cause and the remedy.

    Raises:
        ValueError: If the store failed.
    """
    try:
        yield
    except (MlflowException, RequestException) as error:
        failed = ValueError(f"{mlflow.get_tracking_uri()}: {_why(error)}")
        for note in getattr(error, "__notes__", []):
            failed.add_note(note)
        raise failed from error


def _why(error: Exception) -> str:
    match getattr(error, "error_code", ""):
        case "UNAUTHENTICATED":
            return (
                "expected a user and a password that the server knows, found others or none: set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or write them to ~/.mlflow/credentials"
            )
        case "PERMISSION_DENIED":
            return "expected that you may do this, found no permission: ask the administrator of the server for EDIT"
        case _ if is_away(error):
            return (
                f"expected the tracking store to answer, found: {message_of(error)}: what had finished is as it was; "
                "give the same command again once it does"
            )
        case _:
            return f"expected the tracking store to do what it was asked, found: {message_of(error)}"


@contextmanager
def one_retry() -> Iterator[None]:
    """Limit MLflow to one retry, for a store that is known to be unreachable."""
    before = {name: os.environ.get(name) for name in _ONE_RETRY}
    os.environ.update(_ONE_RETRY)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def is_away(error: Exception) -> bool:
    """Return whether the store itself is unreachable, and not only the requested item missing."""
    if not isinstance(error, FAILURES):
        return False
    if isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE":
        return True
    try:
        with one_retry():
            client().search_experiments(max_results=1)
    except MlflowException:
        return True
    return False


def artifacts_folder(run: Run, cache: Cache) -> Path:
    """Return a run's artifacts as a local folder: the original, or a copy of a remote one."""
    return _local_folder(run.info.artifact_uri, _ARTIFACTS, run.info.run_id, cache)


def model_folder(model_id: str, cache: Cache) -> Path:
    """Return a logged model's files as a local folder: the original, or a copy of a remote one."""
    return _local_folder(client().get_logged_model(model_id).artifact_location, _MODELS, model_id, cache)


def forget_copies(run: Run, models: Iterable[str], cache: Cache) -> bool:
    """Delete the local copies of a run's remote files, and return whether its store is remote."""
    if uris.local_path(run.info.artifact_uri) is not None:
        return False
    cache.forget(_ARTIFACTS, run.info.run_id)
    for model_id in models:
        cache.forget(_MODELS, model_id)
    return True


def forget_models(run_id: str) -> None:
    """Delete the models that an earlier, incomplete upload logged to a run."""
    experiment = client().get_run(run_id).info.experiment_id
    for model in client().search_logged_models([experiment], f"source_run_id = '{run_id}'"):
        client().delete_logged_model(model.model_id)


def _local_folder(uri: str, kind: str, key: str, cache: Cache) -> Path:
    if (folder := uris.local_path(uri)) is not None:
        return folder

    def download(path: Path) -> None:
        path.mkdir()
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(path))

    return cache.get(kind, key, download) / PurePosixPath(urlparse(uri).path).name  # MLflow creates it in `dst_path`


def restore_command(experiment_id: str) -> str:
    """Return MLflow's command that restores a deleted experiment with its runs."""
    return f"mlflow experiments restore --experiment-id {experiment_id}"


def search(query: str) -> list[Run]:
    """Return the runs of all experiments that match a query, the oldest first."""
    experiments = [e.experiment_id for e in client().search_experiments()]
    return list(client().search_runs(experiments, query, max_results=10_000, order_by=["attributes.start_time ASC"]))


def runs_in(experiments: Sequence[str]) -> list[Run]:
    """Return all runs of experiments by their IDs, deleted ones included."""
    return list(client().search_runs(list(experiments), "", ViewType.ALL, max_results=10_000))


def command(entry_point: str, parameters: Mapping[str, str]) -> str:
    """Return the command that runs an entry point in the way in which this process was started."""
    active, waiting = mlflow.active_run(), os.environ.get("MLFLOW_RUN_ID")
    run = client().get_run(waiting) if waiting else active
    if run is None or _ENTRY_POINT_TAG not in run.data.tags:
        words = [f"{shlex.quote(sys.executable)} -m steps.{entry_point}"]
        return " ".join(words + [f"--{name} {shlex.quote(v)}" for name, v in parameters.items()])
    experiment = client().get_experiment(run.info.experiment_id).name
    manager = run.data.tags.get("mlflow.project.env", "local")  # MLflow tags every manager but local
    words = [_LAUNCHERS[manager], f"-e {entry_point}", f"--experiment-name {shlex.quote(experiment)}"]
    return " ".join(words + [f"-P {name}={shlex.quote(value)}" for name, value in parameters.items()])


def page_of(run_id: str) -> str:
    """Return the part of a run's URL that follows the address of MLflow's UI."""
    return f"#/experiments/{client().get_run(run_id).info.experiment_id}/runs/{run_id}"


def link_to(run_id: str) -> str:
    """Return a Markdown link to a run's page; its text is the head of the run ID."""
    return f"[{run_id[:8]}]({page_of(run_id)})"


def ui_command() -> str:
    """Return the command that opens MLflow's UI for this store, or the address where the UI already runs."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith("http"):
        return uri
    return f"{shlex.quote(sys.executable)} -m mlflow ui --backend-store-uri {shlex.quote(uri)}"


def empty_run_folders(older_than_s: float) -> list[Path]:
    """Return the empty temporary folders that `mlflow run` leaves behind, if they are older than this time."""
    storage = Path(os.environ.get("MLFLOW_TMP_DIR") or tempfile.gettempdir())
    named = [path for path in storage.iterdir() if _RUN_FOLDER.fullmatch(path.name) and path.is_dir()]
    ours = [path for path in named if path.stat().st_uid == os.getuid() and path.stat().st_mtime < older_than_s]
    return [path for path in ours if not any(path.iterdir())]
