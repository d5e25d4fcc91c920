"""Reaching the tracking store: the folders of its artifacts, and the commands that a person types."""

import logging
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run

from atma18.cache import Cache

_ENTRY_POINT_TAG = "mlflow.project.entryPoint"
_LAUNCHERS = {
    "uv": f"uvx mlflow@{mlflow.__version__} run . --env-manager uv",
    "virtualenv": "mlflow run . --env-manager virtualenv",
    "conda": "mlflow run .",
    "local": "mlflow run . --env-manager local",
}
_RUN_FOLDER = re.compile(r"tmp[a-z0-9_]{8}")  # as tempfile.mkdtemp names them


def client() -> MlflowClient:
    """Return a client of the store that MLflow's own variables name."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient()


def artifacts_folder(run: Run, cache: Cache) -> Path:
    """Return a run's artifacts as a local folder: where they lie, or a copy."""
    return _local_folder(run.info.artifact_uri, "artifacts", run.info.run_id, cache)


def model_folder(model_id: str, cache: Cache) -> Path:
    """Return a logged model's files as a local folder: where they lie, or a copy."""
    return _local_folder(client().get_logged_model(model_id).artifact_location, "models", model_id, cache)


def _local_folder(uri: str, kind: str, key: str, cache: Cache) -> Path:
    parsed = urlparse(uri)
    if parsed.scheme in ("", "file"):
        return Path(url2pathname(parsed.path))

    def download(path: Path) -> None:
        path.mkdir()
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(path))

    return cache.get(kind, key, download)


def search(query: str) -> list[Run]:
    """Return the runs of all experiments that a query finds, the oldest first."""
    experiments = [e.experiment_id for e in client().search_experiments()]
    return list(client().search_runs(experiments, query, max_results=10_000, order_by=["attributes.start_time ASC"]))


def command(entry_point: str, parameters: Mapping[str, str]) -> str:
    """Return what a person types to run an entry point, in the way in which this process was started."""
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
    """Return where MLflow's UI shows a run, beside wherever it is open."""
    return f"#/experiments/{client().get_run(run_id).info.experiment_id}/runs/{run_id}"


def link_to(run_id: str) -> str:
    """Return a link to a run's page as Markdown, with the head of its ID for a text."""
    return f"[{run_id[:8]}]({page_of(run_id)})"


def ui_command() -> str:
    """Return the one line that opens MLflow's UI over this store, or says where it already runs."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith("http"):
        return uri
    return f"{shlex.quote(sys.executable)} -m mlflow ui --backend-store-uri {shlex.quote(uri)}"


def empty_run_folders(older_than_s: float) -> list[Path]:
    """Return the empty temporary folders that each `mlflow run` leaves, unless they are younger than this time."""
    storage = Path(os.environ.get("MLFLOW_TMP_DIR") or tempfile.gettempdir())
    named = [path for path in storage.iterdir() if _RUN_FOLDER.fullmatch(path.name) and path.is_dir()]
    ours = [path for path in named if path.stat().st_uid == os.getuid() and path.stat().st_mtime < older_than_s]
    return [path for path in ours if not any(path.iterdir())]
