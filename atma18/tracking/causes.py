"""Causes that make much of a store look broken, each one finding with one remedy: doctor looks for them first."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlflow.entities import Run, ViewType
from mlflow.entities.model_registry import ModelVersion

from atma18.tracking import store
from atma18.tracking.misplaced import misplaced


@dataclass(frozen=True)
class Finding:
    """A problem in the store."""

    where: str
    problem: str
    repair: Callable[[], object] | None = None
    """Repairs it, with `repair=true`; None where a person must decide."""
    remedy: str = ""
    """What the repair does, or what a person can do."""

    def __str__(self) -> str:
        remedy = f"\n    {'repair=true' if self.repair else 'by hand'}: {self.remedy}" if self.remedy else ""
        return f"{self.where}: {self.problem}{remedy}"


def causes(runs: Sequence[Run], versions: Sequence[ModelVersion]) -> list[Finding]:
    """Return the causes in a store with these finished runs and these versions."""
    found = []
    if elsewhere := misplaced(runs):
        found.append(Finding("this store", str(elsewhere), remedy=elsewhere.remedy))
    return [*found, *_deleted_experiments(versions)]


def _deleted_experiments(versions: Sequence[ModelVersion]) -> list[Finding]:
    """Report deleted experiments whose runs made versions that are registered still."""
    deleted = {e.experiment_id: e for e in store.client().search_experiments(view_type=ViewType.DELETED_ONLY)}
    if not deleted:
        return []
    made_in = {run.info.run_id: run.info.experiment_id for run in store.runs_in(list(deleted))}
    counts = Counter(made_in[version.run_id] for version in versions if version.run_id in made_in)
    return [
        Finding(
            f"experiment {deleted[number].name}",
            f"expected the experiment of {count} registered versions, found it deleted, and its runs with it",
            remedy=store.restore_command(number),
        )
        for number, count in sorted(counts.items())
    ]
