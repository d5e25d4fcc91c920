"""Write scenes as a dataset folder; the result does not depend on the number of workers, and a write can be resumed."""

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from atma18.compute.progress import progress
from atma18.schema import TARGETS
from atma18.simulate.lamps import detections
from atma18.simulate.rendering import render
from atma18.simulate.scenes import SPLITS, Sample, Scene, draw_scene, scene_sizes
from atma18.storage import dataset_files, unfinished
from atma18.storage.dataset_files import Row
from atma18.storage.digests import sha256_of_records

_SCENES_PER_TASK = 8


@dataclass(frozen=True)
class Plan:
    """The numbers of scenes and the seed; the same plan gives the same folder."""

    train_scenes: int
    test_scenes: int
    seed: int

    def __post_init__(self) -> None:
        if min(self.train_scenes, self.test_scenes) < 1:
            raise ValueError(
                f"expected at least 1 scene per split, found {self.train_scenes} and {self.test_scenes}: ask for more"
            )

    def scenes(self) -> list["Task"]:
        """Return the task of each scene."""
        counts = {"train": self.train_scenes, "test": self.test_scenes}
        return [
            Task(self.seed, split, index, size)
            for split, count in counts.items()
            for index, size in enumerate(scene_sizes(split, count, self.seed).tolist())
        ]


@dataclass(frozen=True)
class Task:
    """The arguments of `draw_scene` for one scene."""

    seed: int
    split: str
    index: int
    size: int


def source_sha256() -> str:
    """Return the SHA-256 of the simulator's code and of what it uses of others."""
    here = Path(__file__).parent
    used = ("geometry/camera.py", "storage/dataset_files.py", "schema.py")
    sources = [*sorted(here.glob("*.py")), *(here.parent / name for name in used)]
    return sha256_of_records([[source.read_bytes() for source in sources]])


def write_drives(out: Path, plan: Plan, workers: int = 1) -> None:
    """Write a dataset folder with the published files, and `test_targets.csv` with the withheld targets.

    The folder gets its name when it is complete. An interrupted call leaves `.<name>.partial`: the next call with the
    same plan resumes it, and a call with another plan deletes it.

    Raises:
        ValueError: If `out` already exists.
    """
    with unfinished.folder_of(out, asdict(plan) | {"source_sha256": source_sha256()}) as folder:
        write_folder(folder, plan, workers)


def write_folder(folder: Path, plan: Plan, workers: int = 1) -> None:
    """Write scenes and tables into a folder; scenes that exist already are kept."""
    folder.mkdir(exist_ok=True)
    tasks = plan.scenes()
    chunks = [tasks[start : start + _SCENES_PER_TASK] for start in range(0, len(tasks), _SCENES_PER_TASK)]
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    with (
        mapper(workers) as run,
        progress(total=len(tasks), desc="simulate", unit="scene") as bar,
    ):
        for chunk, written in zip(chunks, run(partial(_write_scenes, folder), chunks), strict=True):
            for task, samples in zip(chunk, written, strict=True):
                rows[task.split].extend(samples)
            bar.update(len(chunk))
    dataset_files.write_tables(folder, rows)


@contextmanager
def mapper(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a `map` over worker processes that keeps the order of results; one worker means this process."""
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:  # a fork of a process with threads may deadlock
        yield pool.map


def _write_scenes(folder: Path, tasks: list[Task]) -> list[list[Row]]:
    """Write a few scenes and return their rows."""
    return [_write_scene(folder, draw_scene(task.seed, task.split, task.index, task.size)) for task in tasks]


def _write_scene(folder: Path, scene: Scene) -> list[Row]:
    last = folder / "traffic_lights" / f"{scene.samples[-1].sample_id}.json"
    if not last.exists():  # the last file of a scene
        for sample, frames in zip(scene.samples, render(scene), strict=True):
            dataset_files.write_frames(folder, sample.sample_id, frames)
            _write_lights(folder / "traffic_lights" / f"{sample.sample_id}.json", scene, sample)
    return [row(sample) for sample in scene.samples]


def row(sample: Sample) -> Row:
    """Return ID, signals and targets of a sample."""
    targets = dict(zip(TARGETS, sample.targets_m.tolist(), strict=True))
    return {"ID": sample.sample_id, **sample.signals, **targets}


def _write_lights(file: Path, scene: Scene, sample: Sample) -> None:
    lights = [{"index": i, "class": name, "bbox": box} for i, (name, box) in enumerate(detections(scene, sample.step))]
    file.parent.mkdir(exist_ok=True)
    unfinished = file.with_suffix(".unfinished")  # a resumed write trusts complete files
    unfinished.write_text(json.dumps(lights), encoding="utf-8")
    unfinished.replace(file)
