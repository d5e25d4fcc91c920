"""The identity of a step's result: everything that determines it, its fingerprint and its tags."""

import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Self

from atma18.run_context import RunContext
from atma18.storage.digests import CODE, PROJECT_FOLDER, canonical_json, code_sha256, config_sha256, sha256_of_records

PREFIX = "atma18."
STEP_TAG = f"{PREFIX}step"
INPUT = f"{PREFIX}input."
"""The prefix of the tags that name the run of each upstream."""
DIRTY = "+dirty"
NO_GIT = "none"


@dataclass(frozen=True)
class Identity:
    """Everything that determines a result: two runs with the same identity have the same result."""

    step: str
    stage: str | None
    """`first` for half-trained nets: they get no alias, and the name of a step does not find them."""
    data_sha256: str
    folds_sha256: str
    config_sha256: str
    code_sha256: str
    weights_sha256: str | None
    """SHA-256 of the pretrained weights."""
    device: str
    threads: int
    inputs: Mapping[str, str]
    """The run ID of each upstream by name."""

    @classmethod
    def of(
        cls,
        step: str,
        context: RunContext,
        config: Any,  # noqa: ANN401 - any configuration dataclass
        inputs: Mapping[str, str],
        weights_sha256: str | None = None,
    ) -> Self:
        """Return the identity of a step's result in a run context."""
        return cls(
            step=step,
            stage=getattr(config, "stage", None),
            data_sha256=context.dataset.sha256,
            folds_sha256=context.folds.sha256,
            config_sha256=config_sha256(config),
            code_sha256=_code(),
            weights_sha256=weights_sha256,
            device=context.machine.device,
            threads=context.machine.threads,
            inputs=dict(inputs),
        )

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of all fields."""
        return sha256_of_records([[canonical_json(asdict(self))]])

    @property
    def fingerprint_of_any_threads(self) -> str:
        """The SHA-256 of all fields but the number of threads: the key of a training's checkpoints."""
        return replace(self, threads=0).fingerprint

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the run and of its registered version."""
        plain = {
            "step": self.step,
            "data_sha256": self.data_sha256,
            "folds_sha256": self.folds_sha256,
            "config_sha256": self.config_sha256,
            "code_sha256": self.code_sha256,
            "fingerprint": self.fingerprint,
        }
        optional = {"stage": self.stage, "weights_sha256": self.weights_sha256}
        inputs = {f"input.{name}": run_id for name, run_id in self.inputs.items()}
        by_name = plain | {name: value for name, value in optional.items() if value is not None} | inputs
        return {PREFIX + name: value for name, value in by_name.items()}


@cache
def _code() -> str:
    # Once per process: this is the code that runs, even if files change meanwhile.
    return code_sha256()


@cache
def git_state() -> str:
    """Return the commit of the project's checkout, with `+dirty` if its code differs, or `none` without git."""
    code = [f":(glob){pattern}" for pattern in CODE]  # other files, as drives and stores, change no prediction
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + (DIRTY if _git("status", "--porcelain", "--untracked-files=all", "--", *code) else "")
    except (OSError, subprocess.CalledProcessError):
        return NO_GIT


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=PROJECT_FOLDER, check=True, capture_output=True, text=True)
    return done.stdout.strip()
