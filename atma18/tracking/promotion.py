"""The alias `champion`: its version, its moves, and the record of its moves, which MLflow does not keep."""

import getpass
import os
import platform
import re
import textwrap
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlflow.entities import Metric, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from atma18.cache import Cache
from atma18.metrics.verdict import Gain, Verdict
from atma18.storage import strict_json
from atma18.tracking import store
from atma18.tracking.identity import INPUT, PREFIX, STEP_TAG
from atma18.tracking.lifecycle import DESCRIPTION, LONGEST_TAG
from atma18.tracking.processes import process_is_gone
from atma18.tracking.upstream import Upstream
from atma18.tracking.versions import CHAMPION, is_run_id, named_version, open_version, registered_name, versions_of

PREVIOUS = "previous"
STANDING = "Standing:"
"""The start of a line in the description of a `main` that is rewritten when `champion` moves."""
VERDICT_TAG = f"{PREFIX}verdict"
PROMOTED, FORCED, REFUSED, ROLLED_BACK = "promoted", "forced", "refused", "rolled back"
_BLEND = registered_name("blend")
_FORCED_TAG = f"{PREFIX}forced"
_FROM_TAG, _TO_TAG, _MOVING_TAG = f"{PREFIX}from", f"{PREFIX}to", f"{PREFIX}moving"
_NOBODY = "none"
_WIDTH = 100
"""Characters of a line of the history."""


@dataclass(frozen=True)
class BlendVersion:
    """A registered blend whose run is intact."""

    version: ModelVersion
    upstream: Upstream

    @property
    def number(self) -> int:
        """The number of the version."""
        return int(self.version.version)

    @property
    def uri(self) -> str:
        """The `models:/` URI of the version."""
        return f"models:/{_BLEND}/{self.number}"


def blend_version(given: str) -> ModelVersion:
    """Find the version of a blend by its `models:/` URI or by the ID of its run.

    Raises:
        ValueError: If there is none, or it is not a version of a blend.
    """
    if is_run_id(given):
        registered = [v for v in versions_of(_BLEND) if v.run_id == given]
        if not registered:
            raise ValueError(
                f"run {given}: expected a run with a version of {_BLEND}, found none: only blends are promoted"
            )
        return max(registered, key=lambda v: int(v.version))
    version = named_version(given)
    if version.name != _BLEND:
        raise ValueError(
            f"{given}: expected a version of {_BLEND}, found one of {version.name}: only blends are promoted"
        )
    return version


def version_link(given: str) -> str:
    """Return a Markdown link to the page of a registered blend; `given` is as in `blend_version`."""
    version = blend_version(given)
    return _link(int(version.version))


def standing(run_id: str) -> str:
    """Return the standing of a registered blend, found by the ID of its run, for the description of `main`."""
    champion = version_with(CHAMPION)
    state = "**the champion**" if champion is not None and champion.run_id == run_id else "a candidate, not promoted"
    return f"{STANDING} {state}"


def _link(number: int) -> str:
    return f"[{_BLEND} {number}](#/models/{_BLEND}/versions/{number})"


def version_with(alias: str) -> ModelVersion | None:
    """Return the version of the blend that has an alias, or None."""
    try:
        return store.client().get_model_version_by_alias(_BLEND, alias)
    except MlflowException:
        return None


def open_blend(version: ModelVersion, cache: Cache) -> BlendVersion:
    """Verify a version and its run; a ValueError names the problem."""
    return BlendVersion(version, open_version(version, cache))


def promote(run_id: str, to: BlendVersion, verdict: Verdict, gains: Mapping[str, Gain], note: str | None) -> None:
    """Apply a verdict: move the aliases if the candidate passed, and record the verdict in any case.

    The caller holds the lock of the store, and the verdict compares with the current champion.

    Args:
        run_id: the run that holds the record.
        to: the candidate.
        verdict: the verdict on it.
        gains: its gains by the first part of their metrics' names.
        note: the user's text for the record.
    """
    before = version_with(CHAMPION)
    outcome = REFUSED if not verdict.accepted else FORCED if verdict.overruled else PROMOTED
    _record(run_id, outcome, before, to.number, verdict, note, gains)
    if verdict.accepted:
        if verdict.overruled:
            store.client().set_model_version_tag(_BLEND, str(to.number), _FORCED_TAG, f"{verdict.why} (run {run_id})")
        _carry_out(run_id, before, to.number)


def refuse(run_id: str, version: ModelVersion, verdict: Verdict, note: str | None) -> None:
    """Record the refusal of a candidate that is not intact."""
    _record(run_id, REFUSED, version_with(CHAMPION), int(version.version), verdict, note, {})


def roll_back(run_id: str, to: BlendVersion, note: str | None) -> None:
    """Move `champion` back to the previous version, and `previous` to the current one; the caller holds the lock."""
    before = version_with(CHAMPION)
    _record(run_id, ROLLED_BACK, before, to.number, None, note, {})
    _carry_out(run_id, before, to.number)


def interrupted() -> list[Run]:
    """Return the runs that recorded a move of the aliases and ended before it was complete, the oldest first."""
    runs = store.search(f"tags.`{_MOVING_TAG}` LIKE '%'")
    return [run for run in runs if run.info.status != "RUNNING" or process_is_gone(run)]


