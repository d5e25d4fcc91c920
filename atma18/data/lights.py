"""Traffic lights: read detections from JSON files, and arrange them as a table."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from atma18.schema import LARGEST_SIGNAL, LIGHT_BOX, LIGHT_CLASSES, Detection, first_few, shown
from atma18.storage import reading, strict_json

MOST_BYTES = 2**16
_MOST_LIGHTS = 100
"""Largest number of detections: more than 128 x 64 pixels can show. The size limit of a file allows three times it."""


def parse_lights(text: str | bytes, where: str) -> list[Detection]:
    """Parse one sample's traffic lights: a JSON list of `{"class": …, "bbox": [x1, y1, x2, y2]}`, boxes in pixels.

    Raises:
        ValueError: If the text has another form; `where` names it in the message.
    """
    expected = f'{where}: expected a JSON list of {{"class", "bbox"}}'
    if isinstance(text, str | bytes) and len(text) > MOST_BYTES:
        raise ValueError(f"{expected} of at most {MOST_BYTES:,} bytes, found {len(text):,}")
    try:
        boxes = _boxes(text)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"{expected}, found {_start_of(text)}") from error
    if len(boxes) > _MOST_LIGHTS:
        raise ValueError(f"{where}: expected at most {_MOST_LIGHTS} traffic lights in a frame, found {len(boxes):,}")
    edges_px = np.array([box for _, box in boxes])
    if not np.isfinite(edges_px).all():
        raise ValueError(f"{where}: expected finite boxes, found {_start_of(text)}")
    if (np.abs(edges_px) > LARGEST_SIGNAL).any():
        raise ValueError(f"{where}: expected boxes within ±{LARGEST_SIGNAL:.0e} px, found {_start_of(text)}")
    return boxes


def _boxes(text: str | bytes) -> list[Detection]:
    """Parse the class and the four edges of each box.

    Raises:
        ValueError: If the text is not JSON.
        TypeError: If a JSON value has another type.
        KeyError: If a class or a box is missing.
        OverflowError: If an edge is too large for a float.
    """
    detections: list[Detection] = []
    lights = strict_json.loads(text)
    if not isinstance(lights, list):
        raise TypeError("expected a list")
    for light in lights:
        name, (x1, y1, x2, y2) = light["class"], light["bbox"]
        if not isinstance(name, str) or not all(type(edge) in (int, float) for edge in (x1, y1, x2, y2)):
            raise TypeError("expected a text and four numbers")
        detections.append((name, (float(x1), float(y1), float(x2), float(y2))))
    return detections


def _start_of(text: str | bytes) -> str:
    return shown(text.decode(errors="replace") if isinstance(text, bytes) else text)


def read_lights(folder: Path, ids: Sequence[str], root: Path | None = None) -> dict[str, list[Detection]]:
    """Read the detections of each sample from `<ID>.json`.

    Args:
        folder: the folder of the files.
        ids: the samples.
        root: the resolved folder that links may not leave; None for `folder` itself.

    Raises:
        ValueError: If a file is missing, malformed or a link that leaves `root`; the message names the first ones.
    """
    root = folder.resolve() if root is None else root
    lights: dict[str, list[Detection]] = {}
    missing, malformed = [], []
    for sample_id in ids:
        path = folder / f"{sample_id}.json"
        try:
            lights[sample_id] = parse_lights(reading.read_bytes(path, root, MOST_BYTES), str(path))
        except FileNotFoundError:
            missing.append(sample_id)
        except ValueError as error:
            malformed.append(str(error))
    if missing:
        raise ValueError(
            f"{folder}: expected a file for every sample, missing: {first_few(missing)}: add them (a sample without "
            "traffic lights has an empty list), or leave the whole folder out (an absent sensor)"
        )
    if malformed:
        raise ValueError(f"{first_few(malformed)}: mend these files")
    unknown = {name for boxes in lights.values() for name, _ in boxes} - set(LIGHT_CLASSES)
    if unknown:
        warnings.warn(f"{folder}: unknown classes are counted as other: {first_few(sorted(unknown))}", stacklevel=2)
    return lights


def light_table(lights: Mapping[str, Sequence[Detection]]) -> pd.DataFrame:
    """Return the detections of each ID as a table: ID, class and the four box columns in pixels.

    A class that is not in `LIGHT_CLASSES` becomes `other`.
    """
    rows = [
        (sample_id, name if name in LIGHT_CLASSES else "other", *box)
        for sample_id, boxes in lights.items()
        for name, box in boxes
    ]
    table = pd.DataFrame(rows, columns=["ID", "class", *LIGHT_BOX])
    return table.astype({"ID": object, "class": object} | dict.fromkeys(LIGHT_BOX, np.float64))


def light_text(table: pd.DataFrame, sample_id: str) -> str:
    """Return the detections of one sample of a `light_table` as the text of its JSON file."""
    own = table[table["ID"] == sample_id]
    boxes = own[list(LIGHT_BOX)].to_numpy(np.float64).tolist()
    return strict_json.dumps([{"class": name, "bbox": box} for name, box in zip(own["class"], boxes, strict=True)])
