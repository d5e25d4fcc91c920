"""Simulated drives in the competition's layout, from a world simple enough to check by hand.

What happens next depends on what the CAN signals say (speed, acceleration, present curvature), on what only the frames
show (the bend ahead, the lead car, the traffic light, the place in the lane), and on what nobody can know. Speeds,
signals, scene sizes and noise follow the published statistics of the competition's data.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from PIL import Image
from tqdm import tqdm

from atma18.schema import FRAME_FILES, FRAME_HEIGHT_PX, FRAME_WIDTH_PX, GEAR, TARGETS, UInt8Array
from atma18.simulate.rendering import Box, lamp_boxes, render
from atma18.simulate.scenes import SPLITS, Sample, Scene, draw_scene, scene_sizes

__all__ = [
    "DEMO_SEED",
    "DEMO_TEST_SCENES",
    "DEMO_TRAIN_SCENES",
    "FEATURE_COLUMNS",
    "draw_scene",
    "render",
    "scene_sizes",
    "write_drives",
]

DEMO_TRAIN_SCENES = 150
DEMO_TEST_SCENES = 40
DEMO_SEED = 0

FEATURE_COLUMNS = (
    *("ID", "vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "brakePressed", "gas", "gasPressed"),
    *(GEAR, "leftBlinker", "rightBlinker"),
)
"""The columns of `test_features.csv` in the published order; `train_features.csv` goes on with the targets."""


def write_drives(out: Path, train_scenes: int, test_scenes: int, seed: int) -> None:
    """Write a dataset folder, and `test_targets.csv` with the withheld targets beside the published files.

    The folder gets its name when it is complete: whatever ends the work early leaves nothing under it.

    Raises:
        FileExistsError: If something is already there.
        ValueError: If a split would have no scene.
    """
    if min(train_scenes, test_scenes) < 1:
        raise ValueError(f"expected at least 1 scene per split, found {train_scenes} and {test_scenes}")
    if out.exists():
        raise FileExistsError(f"expected nothing at {out}, found a {'folder' if out.is_dir() else 'file'}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as work:
        folder = Path(work) / out.name
        folder.mkdir()
        _write_folder(folder, {"train": train_scenes, "test": test_scenes}, seed)
        folder.rename(out)


def _write_folder(folder: Path, scenes: dict[str, int], seed: int) -> None:
    written: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    with tqdm(total=sum(scenes.values()), desc="simulate", unit="scene", disable=None) as progress:
        for split, scene in _draw(scenes, seed):
            _write_scene(folder, scene)
            written[split].extend(scene.samples)
            progress.update()
    train, test = _table(written["train"]), _table(written["test"])
    train.to_csv(folder / "train_features.csv", index=False)
    test[list(FEATURE_COLUMNS)].to_csv(folder / "test_features.csv", index=False)
    test[["ID", *TARGETS]].to_csv(folder / "test_targets.csv", index=False)


def _draw(scenes: dict[str, int], seed: int) -> Iterator[tuple[str, Scene]]:
    for split, count in scenes.items():
        for index, size in enumerate(scene_sizes(split, count, seed).tolist()):
            yield split, draw_scene(seed, split, index, size)


def _table(samples: list[Sample]) -> pd.DataFrame:
    rows = [
        {"ID": sample.sample_id, **sample.signals, **dict(zip(TARGETS, sample.targets_m.tolist(), strict=True))}
        for sample in samples
    ]
    return pd.DataFrame(rows, columns=[*FEATURE_COLUMNS, *TARGETS]).sort_values("ID", ignore_index=True)


def _write_scene(folder: Path, scene: Scene) -> None:
    for sample, frames in zip(scene.samples, render(scene), strict=True):
        _write_frames(folder / "images" / sample.sample_id, frames)
        boxes = lamp_boxes(scene.road, sample.moment, seconds_ago=0.0)
        lights = [{"index": index, "class": colour, "bbox": _inside(box)} for index, (colour, box) in enumerate(boxes)]
        file = folder / "traffic_lights" / f"{sample.sample_id}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(lights), encoding="utf-8")


def _write_frames(folder: Path, frames: UInt8Array) -> None:
    folder.mkdir(parents=True)
    for name, frame in zip(FRAME_FILES, frames, strict=True):
        Image.fromarray(frame).save(folder / name, compress_level=1)


def _inside(box: Box) -> list[float]:
    limits = (FRAME_WIDTH_PX, FRAME_HEIGHT_PX) * 2
    return [min(max(edge, 0.0), float(limit)) for edge, limit in zip(box, limits, strict=True)]
