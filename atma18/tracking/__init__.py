"""Runs, artifacts and the registry: with `serving/pyfunc_model.py`, the only place that imports MLflow.

`store` reaches the tracking store, `store_setup` prepares it, and `uris` turns MLflow's URIs into paths. `identity`
computes the fingerprint of a result, `manifest` holds the SHA-256 of its files, and `upstream` verifies finished runs.
`lifecycle` begins and ends runs, whose `processes` may end before them, `runs` is the open run of a step, `outbox`
sends its metrics and tags, `staged_result` uploads its files, `packaging` logs its model, and `records` writes the runs
of other commands. `versions` finds and proves registered versions, `registry` registers them and resolves names,
`promotion` moves the alias `champion`, `serving_check` tests a version before that, and `live` brings it to a service.
`lineage` finds what a run was made from, and `tree` prints it. `doctor` checks the whole store: first for the `causes`
that make much of it look broken, such as `misplaced` files, which `relocation` mends.
"""

import os

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
os.environ.update(
    QUIET | {name: value for name, value in os.environ.items() if name in QUIET}
)  # MLflow reads them once

from atma18.tracking.causes import Finding
from atma18.tracking.doctor import Examination, examine
from atma18.tracking.identity import Identity
from atma18.tracking.lifecycle import LONGEST_TAG, command_run
from atma18.tracking.lineage import Lineage, trace
from atma18.tracking.live import bring, version_named
from atma18.tracking.promotion import (
    PREVIOUS,
    BlendVersion,
    blend_version,
    finish_interrupted,
    history,
    open_blend,
    promote,
    refuse,
    roll_back,
    standing,
    version_link,
    version_with,
)
from atma18.tracking.records import (
    delivered,
    describe_parent,
    finish_parent,
    record_comparison,
    record_evaluation,
    record_predictions,
)
from atma18.tracking.registry import check_may_register, folds_of, named_run, resolve, reusable
from atma18.tracking.relocation import move
from atma18.tracking.runs import StepRun, figures_of, note_of, step_run
from atma18.tracking.serving_check import check_serving
from atma18.tracking.staged_result import upload_kept
from atma18.tracking.store import command, empty_run_folders, page_of, ui_command
from atma18.tracking.store_setup import exclusive, reading
from atma18.tracking.tree import as_tree
from atma18.tracking.upstream import Upstream
from atma18.tracking.versions import CHAMPION

__all__ = [
    "CHAMPION",
    "LONGEST_TAG",
    "PREVIOUS",
    "QUIET",
    "BlendVersion",
    "Examination",
    "Finding",
    "Identity",
    "Lineage",
    "StepRun",
    "Upstream",
    "as_tree",
    "blend_version",
    "bring",
    "check_may_register",
    "check_serving",
    "command",
    "command_run",
    "delivered",
    "describe_parent",
    "empty_run_folders",
    "examine",
    "exclusive",
    "figures_of",
    "finish_interrupted",
    "finish_parent",
    "folds_of",
    "history",
    "move",
    "named_run",
    "note_of",
    "open_blend",
    "page_of",
    "promote",
    "reading",
    "record_comparison",
    "record_evaluation",
    "record_predictions",
    "refuse",
    "resolve",
    "reusable",
    "roll_back",
    "standing",
    "step_run",
    "trace",
    "ui_command",
    "upload_kept",
    "version_link",
    "version_named",
    "version_with",
]
