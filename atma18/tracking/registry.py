"""The registry: versions of verified runs, and the way from a name that somebody typed to a run that is whole."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from atma18.cache import Cache
from atma18.experiment import Experiment
from atma18.folds import Folds
from atma18.predictions import Predictions
from atma18.schema import first_few
from atma18.tracking import admission, store
from atma18.tracking.identity import PREFIX, Identity
from atma18.tracking.manifest import FILE, Manifest

STEPS = ("embed", "nn1", "nn2", "gbdt", "blend")
CANDIDATE = "candidate"
CHAMPION = "champion"
CONFIG = "config.json"
MANIFEST_TAG = f"{PREFIX}manifest_sha256"
STAGE_TAG = f"{PREFIX}stage"
FIRST = "first"

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>[0-9]{1,9})|@(?P<alias>[^/@]+))")
_FORMS = "a run ID, models:/NAME/VERSION or models:/NAME@ALIAS"


@dataclass(frozen=True)
class Upstream:
    """A finished run whose every file is what its manifest says."""

    run_id: str
    started_ms: int
    """Milliseconds since 1970."""
    config: Mapping[str, Any]
    """What the run has recorded of its making: parameters, the step's configuration, tags."""
    manifest: Manifest
    artifacts: Path
    model: Path

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the run was made with."""
        return dict(self.config["tags"])

    @property
    def step(self) -> str:
        """The step that it is a run of."""
        return self.tags[f"{PREFIX}step"]

    @property
    def stage(self) -> str | None:
        """The stages that a net was trained in; None for other steps."""
        return self.tags.get(STAGE_TAG)

    @property
    def data_sha256(self) -> str:
        """The digest of its data."""
        return self.tags[f"{PREFIX}data_sha256"]

    @property
    def folds_sha256(self) -> str:
        """The digest of its folds."""
        return self.tags[f"{PREFIX}folds_sha256"]

    @property
    def causal(self) -> bool:
        """Whether the step was told to look at no later sample of a scene, or never does."""
        return self.step in ("embed", "nn1") or bool(self.config["config"].get("causal", False))

    @property
    def bundle(self) -> Path:
        """The folder of the run's servable."""
        return self.model / "artifacts" / "bundle"

    @property
    def stored_predictions(self) -> Predictions:
        """The run's predictions in the order of their files."""
        return Predictions.read(self.artifacts / "predictions")

    def predictions(self, experiment: Experiment) -> Predictions:
        """Return the run's predictions in the order of the experiment's samples, joined on ID."""
        what = f"{self.step} (run {self.run_id})"
        return self.stored_predictions.aligned(experiment.dataset.train.ids, experiment.dataset.test.ids, what)


def registered_name(step: str) -> str:
    """Return the name of a step's registered model."""
    return f"atma18-{step}"


def resolve(given: str, experiment: Experiment, *, step: str | None = None, stage: str | None = None) -> Upstream:
    """Find the run that somebody named, and prove it whole and of the same experiment.

    Args:
        given: a run ID, `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or a step: its newest version with the same data
            and folds.
        experiment: whose data and folds the run must share.
        step: of which the run must be; None for any.
        stage: `first` if half-trained nets are wanted, which the name of a step else passes over.

    Raises:
        ValueError: If there is no such run, or it is not finished, deleted, changed, or of another step, data or folds.
    """
    given = given.strip()
    if given in STEPS:
        upstream = open_version(_newest(given, experiment, stage), experiment.cache)
    else:
        upstream = _open_named(given, experiment.cache, f", or {', '.join(STEPS)}")
    run_id = upstream.run_id
    if step is not None and upstream.step != step:
        raise ValueError(
            f"{given} (run {run_id}): expected a run of {step}, found one of {upstream.step}: name another"
        )
    for what, expected, found in (
        ("data", experiment.dataset.sha256, upstream.data_sha256),
        ("folds", experiment.folds.sha256, upstream.folds_sha256),
    ):
        if found != expected:
            raise ValueError(
                f"{given} (run {run_id} of {upstream.step}): expected the {what} of this experiment, "
                f"{expected[:12]}…, found {found[:12]}…. This makes one:\n"
                f"  {store.command(upstream.step, experiment.parameters)}"
            )
    return upstream


def named_run(given: str, cache: Cache) -> Upstream:
    """Return a whole run that is named by ID or `models:/` URI, of whatever data and folds."""
    return _open_named(given, cache)


def folds_of(given: str, cache: Cache) -> Folds:
    """Return the folds of a run that is named by ID or `models:/` URI."""
    try:
        upstream = _open_named(given, cache)
    except ValueError as error:
        raise ValueError(f"folds: expected a count, or the run whose folds to use: {error}") from error
    return Folds.read(upstream.artifacts / "folds.parquet")


def _open_named(given: str, cache: Cache, other_forms: str = "") -> Upstream:
    if is_run_id(given):
        return open_run(given, cache)
    return open_version(named_version(given, other_forms), cache)


def named_version(given: str, other_forms: str = "") -> ModelVersion:
    """Return the version that is named by a `models:/` URI; whether it is whole is another question.

    Raises:
        ValueError: If the name has another form, or there is no such version.
    """
    match = _MODEL_URI.fullmatch(given)
    if match is None:
        raise ValueError(f"expected {_FORMS}{other_forms}, found {given!r}")
    try:
        if match["alias"]:
            return store.client().get_model_version_by_alias(match["name"], match["alias"])
        return store.client().get_model_version(match["name"], match["version"])
    except MlflowException as error:
        advice = f": promote one, or name models:/{match['name']}@{CANDIDATE}" if match["alias"] == CHAMPION else ""
        raise ValueError(f"{given}: expected a registered version, found none ({error.message}){advice}") from error


