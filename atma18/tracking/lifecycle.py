"""Begin and end runs: the final status is always set, and a failed run keeps its error."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import mlflow
from mlflow.exceptions import MlflowException

from atma18.tracking import misplaced, store, store_setup
from atma18.tracking.identity import PREFIX, STEP_TAG
from atma18.tracking.processes import PROCESS_TAG, Process, process_is_gone

TRACEBACK = "traceback.txt"
DESCRIPTION = "mlflow.note.content"
LONGEST_TAG = 5000
ERROR_TAG = f"{PREFIX}error"
_EXPERIMENT = f"""\
Where will a car be in the next three seconds? Each run is a step (`motion`, `embed`, `nn1`, `nn2`, `gbdt`, `blend`),
`main`, which nests them, or another command; `tags.{STEP_TAG}` says which, `tags.{PREFIX}preset` with which preset.

To compare steps, open *Training runs*, tick the columns `oof/mae_m` (metres, out of fold; of `blend`: cross-fitted) and
`oof/mae_m_testmix` (the same, weighted as the test split is), and sort by either. `oof_horizon/3.0s_m` is the error 3 s
ahead. `gain/mean_m`, with its 95 % interval `gain/low_m` to `gain/high_m`, says by how much a blend is better than its
best input, `gain_over_motion/mean_m` by how much it beats the motion model. A `main` has these metrics of its blend,
so that several can be sorted. The page of a `main` says all this in words, and whether its blend is the champion; the
artifact `report.html` shows the samples.
"""


@contextmanager
def command_run(name: str) -> Iterator[str]:
    """Open the run of a command, or continue the one that `mlflow run` opened, and yield its ID.

    The run gets its final status in every case; a failed run keeps the message and the traceback.

    Raises:
        ValueError: If the store cannot be used.
    """
    with store.errors_explained():
        store_setup.prepare()
        misplaced.check_place()
        _check_inherited_run()
        with _run(name) as run_id:
            _describe_experiment(run_id)
            yield run_id


def _describe_experiment(run_id: str) -> None:
    """Describe a new experiment: its runs and how to compare them. An existing description stays."""
    experiment = store.client().get_experiment(store.client().get_run(run_id).info.experiment_id)
    if DESCRIPTION not in experiment.tags:
        store.client().set_experiment_tag(experiment.experiment_id, DESCRIPTION, _EXPERIMENT)


def _check_inherited_run() -> None:
    """Refuse to continue any run but the one that `mlflow run` has just opened."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return
    try:
        run = store.client().get_run(run_id)
    except MlflowException as error:
        raise ValueError(
            f"MLFLOW_RUN_ID: expected a run that mlflow run has opened in {mlflow.get_tracking_uri()}, found none with "
            f"ID {run_id}: unset it"
        ) from error
    if run.info.status != "RUNNING" or STEP_TAG in run.data.tags or run.info.lifecycle_stage == "deleted":
        raise ValueError(
            f"MLFLOW_RUN_ID: expected a run that mlflow run has just opened, found run {run_id}, which is or was "
            f"another command's ({run.info.status}): unset it"
        )


@contextmanager
def own_or_nested_run(step: str) -> Iterator[str]:
    """Yield the command's run if the command is this step, else a run nested in it."""
    active = mlflow.active_run()
    if active is not None and store.client().get_run(active.info.run_id).data.tags.get(STEP_TAG) == step:
        yield active.info.run_id
    else:
        with _run(step) as run_id:
            yield run_id


@contextmanager
def _run(name: str) -> Iterator[str]:
    tags = {STEP_TAG: name, PROCESS_TAG: str(Process.this())}  # set at once: every open run names its process
    run_id = mlflow.start_run(run_name=name, nested=mlflow.active_run() is not None, tags=tags).info.run_id
    try:
        yield run_id
    except (KeyboardInterrupt, SystemExit) as stopped:
        _give_up(run_id, "KILLED", stopped)
        raise
    except BaseException as error:
        _give_up(run_id, "FAILED", error)
        raise
    if _is_active(run_id):
        finish(run_id)


def finish(run_id: str) -> None:
    """End a run whose result is complete; another process may have begun it."""
    if _is_active(run_id):
        mlflow.end_run("FINISHED")
    else:
        store.client().set_terminated(run_id, "FINISHED")


def is_finished(run_id: str) -> bool:
    """Return whether a run is FINISHED.

    Raises:
        ValueError: If it was deleted, because a deleted run takes no files.
    """
    info = store.client().get_run(run_id).info
    if info.lifecycle_stage == "deleted":
        raise ValueError(
            f"run {run_id}: expected a run that can be finished, found a deleted one: restore it with "
            f"mlflow runs restore --run-id {run_id}"
        )
    return str(info.status) == "FINISHED"


def _is_active(run_id: str) -> bool:
    active = mlflow.active_run()
    return active is not None and active.info.run_id == run_id


def _give_up(run_id: str, status: str, error: BaseException) -> None:
    """End a run that failed or was stopped, with the reason; a failure of the store must not hide that reason."""
    failed_by_store = isinstance(error, store.FAILURES) or isinstance(error.__cause__, store.FAILURES)
    with store.one_retry() if failed_by_store else nullcontext():
        try:
            if status == "FAILED":
                _explain(run_id, error)
            if _is_active(run_id):
                mlflow.end_run(status)
        except store.FAILURES:
            error.add_note(f"run {run_id} stays open in the store: doctor with repair=true closes it")


def close_interrupted(run_id: str, *, continued_by: str) -> None:
    """Set an interrupted run and its parent to KILLED, and name the run that continues its work.

    A run that finished or failed stays as it is. A run that is missing from the store is ignored.
    """
    with suppress(MlflowException):
        run = store.client().get_run(run_id)
        store.client().set_tag(run_id, f"{PREFIX}continued_by", continued_by)
        cut_off = run.info.status == "RUNNING" or (run.info.status == "FAILED" and ERROR_TAG not in run.data.tags)
        if cut_off:
            store.client().set_terminated(run_id, "KILLED")
        parent = store.client().get_parent_run(run_id)
        if parent is not None and parent.info.status == "RUNNING" and process_is_gone(parent):
            store.client().set_terminated(parent.info.run_id, "KILLED")


def _explain(run_id: str, error: BaseException) -> None:
    """Log the message and the traceback of a failed run."""
    why = store.message_of(error) if isinstance(error, MlflowException) else str(error)
    store.client().log_text(run_id, "".join(traceback.format_exception(error)), TRACEBACK)
    store.client().set_tag(run_id, ERROR_TAG, why[:LONGEST_TAG])
    store.client().set_tag(run_id, DESCRIPTION, f"**Failed:** {why}"[:LONGEST_TAG])
    if not getattr(error, "__notes__", None):  # the run of the failed step has them already
        error.add_note(f"run {run_id} keeps the traceback in {TRACEBACK}")
