"""Traffic lights in view: JSON files become detections, detections a table."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from atma18.schema import LIGHT_BOX, LIGHT_CLASSES, Detection, first_few


def parse_lights(text: str | bytes, where: str) -> list[Detection]:
    """Read one sample's traffic lights: a JSON list of `{"class": …, "bbox": [x1, y1, x2, y2]}`, boxes in pixels.

    Raises:
        ValueError: If the text is something else; `where` names it.
    """
    try:
        boxes = json.loads(text)
        if not isinstance(boxes, list) or not all(
            isinstance(box["bbox"], list) and isinstance(box["class"], str) for box in boxes
        ):
            raise TypeError("expected a list of objects with a text and a list")
        found = [(box["class"], tuple(float(v) for v in box["bbox"])) for box in boxes]
        x1y1x2y2 = [(name, (x1, y1, x2, y2)) for name, (x1, y1, x2, y2) in found]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f'{where}: expected a JSON list of {{"class", "bbox"}}, found {_start_of(text)}') from error
    if not np.isfinite([box for _, box in x1y1x2y2]).all():
        raise ValueError(f"{where}: expected finite boxes, found {_start_of(text)}")
    return x1y1x2y2


def _start_of(text: str | bytes) -> str:
    return repr((text.decode(errors="replace") if isinstance(text, bytes) else str(text))[:60])


def read_lights(folder: Path, ids: Sequence[str]) -> dict[str, list[Detection]]:
    """Read the detections of each sample from `<ID>.json`.

    Raises:
        ValueError: If a file is missing or malformed; the first ones are named.
    """
    lights: dict[str, list[Detection]] = {}
    missing, malformed = [], []
    for sample_id in ids:
        path = folder / f"{sample_id}.json"
        try:
            lights[sample_id] = parse_lights(path.read_bytes(), str(path))
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

    A class beyond `LIGHT_CLASSES` counts as `other`.
    """
    rows = [
        (sample_id, name if name in LIGHT_CLASSES else "other", *box)
        for sample_id, found in lights.items()
        for name, box in found
    ]
    table = pd.DataFrame(rows, columns=["ID", "class", *LIGHT_BOX])
    return table.astype({"ID": object, "class": object} | dict.fromkeys(LIGHT_BOX, np.float64))
