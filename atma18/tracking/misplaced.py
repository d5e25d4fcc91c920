"""Files that lie elsewhere than the store records: whether there are any, and the command that mends it.

MLflow 3.17.2 records where the files of each experiment, run, logged model and version lie, as absolute paths, and
never changes them. So a store that is copied, moved or restored from a backup points to its old place.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import mlflow
from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException

from atma18.schema import first_few
from atma18.tracking import store, uris
from atma18.tracking.upstream import MANIFEST_TAG


@dataclass(frozen=True)
class Misplaced:
    """The folders of some runs or of their models are not where the store records them."""

    recorded: str
    """The folder of all experiments by the records, or a description of the server's."""
    actual: Path | None
    """The folder in which they lie; None if it is not known."""
    runs: int
    """The number of these runs."""
    of: int
    """The number of all runs."""

    def __str__(self) -> str:
        found = f"they lie in {self.actual}" if self.actual else "their folders are gone"
        return f"expected the files of {self.runs} of {self.of} runs in {self.recorded}, found that {found}"

    @property
    def remedy(self) -> str:
        """The command that mends it."""
        if self.actual is not None or is_database():
            moves = store.command("doctor", {"move_to": str(self.actual or "FOLDER")})
            return moves if self.actual else f"name the FOLDER in which they lie, or a backup: {moves}"
        return (
            "start the server with the folder in which they lie as its --artifacts-destination; where it serves no "
            "artifacts, stop it, and move the store on its machine: MLFLOW_TRACKING_URI=ITS_BACKEND_STORE_URI "
            "python -m steps.doctor --move_to FOLDER"
        )


def misplaced(runs: Sequence[Run]) -> Misplaced | None:
    """Return what is misplaced of the finished runs; None if all folders are there. Single files are not looked for."""
    recorded = {run.info.run_id: _recorded(run) for run in runs}
    elsewhere = {
        run: (folder.root, other)
        for run, found in recorded.items()
        for folder in found
        if (other := folder.elsewhere())
    }
    if elsewhere:
        old, new = (sorted(set(roots)) for roots in zip(*elsewhere.values(), strict=True))
        return Misplaced(first_few(old), new[0], len(elsewhere), len(runs))
    gone = [run for run in runs if _is_gone(run, recorded[run.info.run_id])]
    if not gone:
        return None
    roots = sorted({str(folder.root) for run in gone for folder in recorded[run.info.run_id]})
    return Misplaced(first_few(roots) or "the server's --artifacts-destination", None, len(gone), len(runs))


@dataclass(frozen=True)
class _Recorded:
    """The recorded folder of a run or a model on this machine."""

    root: Path
    """The folder of all experiments, such as `mlruns`."""
    tail: Path
    """The path from there."""

    @classmethod
    def of(cls, uri: str, depth: int) -> list[Self]:
        """Return the folder of a URI; none if it is on another machine. Its experiment lies `depth` levels above."""
        path = uris.local_path(uri)
        if path is None or len(path.parents) <= depth:
            return []
        return [cls(path.parents[depth], path.relative_to(path.parents[depth]))]

    @property
    def folder(self) -> Path:
        return self.root / self.tail

    def elsewhere(self) -> Path | None:
        """Return another root, beside the database or in the working folder, that holds this folder; None without."""
        database = uris.database_path(mlflow.get_tracking_uri())
        if database is None:
            return None
        for place in (database.absolute().parent, Path.cwd()):
            root = place / self.root.name
            if (root / self.tail).is_dir():
                return None if root.resolve() == self.root.resolve() else root
        return None


def _recorded(run: Run) -> list[_Recorded]:
    """Return the recorded folders of a run and of its models."""
    folders = _Recorded.of(run.info.artifact_uri, 2)
    for output in run.outputs.model_outputs if run.outputs else []:
        with suppress(MlflowException):  # a deleted model is a problem of its run alone
            model = store.client().get_logged_model(output.model_id)
            if model.status == LoggedModelStatus.READY:  # else a delivery was cut off, and begun again
                folders += _Recorded.of(model.artifact_location, 3)
    return folders


def _is_gone(run: Run, recorded: Sequence[_Recorded]) -> bool:
    if recorded:
        return not all(folder.folder.is_dir() for folder in recorded)
    return not store.client().list_artifacts(run.info.run_id)


def check_place() -> None:
    """Refuse new runs in an SQLite store whose files lie elsewhere than recorded, or nowhere.

    Raises:
        ValueError: If they do; the message names the command that mends it.
    """
    if uris.database_path(mlflow.get_tracking_uri()) is None:
        return
    experiments = [e.experiment_id for e in store.client().search_experiments()]
    query = f"tags.`{MANIFEST_TAG}` LIKE '%' AND attributes.status = 'FINISHED'"
    newest = store.client().search_runs(experiments, query, max_results=1)
    found = misplaced([run for run in newest if uris.local_path(run.info.artifact_uri)])
    if found and (found.actual or not Path(found.recorded).is_dir()):  # the files of a single run do not matter
        raise ValueError(f"{found}; new runs would go to the old place. This mends it:\n  {found.remedy}")


def is_database() -> bool:
    """Whether the store is a database, and not a server."""
    return not mlflow.get_tracking_uri().startswith("http")
