"""The registry: register versions of verified runs, and find a verified run by the name that a user typed."""

from collections.abc import Mapping, Sequence

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from atma18.bundle.steps import STEPS
from atma18.cache import Cache
from atma18.data.folds import Folds
from atma18.run_context import RunContext
from atma18.tracking import store, store_setup
from atma18.tracking.identity import INPUT, PREFIX, Identity
from atma18.tracking.lifecycle import DESCRIPTION
from atma18.tracking.upstream import STAGE_TAG, Upstream, open_run
from atma18.tracking.versions import (
    CANDIDATE,
    FIRST,
    is_run_id,
    named_version,
    open_version,
    registered_name,
    versions_of,
)

_OUTPUT = (
    "It predicts 18 numbers per sample, in metres: x forward, y left, z vertical, 0.5 to 3.0 s ahead, in the vehicle "
    "frame at t. It holds all that it needs from raw frames on."
)


def resolve(given: str, context: RunContext, *, step: str | None = None, stage: str | None = None) -> Upstream:
    """Find a run by name, verify it, and check that it has the data and folds of the context.

    Args:
        given: a run ID, `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or a step, which means its newest version with
            the same data and folds.
        context: the context with the required data and folds.
        step: the required step; None for any.
        stage: `first` for half-trained nets, which the name of a step does not find otherwise.

    Raises:
        ValueError: If there is no such run, or it is not finished, deleted, changed, or of another step, data or folds.
    """
    given = given.strip()
    if given in STEPS:
        upstream = open_version(_newest(given, context, stage), context.cache)
    else:
        upstream = _open_named(given, context.cache, f", or {', '.join(STEPS)}")
    run_id = upstream.run_id
    if step is not None and upstream.step != step:
        raise ValueError(
            f"{given} (run {run_id}): expected a run of {step}, found one of {upstream.step}: name another"
        )
    for what, expected, found in (
        ("data", context.dataset.sha256, upstream.data_sha256),
        ("folds", context.folds.sha256, upstream.folds_sha256),
    ):
        if found != expected:
            raise ValueError(
                f"{given} (run {run_id} of {upstream.step}): expected the {what} of this experiment, "
                f"{expected[:12]}…, found {found[:12]}…. This makes one:\n"
                f"  {store.command(upstream.step, context.parameters)}"
            )
    return upstream


def named_run(given: str, cache: Cache) -> Upstream:
    """Return a verified run by its ID or `models:/` URI, with any data and folds."""
    return _open_named(given, cache)


def folds_of(given: str, cache: Cache) -> Folds:
    """Return the folds of a run by its ID or `models:/` URI."""
    try:
        upstream = _open_named(given, cache)
    except ValueError as error:
        raise ValueError(f"folds: expected a count, or the run whose folds to use: {error}") from error
    return Folds.read(upstream.artifacts / "folds.parquet")


def _open_named(given: str, cache: Cache, other_forms: str = "") -> Upstream:
    if is_run_id(given):
        return open_run(given, cache)
    return open_version(named_version(given, other_forms), cache)


def _newest(step: str, context: RunContext, stage: str | None) -> ModelVersion:
    """Return the newest version of a step with the same data and folds."""
    wanted = {f"{PREFIX}data_sha256": context.dataset.sha256, f"{PREFIX}folds_sha256": context.folds.sha256}
    versions = versions_of(registered_name(step))
    staged_alike = [v for v in versions if (v.tags.get(STAGE_TAG) == FIRST) == (stage == FIRST)]
    fitting = [v for v in staged_alike if wanted.items() <= v.tags.items()]
    if not fitting:
        staged = {} if stage is None else {"stage": stage}
        raise ValueError(
            f"expected a version of {registered_name(step)} with these data and folds, "
            f"found {len(versions)} versions, none of them fitting{_same_data(staged_alike, context)}. This makes it:\n"
            f"  {store.command(step, context.parameters | staged)}"
        )
    return max(fitting, key=lambda v: int(v.version))


def _same_data(versions: Sequence[ModelVersion], context: RunContext) -> str:
    """Say how to take the folds of the newest version with the same data; nothing if there is none.

    None of the versions has the same data and the same folds.
    """
    same = [v for v in versions if v.tags.get(f"{PREFIX}data_sha256") == context.dataset.sha256]
    if not same:
        return ""
    newest = max(same, key=lambda v: int(v.version))
    return (
        f": version {newest.version} has these data and other folds than these {context.folds.count}; to take its "
        f"folds, add folds=models:/{newest.name}/{newest.version}"
    )


