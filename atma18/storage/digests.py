"""SHA-256 digests of data, code, configurations and files."""

import dataclasses
import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from atma18.schema import CAN_SIGNALS, SPLITS, Detection, FloatArray, Samples, UInt8Array

PROJECT_FOLDER = Path(__file__).resolve().parents[2]
_ABSENT = b"absent sensor"
CODE = ("atma18/**/*.py", "steps/**/*.py", "conda.yaml")


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """Return the canonical text of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256_of_records(records: Iterable[Iterable[bytes]]) -> str:
    """Digest records of fields; the length of each field comes first, so that the borders of fields count too."""
    digest = hashlib.sha256()
    for record in records:
        for item in record:
            digest.update(struct.pack("<Q", len(item)))
            digest.update(item)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Digest a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_sha256(config: Any) -> str:  # noqa: ANN401 - any configuration dataclass
    """Digest a configuration: its class and all of its fields."""
    return sha256_of_records([[type(config).__name__.encode(), canonical_json(dataclasses.asdict(config))]])


def code_sha256(folder: Path = PROJECT_FOLDER) -> str:
    """Digest the code that can change a prediction: `atma18`, `steps` and `conda.yaml`."""
    files = sorted(path for pattern in CODE for path in folder.glob(pattern))
    return sha256_of_records([path.relative_to(folder).as_posix().encode(), path.read_bytes()] for path in files)


def data_sha256(
    splits: dict[str, Samples],
    frame_sha256: dict[str, UInt8Array],
    targets_m: FloatArray,
    lights: dict[str, list[Detection]] | None,
    camera_json: object | None,
) -> str:
    """Digest all content of a dataset folder: one record per sample in (split, ID) byte order, then the camera.

    Args:
        splits: the samples of `train` and `test`.
        frame_sha256: per split, (N, 3, 32) digests of the decoded frames.
        targets_m: (N, 18) of the training samples.
        lights: the detections of each ID, in the order of its file; None if the folder is absent.
        camera_json: the content of `camera.json`, with numbers as floats; None if it is absent.
    """

    def records() -> Iterable[list[bytes]]:
        for split in SPLITS:
            samples = splits[split]
            sensors = _sensor_bytes(samples)
            targets = _plain(targets_m) if split == "train" else np.empty((len(samples), 0))
            for row in np.argsort(samples.ids.astype(np.bytes_), kind="stable").tolist():
                sample_id = str(samples.ids[row])
                yield [
                    split.encode(),
                    sample_id.encode(),
                    *(sensor[row] for sensor in sensors),
                    targets[row].tobytes(),
                    *(digest.tobytes() for digest in frame_sha256[split][row]),
                    _ABSENT if lights is None else canonical_json(lights[sample_id]),
                ]
        yield [_ABSENT if camera_json is None else canonical_json(camera_json)]

    return sha256_of_records(records())


def _sensor_bytes(samples: Samples) -> list[list[bytes]]:
    """Return N values as bytes for each sensor of the schema; an absent sensor gives a marker."""
    absent = [_ABSENT] * len(samples)
    numeric = [
        [struct.pack("<d", v) for v in _plain(samples.signals[name].to_numpy(np.float64)).tolist()]
        if name in samples.signals
        else absent
        for name in CAN_SIGNALS
    ]
    return [*numeric, absent if samples.gear is None else [gear.encode() for gear in samples.gear.tolist()]]


def _plain(values: FloatArray) -> FloatArray:
    """Return little-endian float64, with -0.0 replaced by 0.0."""
    return (values + 0.0).astype("<f8")
