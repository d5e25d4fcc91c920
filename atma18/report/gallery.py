"""The gallery: one HTML file with pictures of some samples, and tables of samples and steps that a click sorts."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from atma18.data.dataset import Dataset
from atma18.data.frames import encode
from atma18.report.leaderboard import Leaderboard
from atma18.schema import AXES, FRAME_HEIGHT_PX, FRAME_WIDTH_PX, WAYPOINT_TIMES_S, FloatArray, IntArray, UInt8Array
from atma18.storage import strict_json

MOST_SAMPLES = 300
_PAGE = Path(__file__).with_name("gallery.html")


def choose(error_m: FloatArray, most: int = MOST_SAMPLES) -> IntArray:
    """Choose samples with errors at even ranks from the smallest to the largest, both included.

    Args:
        error_m: (N,) metres.
        most: largest number of samples.

    Returns:
        The rows of the samples, ascending.
    """
    order = np.argsort(error_m, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(np.int64))
    return np.sort(order[places])


def page(
    dataset: Dataset, predictions_m: Mapping[str, FloatArray], board: Leaderboard, lineage: str, title: str
) -> str:
    """Return the page as HTML.

    Args:
        dataset: the dataset with the predicted training samples.
        predictions_m: per model (N, 18) out-of-fold predictions, metres, vehicle frame at t; the last one's errors
            choose the samples.
        board: the leaderboard.
        lineage: the lineage of the blend, as a tree.
        title: title of the page.

    Returns:
        HTML that needs no other file and no network.
    """
    models = list(predictions_m)
    last_m = predictions_m[models[-1]]
    rows = choose(np.abs(last_m - dataset.targets_m).mean(axis=1))
    sizes, frames = dataset.train.scene_sizes[rows], dataset.train.frames[rows][:, 0]
    per_frame = np.array([FRAME_WIDTH_PX, FRAME_HEIGHT_PX]) / dataset.camera.image_size_px

    def drawn(targets_m: FloatArray) -> tuple[list[object], list[object]]:
        """Return pixels in the frame, None where a waypoint is not in front of the camera, and metres from above."""
        waypoints_m = targets_m.reshape(-1, len(WAYPOINT_TIMES_S), len(AXES))
        pixels = dataset.camera.project(waypoints_m) * per_frame
        chains_px = [
            [None if np.isnan(p).any() else [round(float(v), 1) for v in p] for p in chain] for chain in pixels
        ]
        return list(chains_px), waypoints_m[..., :2].round(2).tolist()

    truth_m = dataset.targets_m[rows]
    truth_px, truth_above_m = drawn(truth_m)
    by_model = {name: (found_m[rows], *drawn(found_m[rows])) for name, found_m in predictions_m.items()}
    samples = [
        {
            "id": str(dataset.train.ids[row]),
            "size": int(sizes[i]),
            "frame": _data_uri(frames[i]),
            "truth": {"px": truth_px[i], "m": truth_above_m[i]},
            "models": {
                name: {"px": px[i], "m": above_m[i], "errors": np.abs(found_m[i] - truth_m[i]).round(4).tolist()}
                for name, (found_m, px, above_m) in by_model.items()
            },
        }
        for i, row in enumerate(rows.tolist())
    ]
    data = {
        "models": models,
        "axes": AXES,
        "times": list(map(float, WAYPOINT_TIMES_S)),
        "of": len(dataset.train),
        "samples": samples,
    }
    written = strict_json.dumps(data).replace("<", "\\u003c")  # no text can end the script element
    texts = {"@TITLE@": title, "@HEADLINE@": board.headline, "@LINEAGE@": lineage}
    parts = {mark: html.escape(text) for mark, text in texts.items()} | {"@STEPS@": board.html, "@DATA@": written}
    text = _PAGE.read_text()
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _data_uri(frame: UInt8Array) -> str:
    return "data:image/png;base64," + base64.b64encode(encode(frame)).decode()