def open_version(version: ModelVersion, cache: Cache) -> Upstream:
    """Prove the run of a version whole, and the version to be that run's: the registry itself checks nothing.

    Raises:
        ValueError: If it has no run, serves another model than its run's, or as in `open_run`.
    """
    name = f"models:/{version.name}/{version.version}"
    if not version.run_id:
        raise ValueError(f"{name}: expected a version that was made by a run, found one without: name a run")
    upstream = open_run(version.run_id, cache)
    check_source(version, upstream)
    return upstream


def check_source(version: ModelVersion, upstream: Upstream) -> None:
    """Refuse a version that serves another model than that of its run.

    Raises:
        ValueError: If it points elsewhere.
    """
    expected = f"models:/{upstream.manifest.model_id}"
    if version.source != expected:
        raise ValueError(
            f"models:/{version.name}/{version.version}: expected the model of its run {upstream.run_id}, {expected}, "
            f"found a version that points at {version.source}: delete the version, and name the run"
        )


def _newest(step: str, experiment: Experiment, stage: str | None) -> ModelVersion:
    """Return the newest version of a step with the same data and folds."""
    wanted = {f"{PREFIX}data_sha256": experiment.dataset.sha256, f"{PREFIX}folds_sha256": experiment.folds.sha256}
    versions = versions_of(registered_name(step))
    fitting = [
        v for v in versions if wanted.items() <= v.tags.items() and (v.tags.get(STAGE_TAG) == FIRST) == (stage == FIRST)
    ]
    if not fitting:
        staged = {} if stage is None else {"stage": stage}
        raise ValueError(
            f"expected a version of {registered_name(step)} with these data and folds, "
            f"found {len(versions)} versions, none of them fitting. This makes it:\n"
            f"  {store.command(step, experiment.parameters | staged)}"
        )
    return max(fitting, key=lambda v: int(v.version))


def versions_of(name: str) -> list[ModelVersion]:
    """Return all versions of a registered model."""
    return list(store.client().search_model_versions(f"name = '{name}'", max_results=10_000))


def is_run_id(given: str) -> bool:
    """Whether this is how MLflow writes a run ID."""
    return _RUN_ID.fullmatch(given) is not None


def open_run(run_id: str, cache: Cache) -> Upstream:
    """Prove a run whole.

    Raises:
        ValueError: If there is no such run, or it is not FINISHED, was deleted, or a file differs from the manifest.
    """
    try:
        run = store.client().get_run(run_id)
    except MlflowException as error:
        raise ValueError(
            f"run {run_id}: expected a run of this ID, found none in {mlflow.get_tracking_uri()}: "
            "check the ID, and MLFLOW_TRACKING_URI"
        ) from error
    tags, status = run.data.tags, run.info.status
    if run.info.lifecycle_stage == "deleted":
        raise ValueError(
            f"run {run_id}: expected a finished run, found a deleted one: name another, or restore it with "
            f"mlflow runs restore --run-id {run_id}"
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
        raise ValueError(f"run {run_id}: {error}: name another run, or run {tags[f'{PREFIX}step']} again") from error


def _whole(run: Run, cache: Cache) -> Upstream:
    """Compare a finished run with its manifest, and its tags with its files.

    Raises:
        ValueError: If the manifest is another, a file was changed or is missing, the model is gone, or a tag lies.
        OSError: If a file cannot be read.
        MlflowException: If a remote store does not hand its files over.
    """
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
    """Compare tags, which anybody can set, with those that a run has recorded of its making.

    Raises:
        ValueError: If one differs, is missing, or names an input that there was none of.
    """
    ours = {name for name in found if name.startswith(f"{PREFIX}input.")} | set(recorded)
    wrong = [f"{name} = {found.get(name)}" for name in sorted(ours) if found.get(name) != recorded.get(name)]
    if wrong:
        raise ValueError(f"expected the tags that {by} has recorded, found {first_few(wrong)}")


def reusable(identity: Identity, cache: Cache) -> Upstream | None:
    """Return the newest whole run with this identity from any experiment, registered if it was not yet."""
    experiments = [e.experiment_id for e in store.client().search_experiments()]
    query = f"tags.`{PREFIX}fingerprint` = '{identity.fingerprint}' and attributes.status = 'FINISHED'"
    runs: list[Run] = list(store.client().search_runs(experiments, query, order_by=["attributes.start_time DESC"]))
    for run in runs:
        try:
            whole = open_run(run.info.run_id, cache)
        except ValueError:
            continue
        register(whole)
        return whole
    return None


def register(upstream: Upstream) -> ModelVersion:
    """Give a whole run its version and, unless its nets are half-trained, the alias `candidate`; once per run."""
    name = registered_name(upstream.step)
    with admission.alone():
        known = [v for v in versions_of(name) if v.run_id == upstream.run_id]
        if known:
            return known[0]
        run = store.client().get_run(upstream.run_id)
        tags = {tag: value for tag, value in run.data.tags.items() if tag.startswith(PREFIX)}
        version = mlflow.register_model(f"models:/{upstream.manifest.model_id}", name, tags=tags)
        if upstream.stage != FIRST:
            store.client().set_registered_model_alias(name, CANDIDATE, str(version.version))
    return version
