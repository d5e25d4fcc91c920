"""Upstreams: finished runs whose files and tags are verified against their manifest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LifecycleStage, Run
from mlflow.exceptions import MlflowException

from atma18.bundle.steps import STEPS
from atma18.cache import Cache
from atma18.data.predictions import Predictions
from atma18.run_context import RunContext
from atma18.schema import first_few
from atma18.tracking import store
from atma18.tracking.identity import INPUT, PREFIX
from atma18.tracking.manifest import FILE, Manifest

CONFIG = "config.json"
MANIFEST_TAG = f"{PREFIX}manifest_sha256"
STAGE_TAG = f"{PREFIX}stage"


@dataclass(frozen=True)
class Upstream:
    """A finished run whose files all have the digests of its manifest."""

    run_id: str
    started_ms: int
    """Milliseconds since 1970."""
    config: Mapping[str, Any]
    """The run's `config.json`: parameters, the step's configuration, tags."""
    manifest: Manifest
    artifacts: Path
    model: Path

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the run recorded in its configuration."""
        return dict(self.config["tags"])

    @property
    def step(self) -> str:
        """The step of the run."""
        return self.tags[f"{PREFIX}step"]

    @property
    def stage(self) -> str | None:
        """The trained stages of a net; None for other steps."""
        return self.tags.get(STAGE_TAG)

    @property
    def data_sha256(self) -> str:
        """The SHA-256 of its data."""
        return self.tags[f"{PREFIX}data_sha256"]

    @property
    def folds_sha256(self) -> str:
        """The SHA-256 of its folds."""
        return self.tags[f"{PREFIX}folds_sha256"]

    @property
    def causal(self) -> bool:
        """Whether its model uses no later sample of a scene.

        For a run without this record, the option `causal` decides.
        """
        recorded = self.manifest.causal
        return bool(self.config["config"].get("causal")) if recorded is None else recorded

    @property
    def inputs(self) -> dict[str, str]:
        """The run ID of each upstream by name."""
        return {tag.removeprefix(INPUT): run_id for tag, run_id in self.tags.items() if tag.startswith(INPUT)}

    @property
    def setting(self) -> str:
        """The drives, the code and the preset of the run, as text."""
        drives, git = f"{self.config['data']} ({self.data_sha256[:12]}…)", self.tags[f"{PREFIX}git"]
        return f"Drives: {drives}; git: {git}; preset: {self.tags[f'{PREFIX}preset']}"

    @property
    def bundle(self) -> Path:
        """The folder of the run's servable."""
        return self.model / "artifacts" / "bundle"

    @property
    def stored_predictions(self) -> Predictions:
        """The run's predictions in the order of their files."""
        return Predictions.read(self.artifacts / "predictions")

    def predictions(self, context: RunContext) -> Predictions:
        """Return the run's predictions in the order of the context's samples, joined on ID."""
        what = f"{self.step} (run {self.run_id})"
        return self.stored_predictions.aligned(context.dataset.train.ids, context.dataset.test.ids, what)


def open_run(run_id: str, cache: Cache) -> Upstream:
    """Verify a run.

    Raises:
        ValueError: If there is no such run, or it is not FINISHED, was deleted, or a file differs from the manifest.
    """
    try:
        run = store.client().get_run(run_id)
    except MlflowException as error:
        if store.is_away(error):
            raise
        raise ValueError(
            f"run {run_id}: expected a run of this ID, found none in {mlflow.get_tracking_uri()}: "
            "check the ID, and MLFLOW_TRACKING_URI"
        ) from error
    tags, status = run.data.tags, run.info.status
    if run.info.lifecycle_stage == "deleted":
        experiment = store.client().get_experiment(run.info.experiment_id)
        of_experiment = experiment.lifecycle_stage == LifecycleStage.DELETED
        restore = (
            store.restore_command(experiment.experiment_id)
            if of_experiment
            else f"mlflow runs restore --run-id {run_id}"
        )
        raise ValueError(
            f"run {run_id}: expected a finished run, found a deleted one"
            f"{f' of the deleted experiment {experiment.name}' if of_experiment else ''}: name another, or restore it "
            f"with {restore}"
        )
    if status != "FINISHED":
        raise ValueError(f"run {run_id}: expected a finished run, found status {status}: name another")
    if f"{PREFIX}step" not in tags:
        raise ValueError(
            f"run {run_id}: expected a run of {', '.join(STEPS)}, found one of something else: name another"
        )
    try:
        return _whole(run, cache)
    except (ValueError, OSError, MlflowException) as error:
        if store.is_away(error):
            raise
        raise ValueError(f"run {run_id}: {error}: name another run, or run {tags[f'{PREFIX}step']} again") from error


def _whole(run: Run, cache: Cache) -> Upstream:
    """Verify a finished run against its manifest, and its tags against its files; fetch a broken copy again.

    Raises:
        ValueError: If the manifest differs, a file was changed or is missing, the model is missing, or a tag is wrong.
        OSError: If a file cannot be read.
        MlflowException: If a remote store does not return its files.
    """
    try:
        return _compared(run, cache)
    except ValueError:
        models = {output.model_id for output in (run.outputs.model_outputs if run.outputs else [])}
        if not store.forget_copies(run, models, cache):
            raise
        return _compared(run, cache)


def _compared(run: Run, cache: Cache) -> Upstream:
    tags = run.data.tags
    artifacts = store.artifacts_folder(run, cache)
    manifest = Manifest.read(artifacts / FILE)
    if manifest.sha256 != tags.get(MANIFEST_TAG):
        raise ValueError("expected the manifest that the run was finished with, found another")
    try:
        model = store.model_folder(manifest.model_id, cache)
    except MlflowException as error:
        raise ValueError(f"expected the model {manifest.model_id}, found none ({error.message})") from error
    manifest.check(artifacts, model)
    config = json.loads((artifacts / CONFIG).read_text())
    if "tags" not in config:
        raise ValueError(f"expected a {CONFIG} with the tags of the run, found one without, of an earlier atma18")
    check_tags(tags, config["tags"], CONFIG)
    return Upstream(run.info.run_id, run.info.start_time, config, manifest, artifacts, model)


def check_tags(found: Mapping[str, str], recorded: Mapping[str, str], by: str) -> None:
    """Compare tags, which a user can change, with those that a run recorded in its configuration.

    Raises:
        ValueError: If a tag differs, is missing, or names an input that the run does not have.
    """
    ours = {name for name in found if name.startswith(INPUT)} | set(recorded)
    wrong = [f"{name} = {found.get(name)}" for name in sorted(ours) if found.get(name) != recorded.get(name)]
    if wrong:
        raise ValueError(f"expected the tags that {by} has recorded, found {first_few(wrong)}")
