"""Versions of registered models: their names, their runs, and the proof that a version serves its run's model.

A version is made by our `register`, by MLflow's button "Register model", or by `copy_model_version`, which hands a
model to another name. All of them lead to one logged model; what they say of its source differs.
"""

import re

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from atma18.cache import Cache
from atma18.schema import first_few, one_line, shown
from atma18.tracking import store
from atma18.tracking.upstream import Upstream, open_run

CANDIDATE = "candidate"
CHAMPION = "champion"
FIRST = "first"

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_MODEL_ID = re.compile(r"/(m-[0-9a-f]{32})(/|$)")
_LONGEST_NAME = 600  # MLflow takes 256 characters for a model, and as many for an alias
_MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>[0-9]{1,9})|@(?P<alias>[^/@]+))")
_FORMS = "a run ID, models:/NAME/VERSION or models:/NAME@ALIAS"


def registered_name(step: str) -> str:
    """Return the name of a step's registered model."""
    return f"atma18-{step}"


def uri_of(version: ModelVersion) -> str:
    """Return the URI of a version."""
    return f"models:/{version.name}/{version.version}"


def versions_of(name: str) -> list[ModelVersion]:
    """Return all versions of a registered model."""
    return list(store.client().search_model_versions(f"name = '{name}'", max_results=10_000))


def is_run_id(given: str) -> bool:
    """Whether a text has the form of an MLflow run ID."""
    return _RUN_ID.fullmatch(given) is not None


def named_version(given: str, other_forms: str = "") -> ModelVersion:
    """Return the version of a `models:/` URI; the version is not verified.

    Raises:
        ValueError: If the name has another form, or there is no such version.
    """
    match = _MODEL_URI.fullmatch(given) if given.isprintable() and len(given) <= _LONGEST_NAME else None
    if match is None:
        raise ValueError(f"expected {_FORMS}{other_forms}, found {shown(given)}")
    try:
        if match["alias"]:
            return store.client().get_model_version_by_alias(match["name"], match["alias"])
        return store.client().get_model_version(match["name"], match["version"])
    except MlflowException as error:
        if store.is_away(error):
            raise
        raise ValueError(
            f"{given}: expected a registered version, found none ({one_line(error.message)})"
            f"{_advice(match['name'], match['alias'])}"
        ) from error


def _advice(name: str, alias: str | None) -> str:
    """Say what there is in the place of a version that is not there."""
    models = [model.name for model in store.client().search_registered_models(max_results=1000)]
    if name not in models:
        return f": no model has this name; there are {first_few(models, 12) or 'none yet'}"
    if alias == CHAMPION:
        return f": promote one, or name models:/{name}@{CANDIDATE}"
    numbers = sorted(int(found.version) for found in versions_of(name))
    return f": its versions are {first_few(numbers, 12)}"


def run_id_of(version: ModelVersion) -> str:
    """Return the ID of the run that logged the model of a version.

    MLflow records no run for a version that was registered from a path or from another version.

    Raises:
        ValueError: If no run of this store made it.
    """
    if version.run_id:
        return str(version.run_id)
    found = _MODEL_ID.search(_location(version))
    try:
        model = store.client().get_logged_model(found[1]) if found else None
    except MlflowException as error:
        if store.is_away(error):
            raise
        model = None
    if model is None or not model.source_run_id:
        raise ValueError(f"{uri_of(version)}: expected a version that was made by a run, found one without: name a run")
    return str(model.source_run_id)


def open_version(version: ModelVersion, cache: Cache) -> Upstream:
    """Verify the run of a version, and that the version serves its model: the registry itself checks nothing.

    Raises:
        ValueError: If it has no run, serves another model than its run's, or as in `open_run`.
    """
    upstream = open_run(run_id_of(version), cache)
    check_source(version, upstream)
    return upstream


def check_source(version: ModelVersion, upstream: Upstream) -> None:
    """Refuse a version that serves another model than that of its run.

    Raises:
        ValueError: If it points elsewhere.
    """
    expected = f"models:/{upstream.manifest.model_id}"
    if version.source == expected:
        return
    location = store.client().get_logged_model(upstream.manifest.model_id).artifact_location
    if _location(version).rstrip("/") != location.rstrip("/"):
        raise ValueError(
            f"{uri_of(version)}: expected the model of its run {upstream.run_id}, {expected}, found a version that "
            f"points at {version.source}: use the run itself, and ask who made this version"
        )


def _location(version: ModelVersion) -> str:
    """Return where the files of a version lie; MLflow follows the version that it was copied from."""
    return str(store.client().get_model_version_download_uri(version.name, version.version))
