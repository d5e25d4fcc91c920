"""A step that is ready to run, and its result."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atma18 import tracking
from atma18.gbdt.inputs import StoredInputs
from atma18.run_context import RunContext
from atma18.tracking import Identity, StepRun, Upstream

if TYPE_CHECKING:  # not every step has a net
    from torch import nn

    from atma18.backbones import Backbone, Found

_log = logging.getLogger(__name__)

NO_INPUTS = (StoredInputs({}, {}), StoredInputs({}, {}))
"""Empty inputs for training and for test samples, for a model that reads frames and signals alone."""


@dataclass(frozen=True)
class Result:
    """The result of a finished step."""

    upstream: Upstream
    """The verified run."""
    reused: bool


@dataclass(frozen=True)
class Step:
    """A step that is ready to run: its configuration is resolved and its upstreams are verified."""

    identity: Identity
    context: RunContext
    config: Any
    """Any configuration dataclass."""
    upstreams: Mapping[str, Upstream]
    work: Callable[[StepRun], None]
    clean_up: Callable[[], None] = lambda: None
    """Called after the run has finished."""

    def run(self, *, reuse: bool = False) -> Result:
        """Do the work in a new run; with `reuse`, return an identical finished run if there is one."""
        if reuse:
            tracking.upload_kept(self.context.cache, self.identity.fingerprint)
        found = tracking.reusable(self.identity, self.context.cache) if reuse else None
        if found is not None:
            _log.info(f"{self.identity.step}: reused run {found.run_id}")
            return Result(found, reused=True)
        with tracking.step_run(self.identity, self.context, self.config, self.upstreams) as run:
            self.work(run)
        self.clean_up()
        assert run.finished is not None
        _log.info(f"{self.identity.step}: run {run.run_id} finished")
        return Result(run.finished, reused=False)


def tell_backbone(run: StepRun, found: "Found") -> None:
    """Report, before the work, the backbone from which a step starts and the origin of its weights."""
    _log.info(f"{run.identity.step}: {found}")
    run.note(backbone=found.origin)


def tell_parameters(run: StepRun, backbone: "Backbone", whole: "nn.Module", *, frozen: bool, copies: int) -> None:
    """Report the number of parameters, the number of trained ones, and their stored size.

    Args:
        run: the run of the step.
        backbone: the backbone, for the metric `parameters/backbone`.
        whole: the backbone, or the net that contains it.
        frozen: whether the backbone was not trained.
        copies: the number of copies of `whole` in the model.
    """
    of_backbone, of_all = (sum(p.numel() for p in part.parameters()) for part in (backbone, whole))
    counts = {"backbone": of_backbone, "all": of_all, "trained": of_all - of_backbone * frozen}
    stored_mb = copies * sum(value.nbytes for value in whole.state_dict().values()) / 1e6
    _log.info(
        f"{run.identity.step}: {counts['all']:,} parameters, {counts['backbone']:,} of them the backbone's, "
        f"{counts['trained']:,} trained; {stored_mb:.1f} MB are stored"
    )
    run.measure({f"parameters/{name}": count for name, count in counts.items()} | {"parameters/stored_mb": stored_mb})


def run_ids(upstreams: Mapping[str, Upstream]) -> dict[str, str]:
    """Return the run ID of each upstream."""
    return {name: upstream.run_id for name, upstream in upstreams.items()}
