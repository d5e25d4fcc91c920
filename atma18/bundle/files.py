"""The folder of a bundle: read `bundle.json` and check it before anything is loaded.

A bundle is a folder with `bundle.json` and `objects/<sha256>.<suffix>`. Its members are models by run ID. An upstream
of several members is stored once, and equal files are one file.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from atma18.schema import CAN_SIGNALS, LARGEST_SIGNAL, first_few, one_line, shown
from atma18.storage import digests, reading, strict_json

FILE = "bundle.json"
OBJECTS = "objects"
FORMAT = 1
BUNDLE_SHA256 = "bundle_sha256"
"""The key in a logged model's configuration for the SHA-256 of its `bundle.json`."""
_MOST_BYTES = 2**24  # of bundle.json: a member names some hundred files, with 100 bytes each
_MOST_FOLDS = 1000
_OBJECT = re.compile(r"[0-9a-f]{64}\.(safetensors|onnx|ubj|cbm|json)")


@dataclass(frozen=True)
class Entry:
    """The description of one member."""

    step: str
    inputs: dict[str, str]
    """The run ID of each upstream, by the name of the model's input."""
    files: dict[str, str]
    """The object of each file that the model saved."""
    model: dict[str, Any]
    """The description of the model, without its files."""
    causal: bool | None = None
    """Whether no prediction uses a later sample of the scene; None in bundles without this record."""

    @classmethod
    def of(cls, plain: object) -> Self:
        """Parse the JSON of a member."""
        step, inputs, files, model = _values(plain, {"step": str, "inputs": dict, "files": dict, "model": dict})
        if odd := [shown(value) for value in (*inputs.values(), *files.values()) if not isinstance(value, str)]:
            raise ValueError(f"expected the names of runs and files, found {first_few(odd)}")
        if odd := [shown(name) for name in files.values() if not _OBJECT.fullmatch(name)]:
            raise ValueError(f"expected files called <sha256>.<suffix>, found {first_few(odd)}")
        causal = plain.get("causal") if isinstance(plain, dict) else None
        if causal not in (None, True, False):
            raise ValueError(f"expected causal of type bool, found {shown(causal)}")
        return cls(step, inputs, files, model, causal)


