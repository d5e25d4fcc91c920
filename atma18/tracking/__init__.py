"""Runs, artifacts and the registry: with `serving.py`, the only place that knows MLflow.

`store` reaches the tracking store, `manifest` proves artifacts whole, `identity` says what makes a result what it is,
`registry` registers versions and resolves upstreams, `runs` is what a step does while it runs.
"""

import os

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
os.environ.update(
    QUIET | {name: value for name, value in os.environ.items() if name in QUIET}
)  # MLflow reads them once

from atma18.tracking.identity import Identity
from atma18.tracking.registry import Upstream, folds_of, resolve, reusable
from atma18.tracking.runs import StepRun, figures_of, finish_parent, parent_run, step_run
from atma18.tracking.store import command, ui_command

__all__ = [
    "QUIET",
    "Identity",
    "StepRun",
    "Upstream",
    "command",
    "figures_of",
    "finish_parent",
    "folds_of",
    "parent_run",
    "resolve",
    "reusable",
    "step_run",
    "ui_command",
]
