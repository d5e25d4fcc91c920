"""Reaching the tracking store: experiments, folders of artifacts, and the commands that a person types."""

import logging
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run

from atma18.cache import Cache

DEFAULT_EXPERIMENT = "atma18"
_ENTRY_POINT_TAG = "mlflow.project.entryPoint"
_LAUNCHERS = {
    "uv": f"uvx mlflow@{mlflow.__version__} run . --env-manager uv",
    "virtualenv": "mlflow run . --env-manager virtualenv",
    "conda": "mlflow run .",
    "local": "mlflow run . --env-manager local",
}
_NAMED_BY = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


def client() -> MlflowClient:
    """Return a client of the store that MLflow's own variables name."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient()


def name_experiment() -> None:
    """Choose the experiment of new runs, unless `mlflow run` or a variable has chosen one."""
    client()
    if not any(os.environ.get(name) for name in _NAMED_BY):
        mlflow.set_experiment(DEFAULT_EXPERIMENT)


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


def command(entry_point: str, parameters: Mapping[str, str]) -> str:
    """Return what a person types to run an entry point, in the way in which this process was started."""
    active, waiting = mlflow.active_run(), os.environ.get("MLFLOW_RUN_ID")
    run = client().get_run(waiting) if waiting else active
    if run is None or _ENTRY_POINT_TAG not in run.data.tags:
        words = [f"{sys.executable} -m steps.{entry_point}"]
        return " ".join(words + [f"--{name} {shlex.quote(v)}" for name, v in parameters.items()])
    experiment = client().get_experiment(run.info.experiment_id).name
    manager = run.data.tags.get("mlflow.project.env", "local")  # MLflow tags every manager but local
    words = [_LAUNCHERS[manager], f"-e {entry_point}", f"--experiment-name {shlex.quote(experiment)}"]
    return " ".join(words + [f"-P {name}={shlex.quote(value)}" for name, value in parameters.items()])


def ui_command() -> str:
    """Return the one line that opens MLflow's UI over this store, or says where it already runs."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith("http"):
        return uri
    return f"{shlex.quote(sys.executable)} -m mlflow ui --backend-store-uri {shlex.quote(uri)}"
