"""Write drives as a dataset folder.

Every drive is read twice: first to learn which signals all of them have and which window all cameras can fill, then to
write its samples. So one drive at a time is in memory. What a finished drive gave is kept in `.drives`, and a sample's
frames appear at once, so an interrupted call goes on where it was.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from atma18.compute.progress import progress
from atma18.recordings import SOURCES, Drive
from atma18.recordings.drive import Written, point_of, write_drive
from atma18.recordings.recording import PICTURES, Lens
from atma18.recordings.sampling import SCENE_S
from atma18.recordings.scenes import split_of
from atma18.recordings.signals import RecordingError
from atma18.recordings.window import Window
from atma18.schema import (
    ALWAYS_PRESENT,
    CAN_SIGNALS,
    GEAR,
    SPLITS,
    first_few,
)
from atma18.storage import dataset_files
from atma18.storage.dataset_files import Row
from atma18.storage.digests import file_sha256, sha256_of_records


@dataclass(frozen=True)
class Plan:
    """What is made of the drives."""

    source: str
    every_s: float
    split: float
    point: str
    crop: str

    def to_json_dict(self, drives: Sequence["Found"]) -> dict[str, Any]:
        """Return everything that decides the content of the folder."""
        code = [path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))]
        return asdict(self) | {"code": sha256_of_records([code]), "drives": [drive.sha256 for drive in drives]}


@dataclass(frozen=True)
class Found:
    """A drive and the digests of its files."""

    drive: Drive
    sources: Mapping[str, str]
    """SHA-256 by what a file is."""
    pictures: frozenset[str] = frozenset()
    """Those of the files with pictures."""
    refused: str | None = None
    """Why it is left out."""

    @property
    def sha256(self) -> str:
        """The digest of all files."""
        return sha256_of_records([name.encode(), digest.encode()] for name, digest in sorted(self.sources.items()))


def find(source: str, path: Path) -> list[Found]:
    """Find the drives of a source in a folder, and digest their files.

    Raises:
        ValueError: If there is none.
    """
    if not path.exists():
        raise ValueError(f"{path}: expected a folder with recordings, found nothing there: check `path`")
    drives = SOURCES[source].find(path)
    if not drives:
        raise ValueError(f"{path}: expected recordings of {source}, found none: check `source` and `path`")
    found: list[Found] = []
    for drive in progress(drives, desc="digest", unit="drive"):
        try:
            files = drive.files
            sources = {name: _sha256(of_one) for name, of_one in files.items()}
        except RecordingError as error:
            found.append(Found(drive, {}, refused=str(error)))
            continue
        pictures = frozenset(sources[name] for name, of_one in files.items() if of_one and name.endswith(PICTURES))
        found.append(Found(drive, sources, pictures))
    return found


def _sha256(files: Path | tuple[Path, ...]) -> str:
    if isinstance(files, Path):
        return file_sha256(files)
    return sha256_of_records([file_sha256(file).encode()] for file in files)


@dataclass(frozen=True)
class Survey:
    """What of a drive matters for all others; or why it gives no sample."""

    names: frozenset[str]
    lens: Lens | None
    refused: str | None = None

    @classmethod
    def of(cls, source: str, found: Found) -> Self:
        """Read a drive."""
        if found.refused is not None:
            return cls(frozenset(), None, found.refused)
        try:
            recording = SOURCES[source].read(found.drive)
        except RecordingError as error:
            return cls(frozenset(), None, str(error))
        if recording.frames is None or not len(recording.frames.times_s):
            return cls(frozenset(), None, "no frames whose time is known")
        if recording.lens is None:
            return cls(frozenset(), None, "no camera is known for its frames")
        return cls(frozenset(name for name, signal in recording.signals.items() if len(signal)), recording.lens)


@dataclass(frozen=True)
class Ingested:
    """A dataset folder that has been filled."""

    written: list[Written]
    summary: dict[str, Any]
    """The content of `ingest.json`."""


def ingest(folder: Path, plan: Plan, drives: Sequence[Found]) -> Ingested:
    """Write the samples of some drives, `camera.json` and `ingest.json` into a folder.

    Raises:
        ValueError: If no drive gives a sample, or if there is one scene for two splits.
    """
    surveys = _surveys(plan.source, drives)
    names, window, lens = _shared(surveys, plan.crop)
    written = [
        _kept(folder, number, plan, found, names, window)
        for number, (found, survey) in enumerate(zip(drives, surveys, strict=True), start=1)
        if survey.refused is None
    ]
    rows = _by_split(written, plan.split)
    if not any(rows.values()):
        reasons = Counter[str]()
        for one in written:
            reasons += Counter(one.said["moments_left_out"])
        raise ValueError(f"expected a moment at which nothing is missing, found none: {_counted(reasons)}")
    if plan.split < 1 and not all(rows.values()):
        raise ValueError(
            "expected a scene for training and one for test, found one minute with samples: add drives, or split=1 "
            "if they are to be predicted"
        )
    dataset_files.write_tables(folder, rows)
    _write_camera(folder, plan, window, lens)
    summary = _summary(plan, drives, surveys, written, names, rows)
    (folder / "ingest.json").write_text(json.dumps(summary, indent=2))
    return Ingested(written, summary)


def _surveys(source: str, drives: Sequence[Found]) -> list[Survey]:
    """Read all drives; one with pictures of an earlier one that can be read is left out.

    Its log may have been fetched as `rlog` and as `qlog`, and no split may know the other's pictures.
    """
    surveys: list[Survey] = []
    seen: dict[str, int] = {}
    for number, found in enumerate(progress(drives, desc="read", unit="drive"), start=1):
        first = min((seen[digest] for digest in found.pictures if digest in seen), default=None)
        if first is None:
            survey = Survey.of(source, found)
        else:
            survey = Survey(frozenset(), None, f"it has pictures of drive {first}")
        if survey.refused is None:
            seen |= dict.fromkeys(found.pictures, number)
        surveys.append(survey)
    return surveys


def _shared(surveys: Sequence[Survey], crop: str) -> tuple[tuple[str, ...], Window, Lens]:
    """Return the signals that all drives have, the window that all pictures can fill, and the usual lens."""
    good = [survey for survey in surveys if survey.refused is None]
    if not good:
        reasons = first_few(dict.fromkeys(str(survey.refused) for survey in surveys))
        raise ValueError(f"expected drives with signals, poses and frames, found none: {reasons}")
    names = frozenset.intersection(*(survey.names for survey in good))
    if ALWAYS_PRESENT not in names:
        raise ValueError(f"expected {ALWAYS_PRESENT} in every drive, found one without: take it out")
    lenses = [survey.lens for survey in good if survey.lens is not None]
    ordered = tuple(name for name in (*CAN_SIGNALS, GEAR) if name in names)
    return ordered, Window.for_drives(lenses, crop), Lens.middle(lenses)


def _kept(folder: Path, number: int, plan: Plan, found: Found, names: Sequence[str], window: Window) -> Written:
    """Return what a drive gave, written now or by an earlier call."""
    place = folder / ".drives" / f"{number}.json"
    if not place.is_file():
        place.parent.mkdir(exist_ok=True)
        recording = SOURCES[plan.source].read(found.drive)
        written = write_drive(folder, recording, found.sha256, names, plan.every_s, plan.point, window)
        unfinished = place.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(written)))
        unfinished.replace(place)
    return Written(**json.loads(place.read_text()))


def _by_split(written: Sequence[Written], share: float) -> dict[str, list[Row]]:
    """Return the rows of each split."""
    rows = [row for one in written for row in one.rows]
    split = split_of([str(row["ID"]) for row in rows], share)
    return {name: [row for row, of in zip(rows, split, strict=True) if of == name] for name in SPLITS}


def _write_camera(folder: Path, plan: Plan, window: Window, lens: Lens) -> None:
    camera = window.camera(lens, point_of(plan.point, lens)).to_json_dict()
    camera |= {"waypoints_of": plan.point, "crop": plan.crop}
    (folder / "camera.json").write_text(json.dumps(camera, indent=2))


def _summary(
    plan: Plan,
    drives: Sequence[Found],
    surveys: Sequence[Survey],
    written: Sequence[Written],
    names: Sequence[str],
    rows: Mapping[str, Sequence[Row]],
) -> dict[str, Any]:
    """Return what was read and what was left out; no word of it names a place, a car or a person."""
    left: dict[str, list[int]] = {}
    for number, survey in enumerate(surveys, start=1):
        for name in sorted(survey.names - set(names)):
            left.setdefault(name, []).append(number)
    said, parts = iter(written), []
    for number, (found, survey) in enumerate(zip(drives, surveys, strict=True), start=1):
        part = {"drive": number, "sha256": dict(found.sources)}
        if survey.refused is None:
            one = next(said)
            parts.append(part | one.said | {"scenes": one.scenes})
        else:
            parts.append(part | {"left_out": survey.refused})
    return {
        **asdict(plan),
        "scene_s": SCENE_S,
        "samples": {split: len(found) for split, found in rows.items()},
        "signals": list(names),
        "signals_that_not_every_drive_has": left,
        "versions": _versions(),
        "drives": parts,
    }


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that read recordings."""
    from importlib.metadata import version

    return {name: version(name) for name in ("av", "cantools", "numpy", "pillow", "pycapnp", "python-can", "scipy")}


def _counted(reasons: Mapping[str, int]) -> str:
    return first_few(f"{count}: {reason}" for reason, count in Counter(reasons).most_common())
