"""Check every run, version, alias and file of a store; repair only on request."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from atma18.bundle.steps import STEPS
from atma18.cache import Cache
from atma18.compute.progress import progress
from atma18.tracking import promotion, registry, staged_result, store, store_setup, versions
from atma18.tracking.causes import Finding, causes
from atma18.tracking.identity import INPUT, PREFIX, STEP_TAG
from atma18.tracking.processes import PROCESS_TAG, Process
from atma18.tracking.staged_result import StagedResult
from atma18.tracking.upstream import MANIFEST_TAG, STAGE_TAG, Upstream, check_tags, open_run
from atma18.tracking.versions import CANDIDATE, CHAMPION, FIRST, registered_name, versions_of

_DAY_MS = 24 * 3600 * 1000
_ENTRY_POINT_TAG = "mlflow.project.entryPoint"


@dataclass
class Examination:
    """The results of one check of the store."""

    cache: Cache
    whole: dict[str, int] = field(default_factory=dict)
    """The number of intact items of each kind."""
    findings: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Items that this machine cannot check."""
    opened: dict[str, Upstream | str] = field(default_factory=dict)
    """By run ID: the verified run, or the reason why it is not intact. Each file is read once."""

    def open(self, run_id: str) -> Upstream | str:
        """Verify a run, or return the reason why it is not intact."""
        if run_id not in self.opened:
            try:
                self.opened[run_id] = open_run(run_id, self.cache)
            except ValueError as error:
                self.opened[run_id] = str(error)
        return self.opened[run_id]

    def passed(self, kind: str) -> None:
        """Count one intact item."""
        self.whole[kind] = self.whole.get(kind, 0) + 1


def examine(cache: Cache) -> Examination:
    """Check all runs, versions and aliases of this project, and read every file."""
    with cache.scratch("doctor") as folder:  # copies of a remote store's files are fetched again
        folder.mkdir()
        return _examine(Examination(Cache(folder)), staged_result.kept(cache), cache)


def _examine(examination: Examination, waiting: Sequence[StagedResult], cache: Cache) -> Examination:
    models = _models()
    registered = {model.name: versions_of(model.name) for model in models}
    interrupted = promotion.interrupted()
    closed_otherwise = {kept.address.run_id for kept in waiting} | {run.info.run_id for run in interrupted}
    runs = [run for run in _runs() if run.info.run_id not in closed_otherwise]
    examination.findings += causes([run for run in runs if _is_result(run)], list(chain(*registered.values())))
    if examination.findings:
        return examination  # all that hangs on them would look broken
    for kept in waiting:
        _examine_kept(examination, kept, cache)
    known = {version.run_id for of_model in registered.values() for version in of_model}
    for run in progress(runs, desc="examine runs", unit="run"):
        _examine_run(examination, run, known)
    for name, of_model in registered.items():
        broken = {int(version.version) for version in of_model if not _examine_version(examination, version)}
        aliases = next(model.aliases for model in models if model.name == name)
        if CANDIDATE not in aliases:
            _examine_alias(examination, name, CANDIDATE, None, of_model, broken)
        for alias, number in sorted(aliases.items()):
            _examine_alias(examination, name, alias, int(number), of_model, broken)
    _examine_record(examination, interrupted)
    return examination


def _examine_kept(examination: Examination, kept: StagedResult, cache: Cache) -> None:
    """Report a result that is not in the store because an upload failed."""
    name, problem = f"run {kept.address.run_id}", f"its result is kept in {kept.folder}, and not in the store"
    examination.findings.append(
        Finding(name, problem, lambda: staged_result.upload(kept, cache), "upload it, as -e upload does")
    )


def _examine_run(examination: Examination, run: Run, registered: set[str | None]) -> None:
    name, tags = f"run {run.info.run_id}", run.data.tags
    step = tags.get(STEP_TAG)
    if run.info.status == "RUNNING":
        _examine_running(examination, run)
    elif _is_result(run):
        upstream = examination.open(run.info.run_id)
        if isinstance(upstream, str):
            remedy = (
                f"bring its files back from a backup; if they are lost, delete it (mlflow runs delete --run-id "
                f"{run.info.run_id}), and run {step} again"
            )
            examination.findings.append(Finding(name, upstream.removeprefix(f"{name}: "), remedy=remedy))
            return
        for tag, input_id in tags.items():
            if tag.startswith(INPUT) and isinstance(reason := examination.open(input_id), str):
                examination.findings.append(
                    Finding(f"{name} ({step})", f"its input {tag.removeprefix(PREFIX)}: {reason}")
                )
        if run.info.run_id not in registered:
            whole = upstream

            def register() -> None:
                registry.register(whole)

            problem = f"finished and whole, but without a version of {registered_name(upstream.step)}"
            examination.findings.append(Finding(name, problem, register, "register it"))
        examination.passed("runs")


def _is_result(run: Run) -> bool:
    """Whether a run is a finished one of a step."""
    return run.info.status == "FINISHED" and run.data.tags.get(STEP_TAG) in STEPS


