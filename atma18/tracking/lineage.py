"""Lineage: what a run was made from, down to the data, and what was made from it, with all files verified."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import ModelVersion

from atma18.bundle.steps import STEPS
from atma18.cache import Cache
from atma18.tracking import store, versions
from atma18.tracking.identity import INPUT, NO_GIT, PREFIX
from atma18.tracking.upstream import open_run

_PAGE = 1000
SHORT = 12
"""The number of characters of a digest that are printed."""


@dataclass(frozen=True)
class Version:
    """A registered version of a run's model."""

    name: str
    number: int
    aliases: tuple[str, ...]

    def __str__(self) -> str:
        held = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.name} {self.number}{held}"


@dataclass(frozen=True)
class Node:
    """A run in a tree; a fact that the store does not hold is None."""

    run_id: str
    step: str | None
    status: str
    """MLflow's status, and whether the run is deleted; or `missing`."""
    started_ms: int | None
    """Milliseconds since 1970."""
    versions: tuple[Version, ...]
    mae_m: float | None
    """The OOF MAE; of a blend, cross-fitted."""
    git: str
    """The commit of the code, and whether the code was changed; or `none`."""
    code_sha256: str | None
    data_sha256: str | None
    folds_sha256: str | None
    data: str | None
    """The data, as the user gave it: a folder, or `demo`."""
    broken: tuple[str, ...] = ()
    """The problems of the run itself."""
    links: tuple[tuple[str, "Node"], ...] = ()
    """The linked runs, each with the name of the input between the two."""

    @property
    def name(self) -> str:
        """A short name for the run."""
        return f"{self.step or 'run'} {self.run_id[:SHORT]}…"

    def walk(self) -> Iterator["Node"]:
        """Yield this run and all linked runs, each once."""
        nodes = {self.run_id: self}
        waiting = [self]
        while waiting:
            node = waiting.pop(0)
            yield node
            for _, linked in node.links:
                if linked.run_id not in nodes:
                    nodes[linked.run_id] = linked
                    waiting.append(linked)


@dataclass(frozen=True)
class Lineage:
    """A run with its inputs and its users."""

    origin: Node
    """The run, linked to its inputs, and so on, down to the runs that read only data."""
    users: Node
    """The run, linked to the runs that used it, and so on; their files are not checked."""

    @property
    def runs(self) -> list[Node]:
        """The run and all its direct and indirect inputs, each once."""
        return list(self.origin.walk())

    @property
    def broken(self) -> list[str]:
        """The problems of the run and of all its inputs, as text; empty if the lineage is intact."""
        return [words for node in self.runs for words in node.broken]


def trace(given: str | ModelVersion, cache: Cache) -> Lineage:
    """Find all inputs of a run, down to the data, and all its users; verify the inputs.

    Args:
        given: a run ID, `models:/NAME/VERSION`, `models:/NAME@ALIAS`, or a version.
        cache: where files of a remote store are kept.

    Raises:
        ValueError: If no run has this name; every other problem is part of the result.
    """
    run_id, version = _named(given)
    records = _Seen.now(cache, version)
    return Lineage(origin=_origin(run_id, records, {}, ()), users=_users(run_id, records, {}, ()))


def _named(given: str | ModelVersion) -> tuple[str, ModelVersion | None]:
    """Return the run ID, and the version if one was named."""
    if isinstance(given, str) and versions.is_run_id(given):
        return given, None
    version = versions.named_version(given) if isinstance(given, str) else given
    return versions.run_id_of(version), version


