"""Many simulated samples as tables, without their frames, and the content that those frames would show."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from atma18 import simulate
from atma18.compute.progress import progress
from atma18.features import feature_table
from atma18.schema import (
    CAN_SIGNALS,
    FRAME_SHAPE,
    GEAR,
    TARGETS,
    FloatArray,
    FrameRows,
    Samples,
    StrArray,
    canonical_order,
    split_id,
)
from atma18.simulate.driving import START_S, STEP_S
from atma18.simulate.lamps import FARTHEST_M
from atma18.simulate.rendering import BRAKE_LIGHTS_MPS2
from atma18.storage.dataset_files import Row

PREVIEW_M = (5, 10, 15, 20, 30, 45, 60, 80)
"""How far ahead the road is looked at."""


@dataclass(frozen=True)
class Drives:
    """Simulated samples."""

    tables: dict[str, pd.DataFrame]
    """Per split: ID, signals and targets in canonical order."""
    hidden: dict[str, pd.DataFrame]
    """Per split: what only the frames show, rows as in its table."""
    boxes: pd.DataFrame
    """ID and class of each traffic light that is detected in either split."""

    @classmethod
    def draw(cls, plan: simulate.Plan, workers: int) -> "Drives":
        """Draw a plan's scenes; no frame is rendered."""
        tasks = plan.scenes()
        with simulate.mapper(workers) as run:
            drawn = list(progress(run(_draw, tasks), total=len(tasks), desc="draw", unit="scene"))
        of_split = {
            split: [s for t, s in zip(tasks, drawn, strict=True) if t.split == split] for split in simulate.SPLITS
        }
        tables = {split: _in_order(s.rows for s in scenes) for split, scenes in of_split.items()}
        hidden = {
            split: _in_order(s.hidden for s in scenes).drop(columns="ID").astype(np.float64)
            for split, scenes in of_split.items()
        }
        boxes = pd.DataFrame([box for scene in drawn for box in scene.boxes], columns=["ID", "class"])
        return cls(tables, hidden, boxes)

    @property
    def scenes(self) -> StrArray:
        """(N,) the scene of each training sample."""
        return np.array([split_id(i)[0] for i in self.tables["train"]["ID"]])

    @property
    def targets_m(self) -> FloatArray:
        """(N, 18) of the training samples."""
        return self.tables["train"][list(TARGETS)].to_numpy(np.float64)

    def can(self) -> pd.DataFrame:
        """Return the CAN signals of the training samples as numbers."""
        return self.tables["train"][list(CAN_SIGNALS)].astype(np.float64)

    def with_scene(self) -> pd.DataFrame:
        """Return CAN signals, scene statistics and neighbours of the training samples: what gbdt reads of them."""
        table = self.tables["train"]
        frames = np.broadcast_to(np.zeros(1, np.uint8), (len(table), *FRAME_SHAPE))
        gear = table[GEAR].to_numpy(dtype=np.str_)
        samples = Samples(table["ID"].to_numpy(dtype=np.str_), self.can(), gear, None, FrameRows.of(frames))
        return feature_table(samples, None, None, {}, cells=0, causal=False)


@dataclass(frozen=True)
class _Drawn:
    rows: list[Row]
    hidden: list[Row]
    boxes: list[tuple[str, str]]


def _draw(task: simulate.Task) -> _Drawn:
    scene = simulate.draw_scene(task.seed, task.split, task.index, task.size)
    return _Drawn(
        [simulate.row(sample) for sample in scene.samples],
        [{"ID": sample.sample_id, **hidden_state(scene, sample.step)} for sample in scene.samples],
        [(s.sample_id, name) for s in scene.samples for name, _ in simulate.detections(scene, s.step)],
    )


def _in_order(scenes: Iterable[list[Row]]) -> pd.DataFrame:
    table = pd.DataFrame([row for rows in scenes for row in rows])
    return table.iloc[canonical_order(table["ID"].tolist())].reset_index(drop=True)


def hidden_state(scene: simulate.Scene, step: int) -> dict[str, float]:
    """Return what the frames show of a step and no signal tells: the road, the car in front, the light."""
    return dict([*_road(scene, step), *_lead(scene.drive, step), *_light(scene.drive, step)])


def _road(scene: simulate.Scene, step: int) -> Iterator[tuple[str, float]]:
    driven, view = scene.drive, simulate.View.of(scene, step)
    ahead_m = np.array(PREVIEW_M)
    left_m = view.local(driven.route.centreline.poses(view.along_m + ahead_m))[:, 1]
    for at_m, left, rise in zip(PREVIEW_M, left_m.tolist(), view.rise_m(ahead_m).tolist(), strict=True):
        yield f"road_left_at_{at_m}_m", left
        yield f"road_rise_at_{at_m}_m", rise
    yield "left_of_lane_m", float(driven.left_m[step])
    yield "heading_rad", float(driven.heading_rad[step])
    yield "pitch_rad", view.pitch_rad


def _lead(driven: simulate.Drive, step: int) -> Iterator[tuple[str, float]]:
    yield "lead_gap_m", float(driven.gaps_m[step])
    yield "lead_speed_mps", float(driven.lead_speed_mps[step])
    brakes = float(driven.lead_demand_mps2[step] < BRAKE_LIGHTS_MPS2)
    yield "lead_brakes", brakes if driven.has_lead else np.nan


def _light(driven: simulate.Drive, step: int) -> Iterator[tuple[str, float]]:
    along_m = float(driven.along_m[step])
    seen = [light for light in driven.route.lights if 0 < light.stop_m - along_m < FARTHEST_M]
    yield "light_stop_m", seen[0].stop_m - along_m if seen else np.nan
    yield "light_lets_go", float(seen[0].lets_go(START_S + step * STEP_S)) if seen else np.nan
