"""Runs, artifacts and the registry: with `serving.py`, the only place that knows MLflow.

`store` reaches the tracking store, `admission` makes it ready, `manifest` proves artifacts whole, `identity` says what
makes a result what it is, `registry` registers versions and resolves upstreams, `lifecycle` begins and ends
runs, `runs` is what a step does meanwhile.
"""

import os

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
os.environ.update(
    QUIET | {name: value for name, value in os.environ.items() if name in QUIET}
)  # MLflow reads them once

from atma18.tracking.identity import Identity
from atma18.tracking.lifecycle import command_run
from atma18.tracking.registry import STEPS, Upstream, folds_of, named_run, resolve, reusable
from atma18.tracking.runs import (
    StepRun,
    describe_parent,
    figures_of,
    finish_parent,
    record_evaluation,
    step_run,
)
from atma18.tracking.store import command, empty_run_folders, ui_command

__all__ = [
    "QUIET",
    "STEPS",
    "Identity",
    "StepRun",
    "Upstream",
    "command",
    "command_run",
    "describe_parent",
    "empty_run_folders",
    "figures_of",
    "finish_parent",
    "folds_of",
    "named_run",
    "record_evaluation",
    "resolve",
    "reusable",
    "step_run",
    "ui_command",
]