def finish_interrupted() -> list[int]:
    """Complete the recorded moves that were interrupted, under the lock of the store; return their versions.

    An alias that was moved since then stays where it is.
    """
    finished = []
    for run in interrupted():
        champion, to = version_with(CHAMPION), int(run.data.tags[_TO_TAG])
        number = _NOBODY if champion is None else int(champion.version)
        if str(number) in (run.data.tags[_FROM_TAG], str(to)):
            _carry_out(run.info.run_id, None if number == to else champion, to)
            finished.append(to)
        else:
            store.client().delete_tag(run.info.run_id, _MOVING_TAG)
        if run.info.status == "RUNNING":
            store.client().set_terminated(run.info.run_id, "FINISHED")
    return finished


def history() -> list[str]:
    """Return every promotion, refusal and rollback as lines of text, the oldest first."""
    return [line for run in verdict_runs() for line in _told(run)]


def _told(run: Run) -> list[str]:
    """Return the lines of one record; a note keeps its own lines and is wrapped where they are long."""
    tags, figures = run.data.tags, run.data.metrics
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.info.start_time / 1000))
    before, to, by = (tags.get(f"{PREFIX}{name}", "?") for name in ("from", "to", "by"))
    over = {"champion": "gain", "motion model": "gain_over_motion"}
    gains = [
        f"over the {name} {figures[f'{gain}/mean_m']:+.4f} m"
        for name, gain in over.items()
        if f"{gain}/mean_m" in figures
    ]
    details = {
        "gain": ", ".join(gains),
        "why": tags.get(f"{PREFIX}why", ""),
        "note": tags.get(f"{PREFIX}note", ""),
        "run": run.info.run_id,
    }
    lines = [f"{when}  {tags[VERDICT_TAG]}: version {before} -> {to}, by {by}"]
    for name, text in details.items():
        for number, line in enumerate(_wrapped(text)):
            lines.append(f"    {name if not number else '':<5} {line}")
    return lines


def _wrapped(text: str) -> list[str]:
    return [part for line in text.splitlines() for part in textwrap.wrap(line, _WIDTH)]


def verdict_runs() -> list[Run]:
    """Return the runs that record promotions, the oldest first."""
    return store.search(f"tags.`{VERDICT_TAG}` LIKE '%'")


def _carry_out(run_id: str, before: ModelVersion | None, number: int) -> None:
    """Move the aliases as a run recorded, then remove the tag that marks the move as pending."""
    _move(before, number)
    store.client().delete_tag(run_id, _MOVING_TAG)


def _move(before: ModelVersion | None, number: int) -> None:
    client = store.client()
    if before is not None:
        client.set_registered_model_alias(_BLEND, PREVIOUS, str(before.version))
    client.set_registered_model_alias(_BLEND, CHAMPION, str(number))
    now = version_with(CHAMPION)
    if now is None or int(now.version) != number:
        raise ValueError(f"expected version {number} to be {CHAMPION} now, found another: somebody moved it just now")
    today = time.strftime("%Y-%m-%d")
    if before is not None and int(before.version) != number:
        _say_standing(before, f"was the champion until {today}; {_link(number)} followed")
    _say_standing(now, f"**the champion** since {today}")


def _say_standing(version: ModelVersion, standing: str) -> None:
    """Write the standing of a version into the description of each `main` that delivered it."""
    query = f"tags.`{INPUT}blend` = '{version.run_id}' AND tags.`{STEP_TAG}` = 'main'"
    for run in store.search(query):
        note = re.sub(rf"(?<={STANDING} )[^\n]*", lambda _: standing, run.data.tags.get(DESCRIPTION, ""), count=1)
        store.client().set_tag(run.info.run_id, DESCRIPTION, note[:LONGEST_TAG])


def _record(
    run_id: str,
    outcome: str,
    before: ModelVersion | None,
    to: int,
    verdict: Verdict | None,
    note: str | None,
    gains: Mapping[str, Gain],
) -> None:
    """Record a verdict: user, versions before and after, reason and figures. MLflow has no such history.

    All tags are set in one call before the aliases move, so an interrupted move can be completed.
    """
    tags: dict[str, Any] = {
        VERDICT_TAG: outcome,
        _FROM_TAG: _NOBODY if before is None else int(before.version),
        _TO_TAG: to,
        f"{PREFIX}by": _who(),
        f"{PREFIX}why": outcome if verdict is None else verdict.why,
        f"{PREFIX}note": note or "",
    }
    came_from = f"Before: version {before.version}. " if before is not None else ""
    tags[DESCRIPTION] = f"**{_link(to)}: {outcome}.** {tags[f'{PREFIX}why']}. {came_from}{note or ''}".strip()
    if outcome != REFUSED:
        tags[_MOVING_TAG] = "yes"
    if verdict is not None:
        checks = [asdict(check) for check in verdict.checks]
        store.client().log_text(run_id, strict_json.dumps(checks, indent=1), "verdict.json")
    if gains:
        now_ms = int(time.time() * 1000)
        figures = {f"{over}/{name}": value for over, gain in gains.items() for name, value in asdict(gain).items()}
        store.client().log_batch(run_id, metrics=[Metric(name, value, now_ms, 0) for name, value in figures.items()])
    store.client().log_batch(run_id, tags=[RunTag(name, str(value)[:LONGEST_TAG]) for name, value in tags.items()])


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{platform.node()}"
    except (OSError, KeyError):  # the user ID has no name
        return f"user {os.getuid()}@{platform.node()}"
