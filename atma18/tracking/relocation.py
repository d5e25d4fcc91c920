"""Relocation: make another folder the recorded place of all files of a store."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import ViewType
from mlflow.tracking._model_registry.utils import _get_store as registry_store
from mlflow.tracking._tracking_service.utils import _get_store as tracking_store
from sqlalchemy import Engine, text

from atma18.schema import first_few
from atma18.tracking import store, uris
from atma18.tracking.misplaced import is_database
from atma18.tracking.processes import PROCESS_TAG, process_is_gone

_MODEL_ID = re.compile(r"(?:^|/)(m-[0-9a-f]{32})(?:/|$)")
_PART = ".part"


def move(to: Path) -> int:
    """Make a folder the place of all files of the store, and return the number of runs whose files lie there.

    Files that are not there yet are copied from their recorded place, which is left as it is. Then all records are
    changed at once. A move that was cut off is repeated.

    Args:
        to: the folder of all experiments, as `mlruns` of a new store, or the folder above it.

    Raises:
        ValueError: If the store is behind a server, a run is at work, no file is found, or two experiments have
            folders of the same name.
    """
    engine = _engine()
    _check_idle()
    experiments = _experiments()
    to = _root_in(to.expanduser().absolute(), experiments)
    if not uris.survives(to):
        raise ValueError(f"{to}: expected a folder without codes like %20, which MLflow decodes, found one: rename it")
    folders = {number: to / location.name for number, location in experiments.items()}
    if len(set(folders.values())) < len(folders):
        raise ValueError("expected experiments whose folders have different names, found equal ones: move them by hand")
    with engine.connect() as connection:
        run_rows = connection.execute(text("SELECT run_uuid, experiment_id, artifact_uri FROM runs")).all()
        model_rows = connection.execute(
            text("SELECT model_id, experiment_id, artifact_location FROM logged_models")
        ).all()
    runs = _places([(run, str(number), uri) for run, number, uri in run_rows], folders, ("{}", "artifacts"))
    models = _places(
        [(model, str(number), uri) for model, number, uri in model_rows], folders, ("models", "{}", "artifacts")
    )
    if not any(place.is_there for place in runs.values()):
        raise ValueError(
            f"expected the files of this store in {to} or where they are recorded, found those of none of "
            f"{len(runs)} runs: name the folder that holds {first_few(sorted(path.name for path in folders.values()))}"
        )
    _copy_missing([*runs.values(), *models.values()])
    _rewrite(engine, folders, runs, models)
    return sum(place.new.is_dir() for place in runs.values())


@dataclass(frozen=True)
class _Place:
    """The recorded and the new folder of a run's or a model's files."""

    old: Path
    new: Path

    @property
    def is_there(self) -> bool:
        return self.old.is_dir() or self.new.is_dir()


def _engine() -> Engine:
    if not is_database():
        raise ValueError(
            f"{mlflow.get_tracking_uri()}: expected the database itself, found a server, which changes no places: stop "
            "it, and give this command on its machine with MLFLOW_TRACKING_URI=ITS_BACKEND_STORE_URI"
        )
    found = tracking_store()  # type: ignore[no-untyped-call]
    if not hasattr(found, "engine"):
        raise ValueError(f"{mlflow.get_tracking_uri()}: expected a store in a database, found another: move it by hand")
    engine: Engine = found.engine
    return engine


def _check_idle() -> None:
    opened = store.search(f"attributes.status = 'RUNNING' AND tags.`{PROCESS_TAG}` LIKE '%'")
    if at_work := [run.info.run_id for run in opened if not process_is_gone(run)]:
        raise ValueError(f"expected no run at work, found {first_few(at_work)}: give this command when it has ended")


def _experiments() -> dict[str, Path]:
    """Return the folder of each experiment of this machine by its ID, deleted ones included."""
    found = store.client().search_experiments(view_type=ViewType.ALL, max_results=10_000)
    folders = {e.experiment_id: uris.local_path(e.artifact_location) for e in found}
    local = {number: folder for number, folder in folders.items() if folder is not None}
    if not local:
        raise ValueError(
            "expected files in a folder, found that a server serves them: start it with another --artifacts-destination"
        )
    return local


def _root_in(to: Path, experiments: Mapping[str, Path]) -> Path:
    """Return the folder of all experiments, where the one above it was named."""
    inside = [to / folder.parent.name for folder in experiments.values() if folder.parent.name]
    return next((root for root in inside if root.is_dir()), to)


def _places(
    rows: Iterable[tuple[str, str, str]], folders: Mapping[str, Path], tail: tuple[str, ...]
) -> dict[str, _Place]:
    """Return the place of each run or model by its ID; those on other machines are left out."""
    places = {}
    for key, number, uri in rows:
        old = uris.local_path(uri)
        if old is not None and number in folders:
            places[key] = _Place(old, folders[number].joinpath(*(part.format(key) for part in tail)))
    return places


def _copy_missing(places: Iterable[_Place]) -> None:
    """Copy what is not in its new place yet. Links between files stay links; no file is ever half there."""
    copied: dict[tuple[int, int], Path] = {}
    for place in places:
        for path in sorted(place.old.rglob("*")) if place.old.is_dir() else []:
            target = place.new / path.relative_to(place.old)
            if path.is_dir() or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + _PART)
            part.unlink(missing_ok=True)
            key = path.stat().st_dev, path.stat().st_ino
            if key in copied:
                os.link(copied[key], part)
            else:
                shutil.copy2(path, part)
            part.replace(target)
            copied[key] = target


def _rewrite(
    engine: Engine, folders: Mapping[str, Path], runs: Mapping[str, _Place], models: Mapping[str, _Place]
) -> None:
    """Record the new places: first in the registry, which may have a database of its own, then in the store."""
    registry: Engine = registry_store().engine  # type: ignore[no-untyped-call]
    with registry.begin() as connection:
        versions = connection.execute(text("SELECT name, version, source, storage_location FROM model_versions")).all()
        for name, version, source, location in versions:
            given = {"name": name, "version": version}
            given |= {"source": _in_new_place(source, models), "location": _in_new_place(location, models)}
            changed = "UPDATE model_versions SET source = :source, storage_location = :location"
            connection.execute(text(f"{changed} WHERE name = :name AND version = :version"), given)
    with engine.begin() as connection:
        for table, key, column, places in (
            ("experiments", "experiment_id", "artifact_location", folders),
            ("runs", "run_uuid", "artifact_uri", {run: place.new for run, place in runs.items()}),
            ("logged_models", "model_id", "artifact_location", {model: place.new for model, place in models.items()}),
        ):
            update = text(f"UPDATE {table} SET {column} = :path WHERE {key} = :key")
            for number, path in places.items():
                value: str | int = int(number) if key == "experiment_id" else number
                connection.execute(update, {"path": str(path), "key": value})


def _in_new_place(uri: str | None, models: Mapping[str, _Place]) -> str | None:
    """Return the new place of a model's files, where a URI names the old one; `models:/` URIs stay."""
    path = None if uri is None else uris.local_path(uri)
    found = None if path is None else _MODEL_ID.search(str(path))
    return str(models[found[1]].new) if found and found[1] in models else uri