def _examine_running(examination: Examination, run: Run) -> None:
    """Report a RUNNING run whose process has ended."""
    name, client = f"run {run.info.run_id}", store.client()
    process = run.data.tags.get(PROCESS_TAG)

    def close() -> None:
        client.set_terminated(run.info.run_id, "KILLED")

    if process is None:  # `mlflow run` opened it, and its command never began
        hours = (time.time() * 1000 - run.info.start_time) / _DAY_MS * 24
        if _ENTRY_POINT_TAG in run.data.tags and hours > 24:
            problem = f"RUNNING for {hours:.0f} h, but its command never began"
            examination.findings.append(Finding(name, problem, close, "set it to KILLED"))
        return
    match Process.parse(process).gone:
        case True:
            problem = "RUNNING, but its process is gone"
            examination.findings.append(Finding(name, problem, close, "set it to KILLED"))
        case False:
            examination.passed("running")
        case None:
            examination.unseen.append(
                f"{name}: RUNNING on {Process.parse(process).host}, which cannot be seen from here"
            )


def _examine_version(examination: Examination, version: ModelVersion) -> bool:
    """Return whether a version is intact."""
    name = f"models:/{version.name}/{version.version}"
    restore = "restore its run or its files; nothing is served from it until then"
    try:
        upstream = examination.open(versions.run_id_of(version))
        if isinstance(upstream, str):
            raise ValueError(upstream)
        versions.check_source(version, upstream)
        if not registry.is_complete(version):
            whole = upstream

            def complete() -> None:
                with store_setup.exclusive():
                    registry.complete(version, whole)

            problem = "half registered: by a command that was cut off, or by MLflow's own button"
            examination.findings.append(Finding(name, problem, complete, "register it wholly"))
        else:
            check_tags(version.tags, upstream.tags | {MANIFEST_TAG: upstream.manifest.sha256}, "its run")
    except ValueError as error:
        examination.findings.append(Finding(name, str(error).removeprefix(f"{name}: "), remedy=restore))
        return False
    examination.passed("versions")
    return True


def _examine_alias(
    examination: Examination, model: str, alias: str, number: int | None, versions: list[ModelVersion], broken: set[int]
) -> None:
    name = f"models:/{model}@{alias}"
    numbers = {int(version.version) for version in versions}
    if number in numbers - broken:
        examination.passed("aliases")
        return
    condition = "broken" if number in numbers else "not there"
    problem = f"points at version {number}, which is {condition}" if number else "points at no version"
    if alias != CANDIDATE:
        rollback = "rollback with -e promote -P rollback=true, or promote another"
        examination.findings.append(Finding(name, problem, remedy=rollback if alias == CHAMPION else "move it"))
        return
    client, usable = store.client(), _usable(versions, broken)
    if number is None and not usable:
        return

    def repoint() -> None:
        if now := _usable(versions_of(model), broken):  # another repair may have registered one
            client.set_registered_model_alias(model, alias, str(max(now)))
        else:
            client.delete_registered_model_alias(model, alias)

    remedy = f"point it at version {max(usable)}, the newest whole one" if usable else "remove it: no version is whole"
    examination.findings.append(Finding(name, problem, repoint, remedy))


def _usable(versions: Sequence[ModelVersion], broken: set[int]) -> list[int]:
    """Return the numbers of the versions that may have the alias `candidate`."""
    return [int(v.version) for v in versions if int(v.version) not in broken and v.tags.get(STAGE_TAG) != FIRST]


def _examine_record(examination: Examination, interrupted: Sequence[Run]) -> None:
    """Compare the champion with the record of promotions; a move by other means has no record."""

    def finish() -> None:
        with store_setup.exclusive():
            promotion.finish_interrupted()

    for run in interrupted:
        problem = "a promotion that was recorded and cut off before the aliases had moved"
        examination.findings.append(Finding(f"run {run.info.run_id}", problem, finish, "carry it out, as promote does"))
    if interrupted:
        return
    champion = promotion.version_with(CHAMPION)
    moves = [
        run.data.tags[f"{PREFIX}to"]
        for run in promotion.verdict_runs()
        if run.data.tags[promotion.VERDICT_TAG] != promotion.REFUSED
    ]
    expected = moves[-1] if moves else "none"
    actual = "none" if champion is None else str(champion.version)
    if expected != actual:
        problem = f"expected version {expected} by the record of promotions, found {actual}: moved by other means"
        examination.findings.append(
            Finding(f"models:/{registered_name('blend')}@{CHAMPION}", problem, remedy="promote the right one")
        )


def _models() -> list[RegisteredModel]:
    """Return the registered models of this project, each with its aliases."""
    known = []
    for step in STEPS:
        try:
            known.append(store.client().get_registered_model(registered_name(step)))
        except MlflowException:
            continue  # no version is registered yet
    return known


def _runs() -> Iterator[Run]:
    """Yield the runs of this project, those that `mlflow run` opened included."""
    experiments = [e.experiment_id for e in store.client().search_experiments()]
    token = None
    while experiments:
        page = store.client().search_runs(experiments, max_results=1000, page_token=token)
        yield from (r for r in page if STEP_TAG in r.data.tags or _ENTRY_POINT_TAG in r.data.tags)
        token = page.token
        if not token:
            return