def reusable(identity: Identity, cache: Cache) -> Upstream | None:
    """Return the newest verified run with this identity from any experiment; register it if it has no version."""
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
    """Register a verified run once, with the alias `candidate` unless its nets are half-trained.

    The description is written last: a version without one is incomplete, and the missing parts are added.
    """
    name = registered_name(upstream.step)
    with store_setup.exclusive():
        known = [v for v in versions_of(name) if v.run_id == upstream.run_id]
        if not known:
            model = f"models:/{upstream.manifest.model_id}"
            known = [mlflow.register_model(model, name, tags=_tags(store.client().get_run(upstream.run_id)))]
        version = known[0]
        if not is_complete(version):
            complete(version, upstream)
    return version


def complete(version: ModelVersion, upstream: Upstream) -> None:
    """Give a version of our own name its tags, the alias `candidate` and its description; the caller holds the lock."""
    client, run = store.client(), store.client().get_run(upstream.run_id)
    for tag, value in _tags(run).items():
        if version.tags.get(tag) != value:
            client.set_model_version_tag(version.name, version.version, tag, value)
    later = [v for v in versions_of(version.name) if int(v.version) > int(version.version)]
    if upstream.stage != FIRST and all(v.tags.get(STAGE_TAG) == FIRST for v in later):
        client.set_registered_model_alias(version.name, CANDIDATE, str(version.version))
    _describe(upstream, version, run)


def _tags(run: Run) -> dict[str, str]:
    return {tag: value for tag, value in run.data.tags.items() if tag.startswith(PREFIX)}


def is_complete(version: ModelVersion) -> bool:
    """Whether a version has its tags and its description; one that MLflow's UI has registered has neither."""
    return bool(version.description) and any(tag.startswith(PREFIX) for tag in version.tags)


def check_may_register(step: str) -> None:
    """Check before any work that the user may register a result, because a server may restrict that.

    Raises:
        ValueError: If the user may not change the registered model.
    """
    name = registered_name(step)
    try:  # deleting a missing tag changes nothing, and needs the same permission
        store.client().delete_registered_model_tag(name, f"{PREFIX}nothing")
    except MlflowException as error:
        if error.error_code == "PERMISSION_DENIED":
            raise ValueError(
                f"{name}: expected that you may register and promote versions, found no permission on "
                f"{mlflow.get_tracking_uri()}: ask its administrator for EDIT on this registered model"
            ) from error
        if store.is_away(error):
            raise


def _describe(upstream: Upstream, version: ModelVersion, run: Run) -> None:
    """Describe a model, unless it has a description, and a version: its score and its inputs.

    The run gets the same description as its version.
    """
    client, figures = store.client(), run.data.metrics
    if not client.get_registered_model(version.name).description:
        client.update_registered_model(version.name, f"{STEPS[upstream.step].description} {_OUTPUT}")
    scores = {"OOF MAE": "oof/mae_m", "on the test split's mix of scene sizes": "oof/mae_m_testmix"}
    scores_text = "; ".join(f"{what} {figures[name]:.4f} m" for what, name in scores.items() if name in figures)
    sentences = [f"Run {upstream.run_id}.", f"{scores_text}."]
    if best := run.data.tags.get(f"{PREFIX}best_input"):
        sentences.append(f"Weights by scene size: {run.data.tags.get(f'{PREFIX}weights', 'in weights.json')}.")
        sentences += _gains(figures, {"the motion model": "gain_over_motion", f"{best}, its best input": "gain"})
    sentences += [_made_from(upstream), f"{upstream.setting}."]
    client.update_model_version(version.name, version.version, " ".join(filter(None, sentences)))
    client.set_tag(upstream.run_id, DESCRIPTION, " ".join(filter(None, sentences[1:])))


def _gains(figures: Mapping[str, float], metrics: Mapping[str, str]) -> list[str]:
    """Return a sentence for each gain; the run of an earlier version may lack one."""
    sentences = []
    for over, metric in metrics.items():
        if f"{metric}/mean_m" in figures:
            mean_m, low_m, high_m = (figures[f"{metric}/{name}_m"] for name in ("mean", "low", "high"))
            sentences.append(f"Gain over {over}: {mean_m:+.4f} m (95 % {low_m:+.4f} to {high_m:+.4f} m).")
    return sentences


def _made_from(upstream: Upstream) -> str:
    """Return Markdown links to the inputs of a run, with the names of their own inputs."""
    if not upstream.inputs:
        return ""
    sources = []
    for name, run_id in upstream.inputs.items():
        tags = store.client().get_run(run_id).data.tags
        read = ", ".join(sorted(tag.removeprefix(INPUT) for tag in tags if tag.startswith(INPUT)))
        sources.append(f"{name} {store.link_to(run_id)}{f' (which read {read})' if read else ''}")
    return f"Made from {', '.join(sources)}."
