"""The verdict on a candidate: the checks, their results, and which of them a user may overrule."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import pandas as pd

from atma18.metrics import scores
from atma18.metrics.scores import Part
from atma18.schema import FloatArray, StrArray, first_few


@dataclass(frozen=True)
class Check:
    """One condition for a candidate, and whether it holds."""

    name: str
    passed: bool
    found: str
    overrulable: bool = False
    """Whether `force` may overrule it; a check for a broken result may not be overruled."""


@dataclass(frozen=True)
class Verdict:
    """The results of all checks."""

    checks: tuple[Check, ...]
    force: bool

    @property
    def against(self) -> list[Check]:
        """The failed checks that were not overruled."""
        return [c for c in self.checks if not c.passed and not (self.force and c.overrulable)]

    @property
    def overruled(self) -> list[Check]:
        """The failed checks that a user overruled."""
        return [c for c in self.checks if not c.passed and self.force and c.overrulable]

    @property
    def accepted(self) -> bool:
        """Whether the candidate becomes champion."""
        return not self.against

    @property
    def why(self) -> str:
        """The deciding checks, in one line."""
        if self.against:
            return "; ".join(f"{c.name}: {c.found}" for c in self.against)
        if self.overruled:
            return "forced, although " + "; ".join(f"{c.name}: {c.found}" for c in self.overruled)
        return self.checks[-1].found

    @property
    def text(self) -> str:
        """One line per check."""
        marks = {True: "passed", False: "failed"}
        return "\n".join(
            f"{'forced' if c in self.overruled else marks[c.passed]:7} {c.name:9} {c.found}" for c in self.checks
        )


def code_is_known(git: Mapping[str, str]) -> Check:
    """Check that every run of a lineage was made by committed code; `git` holds the recorded commit of each run."""
    strange = [f"{name} {state}" for name, state in git.items() if not re.fullmatch(r"[0-9a-f]{40,64}", state)]
    found = f"not made by committed code: {first_few(strange)}" if strange else "all runs were made by committed code"
    return Check("code", not strange, found, overrulable=True)


def same_setting(ours: Mapping[str, str], champions: Mapping[str, str]) -> Check:
    """Check by digest that the candidate and the champion were scored on the same data and folds."""
    other = [
        f"{what} {champions[what][:12]}…, not {digest[:12]}…"
        for what, digest in ours.items()
        if champions[what] != digest
    ]
    if other:
        again = "make a blend with the champion's parameters on these drives and folds, or force"
        return Check("setting", False, f"the champion has {first_few(other)}: {again}", overrulable=True)
    return Check("setting", True, "the same data and folds as the champion")


def reproduces(worst_m: float, share: float, samples: int, tolerance_m: float, *, same_machine: bool) -> Check:
    """Check that the registered servable predicts from raw frames what its run stored.

    Args:
        worst_m: largest difference, metres.
        share: share of the numbers within the tolerance.
        samples: number of predicted samples.
        tolerance_m: metres.
        same_machine: whether this machine made the run; on another one, 1 % of the numbers may exceed the tolerance,
            because different rounding can change the branch that a tree takes.
    """
    passed = worst_m <= tolerance_m if same_machine else share >= 0.99
    found = (
        f"{samples} samples from raw frames: {share:.2%} within {tolerance_m:g} m of the stored, worst {worst_m:.2g} m"
    )
    return Check("servable", passed, found)


@dataclass(frozen=True)
class Gain:
    """The gain of a candidate over other predictions: difference of the cross-fitted test-mix MAE, metres."""

    mean_m: float
    low_m: float
    high_m: float

    @classmethod
    def of(cls, ours_m: FloatArray, other_m: FloatArray, truth_m: FloatArray, mix: Part, scenes: StrArray) -> Self:
        """Compare (N, 18) out-of-fold predictions of the same samples by the scene bootstrap."""
        board: pd.DataFrame = scores.compare(ours_m, {"other": other_m}, truth_m, [mix], scenes, ours="candidate")
        row = board[board["model"] == "other"].iloc[0]
        return cls(float(row["gain_m"]), float(row["gain_low_m"]), float(row["gain_high_m"]))

    def _lower(self, other: str) -> str:
        """Say how the candidate's error stands to another one's, and the interval of the gain."""
        stands = "lower" if self.mean_m >= 0 else "higher"
        interval = f"95 % interval of the gain {self.low_m:.5f} to {self.high_m:.5f} m"
        return f"test-mix MAE {abs(self.mean_m):.5f} m {stands} than that of {other}, {interval}"

    def over_champion(self, min_gain_m: float) -> Check:
        """Check that the gain over the champion is large enough and its interval is above 0."""
        found = f"{self._lower('the champion')}; asked for {min_gain_m:g} m lower, and an interval above 0"
        return Check("gain", self.mean_m >= min_gain_m and self.low_m > 0, found, overrulable=True)

    def over_motion(self) -> Check:
        """Check that the interval of the gain over the motion model is above 0."""
        found = f"{self._lower('the motion model')}; asked for an interval above 0"
        return Check("motion", self.low_m > 0, found, overrulable=True)
