"""The page about ingested drives: frames with the car's path, speed and yaw rate over time, and what was left out."""

import base64
import html
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from atma18.geometry.camera import Camera
from atma18.plots.drives import contact_sheet
from atma18.plots.recordings import timeline
from atma18.recordings.drive import Written
from atma18.recordings.ingest import Ingested
from atma18.schema import FRAME_FILES, TARGETS, FloatArray, UInt8Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_SAMPLES = 4
"""On the contact sheet of a drive, at even distances."""
_MOST_DRIVES = 30
_LOOK_AT = (
    "The path must lie on the road, in the car's own lane, and bend with it. A yaw rate above 0 turns to the left. "
    " Grey is a gap: no sample reaches into it."
)


def write(folder: Path, ingested: Ingested) -> None:
    """Write `report.html`, one page with its pictures inside."""
    camera = Camera.read(folder / "camera.json")
    drives = "".join(_of_drive(folder, number, one, camera) for number, one in enumerate(ingested.written, start=1))
    more = len(ingested.written) - _MOST_DRIVES
    text = (
        "<!doctype html><meta charset=utf-8><title>Ingested drives</title>"
        "<style>body{font:15px sans-serif;max-width:1100px;margin:2em auto}img{max-width:100%}"
        "td,th{text-align:left;padding:0 1em .2em 0;vertical-align:top}</style>"
        f"<h1>Ingested drives</h1><p>{_LOOK_AT}</p>{_table(_counts(ingested.summary))}{drives}"
        + (f"<p>{more} more drives are in ingest.json.</p>" if more > 0 else "")
    )
    (folder / "report.html").write_text(text, encoding="utf-8")


def _counts(summary: dict[str, Any]) -> list[tuple[str, str]]:
    left = "; ".join(f"drive {one['drive']}: {one['left_out']}" for one in summary["drives"] if "left_out" in one)
    missing = summary["signals_that_not_every_drive_has"]
    return [
        ("samples", ", ".join(f"{count} {split}" for split, count in summary["samples"].items())),
        ("waypoints of", summary["point"].replace("_", " ")),
        ("signals", ", ".join(summary["signals"])),
        ("not in every drive", ", ".join(missing) or "none"),
        ("drives left out", left or "none"),
    ]


def _of_drive(folder: Path, number: int, one: Written, camera: Camera) -> str:
    if number > _MOST_DRIVES:
        return ""
    said = one.said
    rows = [
        ("samples", str(said["samples"])),
        ("left out", "; ".join(f"{count} moments: {reason}" for reason, count in said["moments_left_out"].items())),
        ("clock", said["clock"]),
        ("poses", said["poses"]),
        ("remarks", "; ".join(said["remarks"])),
        ("problems", "; ".join(f"{count} {what}" for what, count in said["facts"].get("problems", {}).items())),
    ]
    pictures = [
        timeline(*(_numbers(one.timeline[name]) for name in ("time_s", "speed_mps", "yaw_rate_radps", "samples_s")))
    ]
    if one.rows:
        pictures.append(_sheet(folder, one.rows, camera))
    return f"<h2>Drive {number}</h2>{_table([row for row in rows if row[1]])}{''.join(map(_picture, pictures))}"


def _sheet(folder: Path, rows: Sequence[dict[str, Any]], camera: Camera) -> "Figure":
    chosen = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, _MOST_SAMPLES).astype(np.int64)).tolist()]
    targets_m = np.array([[row[target] for target in TARGETS] for row in chosen])
    frames = np.stack([_frames(folder / "images" / row["ID"]) for row in chosen])
    titles = [f"{row['ID'].rpartition('_')[2]} tenths of a second" for row in chosen]
    return contact_sheet(frames, targets_m, [np.empty((0, 4))] * len(chosen), camera, titles)


def _frames(folder: Path) -> UInt8Array:
    return np.stack([np.asarray(Image.open(folder / name)) for name in FRAME_FILES])


def _numbers(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{html.escape(name)}<td>{html.escape(value)}" for name, value in rows)
    return f"<table>{cells}</table>"


def _picture(figure: "Figure") -> str:
    content = BytesIO()
    figure.savefig(content, format="png", dpi=70)
    return f"<img src='data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}'>"