@dataclass(frozen=True)
class _Seen:
    """All runs and versions of the store, read once."""

    cache: Cache
    named: ModelVersion | None
    """The version that the user named."""
    runs: dict[str, Run]
    versions: dict[str, list[ModelVersion]] = field(default_factory=dict)
    """Versions by run ID."""
    aliases: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    """Aliases by name and number of the version."""

    @classmethod
    def now(cls, cache: Cache, named: ModelVersion | None) -> "_Seen":
        client = store.client()
        experiments = [e.experiment_id for e in _pages(client.search_experiments, view_type=ViewType.ALL)]
        ours = {"filter_string": f"tags.`{PREFIX}step` LIKE '%'", "run_view_type": ViewType.ALL}
        records = cls(cache, named, {run.info.run_id: run for run in _pages(client.search_runs, experiments, **ours)})
        for version in _pages(client.search_model_versions):
            records.versions.setdefault(version.run_id, []).append(version)
        for model in _pages(client.search_registered_models):
            for alias, number in sorted(model.aliases.items()):
                key = model.name, int(number)
                records.aliases[key] = (*records.aliases.get(key, ()), alias)
        return records

    def node(self, run_id: str) -> Node:
        """Return a run without links."""
        run = self.runs.get(run_id)
        registered = sorted(self.versions.get(run_id, []), key=lambda v: (v.name, int(v.version)))
        named = [Version(v.name, int(v.version), self.aliases.get((v.name, int(v.version)), ())) for v in registered]
        tags = run.data.tags if run else {}
        return Node(
            run_id=run_id,
            step=tags.get(f"{PREFIX}step"),
            status=_status(run),
            started_ms=run.info.start_time if run else None,
            versions=tuple(named),
            mae_m=run.data.metrics.get("oof/mae_m") if run else None,
            git=tags.get(f"{PREFIX}git", NO_GIT),
            code_sha256=tags.get(f"{PREFIX}code_sha256"),
            data_sha256=tags.get(f"{PREFIX}data_sha256"),
            folds_sha256=tags.get(f"{PREFIX}folds_sha256"),
            data=run.data.params.get("cfg.data") if run else None,
        )

    def inputs(self, run_id: str) -> list[tuple[str, str]]:
        """Return the name and run ID of each input, sorted by name."""
        tags = self.runs[run_id].data.tags if run_id in self.runs else {}
        return sorted((tag.removeprefix(INPUT), value) for tag, value in tags.items() if tag.startswith(INPUT))

    def users(self, run_id: str) -> list[tuple[str, str]]:
        """Return each run that used this one, with the name of the input; the oldest first."""
        by_age = sorted(self.runs.values(), key=lambda run: (run.info.start_time, run.info.run_id))
        return [(name, r.info.run_id) for r in by_age for name, used in self.inputs(r.info.run_id) if used == run_id]

    def _checked(self, node: Node) -> list[ModelVersion]:
        """Return the versions of our own name, and the named one: versions of other names decide nothing about ours."""
        ours = versions.registered_name(str(node.step))
        return [v for v in self.versions.get(node.run_id, []) if v.name == ours or _same(v, self.named)]

    def problems(self, node: Node) -> tuple[str, ...]:
        """Return the problems of a run and of its versions."""
        if node.step is not None and node.step not in STEPS:  # commands such as `evaluate` have no manifest
            ended_well = node.status == "FINISHED"
            return () if ended_well else (f"run {node.run_id}: expected a finished run, found status {node.status}",)
        try:
            upstream = open_run(node.run_id, self.cache)
            for version in self._checked(node):
                versions.check_source(version, upstream)
        except ValueError as error:
            return (str(error),)
        return ()


def _same(version: ModelVersion, other: ModelVersion | None) -> bool:
    return other is not None and (version.name, version.version) == (other.name, other.version)


def _pages(search: Callable[..., Any], *args: Any, **kwargs: Any) -> Iterator[Any]:  # noqa: ANN401
    """Yield the results of all pages of an MLflow search."""
    token = None
    while True:
        page = search(*args, **kwargs, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _status(run: Run | None) -> str:
    if run is None:
        return "missing"
    return str(run.info.status) + (", deleted" if run.info.lifecycle_stage == "deleted" else "")


def _origin(run_id: str, records: _Seen, done: dict[str, Node], path: tuple[str, ...]) -> Node:
    """Return a verified run linked to its inputs; `path` holds the runs from the first one down to this one."""
    if run_id not in done:
        node, path = records.node(run_id), (*path, run_id)
        links = tuple(
            (name, records.node(used) if used in path else _origin(used, records, done, path))
            for name, used in records.inputs(run_id)
        )
        done[run_id] = replace(node, links=links, broken=records.problems(node) + _strangers(node, links, path))
    return done[run_id]


def _strangers(node: Node, links: tuple[tuple[str, Node], ...], path: tuple[str, ...]) -> tuple[str, ...]:
    """Report impossible inputs: those made from the run itself, and steps with other data or folds."""
    problems = []
    for name, used in links:
        description = f"found {name} (run {used.run_id})"
        if used.run_id in path:
            problems.append(f"run {node.run_id}: expected older inputs, {description}, which was made from it")
        digests = {"data": (node.data_sha256, used.data_sha256), "folds": (node.folds_sha256, used.folds_sha256)}
        for what, (ours, theirs) in digests.items() if node.step in STEPS else ():
            if theirs not in (None, ours):
                problems.append(f"run {node.run_id}: expected inputs of the same {what}, {description} of {theirs}")
    return tuple(problems)


def _users(run_id: str, records: _Seen, done: dict[str, Node], path: tuple[str, ...]) -> Node:
    """Return a run linked to its users."""
    if run_id in path:
        return records.node(run_id)
    if run_id not in done:
        links = tuple((name, _users(user, records, done, (*path, run_id))) for name, user in records.users(run_id))
        done[run_id] = replace(records.node(run_id), links=links)
    return done[run_id]