@dataclass(frozen=True)
class Bundle:
    """The content of `bundle.json`."""

    folder: Path
    sha256: str
    """SHA-256 of `bundle.json`, which names all other files by their digests."""
    root: str
    """The run ID of the model that predicts."""
    folds: int
    signals: tuple[str, ...]
    """The CAN signals that a sample must have."""
    gear: bool
    lights: bool
    members: dict[str, Entry]
    ranges: dict[str, tuple[float, float]]
    """The least and the largest training value of the signals that are numbers; those of earlier versions have none."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `bundle.json` and list the folder; objects are not read.

        Raises:
            ValueError: If the format differs, a value is missing or has another type, an input is not a member or forms
                a cycle, a file is missing or not named in `bundle.json`, or a link leaves the folder.
        """
        root = folder.resolve()
        try:
            content = reading.read_bytes(folder / FILE, root, _MOST_BYTES)
        except FileNotFoundError as error:
            raise ValueError(f"{folder}: expected a bundle, found no {FILE}: name another folder") from error
        try:
            bundle = cls._parse(folder, content)
            _check_inputs(bundle.root, bundle.members)
        except ValueError as error:
            raise ValueError(f"{folder / FILE}: {one_line(str(error))}: make this bundle again") from error
        bundle._check_files(root)
        return bundle

    @classmethod
    def _parse(cls, folder: Path, content: bytes) -> Self:
        plain = strict_json.loads(content)
        (version,) = _values(plain, {"format": int})
        if version != FORMAT:
            raise ValueError(f"expected a bundle of format {FORMAT}, found {version}")
        root, folds, sensors, members = _values(plain, {"root": str, "folds": int, "sensors": dict, "members": dict})
        if not 1 <= folds <= _MOST_FOLDS:
            raise ValueError(f"expected 1 to {_MOST_FOLDS} folds, found {folds}")
        signals, gear, lights = _values(sensors, {"signals": list, "gear": bool, "lights": bool})
        if odd := [shown(name) for name in signals if name not in CAN_SIGNALS or signals.count(name) > 1]:
            raise ValueError(f"expected signals that cars have, each once, found {first_few(odd)}")
        entries = {}
        for run_id, entry in members.items():
            try:
                entries[run_id] = Entry.of(entry)
            except ValueError as error:
                raise ValueError(f"member {shown(run_id)}: {error}") from error
        sha256 = hashlib.sha256(content).hexdigest()
        (limits,) = _values({"ranges": {}} | plain, {"ranges": dict})
        ranges = {name: _range(name, limit, signals) for name, limit in limits.items()}
        return cls(folder, sha256, root, folds, tuple(signals), gear, lights, entries, ranges)

    def _check_files(self, root: Path) -> None:
        """Compare the files in the folder with those in `bundle.json`."""
        objects = self.folder / OBJECTS
        try:
            reading.stat_inside(objects, root)
            present = {path.name for path in objects.iterdir()}
        except OSError as error:
            raise ValueError(f"{objects}: expected the files of a bundle, found no folder: copy it again") from error
        if missing := sorted(self.objects - present):
            raise ValueError(f"{objects / missing[0]}: expected a file with this SHA-256, found none: copy it again")
        others = {path.name for path in self.folder.iterdir()} - {FILE, OBJECTS}
        if extra := sorted(others) + [f"{OBJECTS}/{name}" for name in sorted(present - self.objects)]:
            raise ValueError(f"{self.folder}: expected what {FILE} names, found {first_few(extra)} too: remove it")
        for name in self.objects:
            reading.check_plain(objects / name, reading.stat_inside(objects / name, root))

    @property
    def objects(self) -> set[str]:
        """The names of all objects."""
        return {name for entry in self.members.values() for name in entry.files.values()}

    def check_content(self) -> None:
        """Compare every object with the SHA-256 in its name, before it is used.

        Raises:
            ValueError: If an object was changed.
        """
        for name in sorted(self.objects):
            path = self.folder / OBJECTS / name
            if digests.file_sha256(path) != path.stem:
                raise ValueError(f"{path}: expected a file with this SHA-256, found another: copy it again")

    def files_of(self, run_id: str) -> dict[str, Path]:
        """Return the paths of the files that a member's model saved, by name."""
        return {name: self.folder / OBJECTS / object_name for name, object_name in self.members[run_id].files.items()}


def write(folder: Path, plain: Mapping[str, Any]) -> None:
    """Write `bundle.json`."""
    (folder / FILE).write_text(json.dumps({"format": FORMAT} | dict(plain), indent=1, sort_keys=True))


def _values(plain: object, kinds: Mapping[str, type]) -> list[Any]:
    """Return the values of these keys, and check their types."""
    if not isinstance(plain, dict):
        raise ValueError(f"expected an object with {', '.join(kinds)}, found {shown(plain)}")
    if missing := [name for name in kinds if name not in plain]:
        raise ValueError(f"expected {', '.join(kinds)}, found no {first_few(missing)}")
    for name, kind in kinds.items():
        if type(plain[name]) is not kind:
            raise ValueError(f"expected {name} of type {kind.__name__}, found {shown(plain[name])}")
    return [plain[name] for name in kinds]


def _range(name: str, limits: object, signals: Sequence[str]) -> tuple[float, float]:
    """Return the limits of a signal, and check them."""
    expected = f"expected the least and the largest value of a signal, found {shown(name)}: {shown(limits)}"
    if name not in signals or not isinstance(limits, list) or len(limits) != 2:
        raise ValueError(expected)
    low, high = limits
    if type(low) is not float or type(high) is not float or not -LARGEST_SIGNAL <= low <= high <= LARGEST_SIGNAL:
        raise ValueError(expected)
    return low, high


def _check_inputs(root: str, members: Mapping[str, Entry]) -> None:
    """Refuse a root or an input that is not a member, and cycles of inputs."""
    named = [root, *(run_id for entry in members.values() for run_id in entry.inputs.values())]
    if unknown := [shown(run_id) for run_id in dict.fromkeys(named) if run_id not in members]:
        raise ValueError(f"expected the root and every input among the members, found none called {first_few(unknown)}")
    waiting = {run_id: set(entry.inputs.values()) for run_id, entry in members.items()}
    while ready := [run_id for run_id, inputs in waiting.items() if not inputs & waiting.keys()]:
        for run_id in ready:
            del waiting[run_id]
    if waiting:
        raise ValueError(f"expected members that read earlier ones, found a circle: {first_few(map(shown, waiting))}")
