"""Write the samples of one drive: frames that appear together, and rows for the tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atma18.compute.progress import progress
from atma18.recordings.recording import Lens, Recording
from atma18.recordings.sampling import Sampled, moments, sample
from atma18.recordings.scenes import cut
from atma18.recordings.signals import RecordingError
from atma18.recordings.window import Window
from atma18.schema import FLAG_SIGNALS, TARGETS, FloatArray, UInt8Array
from atma18.storage import dataset_files
from atma18.storage.dataset_files import Row

_TIMELINE_POINTS = 600


@dataclass(frozen=True)
class Written:
    """What a drive gave."""

    rows: list[Row]
    scenes: list[dict[str, Any]]
    timeline: dict[str, list[float | None]]
    """Times in seconds since the first frame, speed in m/s and yaw rate in rad/s (None in a gap), times of samples."""
    said: dict[str, Any]
    """Its part of `ingest.json`."""


def write_drive(
    folder: Path, recording: Recording, sha256: str, names: Sequence[str], every_s: float, point: str, window: Window
) -> Written:
    """Write the frames of a drive's samples, and return their rows.

    Args:
        folder: the dataset folder.
        recording: the drive.
        sha256: the digest of its files, which names its scenes.
        names: the signals that every sample must have.
        every_s: seconds between samples.
        point: whose path the waypoints are.
        window: the part of the pictures that becomes frames.
    """
    if recording.frames is None or recording.lens is None:
        raise RecordingError("expected the frames of a moment ago, found none: did the files change?")
    start_s = float(recording.frames.times_s[0])
    point_m = point_of(point, recording.lens)
    sampled = sample(recording, moments(recording, names, every_s), names, point_m)
    sampled, scenes, scene_of = cut(sampled, sha256)
    ids = [scenes[k].sample_id(time_s) for k, time_s in zip(scene_of, sampled.times_s, strict=True)]
    writing = _write_frames(folder, recording, sampled, ids, window)
    complete = set(progress(writing, total=len(ids), desc="write", unit="sample"))
    done = np.array([sample_id in complete for sample_id in ids], bool)
    sampled = sampled.take(done, "their frames cannot be decoded")
    ids = [sample_id for sample_id in ids if sample_id in complete]
    return Written(
        rows=_rows(sampled, ids),
        scenes=[{"scene": scene.name, "starts_at_s": scene.start_s - start_s} for scene in scenes],
        timeline=_timeline(recording, sampled.times_s),
        said={
            "clock": recording.clock,
            "signals": {name: recording.signals[name].origin for name in names},
            "poses": recording.poses.origin,
            "remarks": list(recording.remarks),
            "facts": dict(recording.facts),
            "samples": len(ids),
            "moments_left_out": dict(sampled.left_out),
        },
    )


def point_of(point: str, lens: Lens) -> float:
    """Return how far in front of the rear axle the point lies whose waypoints are written."""
    return lens.forward_m if point == "camera" else 0.0


def _write_frames(
    folder: Path, recording: Recording, sampled: Sampled, ids: Sequence[str], window: Window
) -> Iterator[str]:
    """Write the frames of samples that are not there yet; yield the IDs of those that are complete."""
    places: dict[int, list[tuple[int, int]]] = {}
    for number, sample_id in enumerate(ids):
        if (folder / "images" / sample_id).is_dir():
            yield sample_id
            continue
        for slot, row in enumerate(sampled.frame_rows[number].tolist()):
            places.setdefault(row, []).append((number, slot))
    waiting: dict[int, dict[int, UInt8Array]] = {}
    if recording.frames is None or recording.lens is None or not places:
        return
    for row, picture in recording.frames.read(np.array(sorted(places), np.int64)):
        frame = window.frame(picture, recording.lens)
        for number, slot in places[row]:
            shots = waiting.setdefault(number, {})
            shots[slot] = frame
            if len(shots) == sampled.frame_rows.shape[1]:
                dataset_files.write_frames(folder, ids[number], [shots[k] for k in sorted(shots)])
                del waiting[number]
                yield ids[number]


def _rows(sampled: Sampled, ids: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for number, sample_id in enumerate(ids):
        signals: Row = {
            str(name): bool(column.iloc[number]) if name in FLAG_SIGNALS else column.iloc[number]
            for name, column in sampled.signals.to_dict("series").items()
        }
        rows.append(
            {"ID": sample_id, **signals, **dict(zip(TARGETS, sampled.waypoints_m[number].tolist(), strict=True))}
        )
    return rows


def _timeline(recording: Recording, samples_s: FloatArray) -> dict[str, list[float | None]]:
    """Return speed and yaw rate at even distances, as the poses have them."""
    start_s, end_s = recording.frames.times_s[[0, -1]] if recording.frames is not None else (0.0, 0.0)
    times_s = np.linspace(start_s, end_s, _TIMELINE_POINTS)
    step_s = 0.1
    known = recording.poses.covers(times_s, times_s + step_s)
    speed, turning = np.full((2, len(times_s)), np.nan)
    if known.any():
        here_m, here = recording.poses.at(times_s[known], 0.0)
        there_m, there = recording.poses.at(times_s[known] + step_s, 0.0)
        speed[known] = here.inv().apply(there_m - here_m)[:, 0] / step_s
        turning[known] = (here.inv() * there).as_rotvec()[:, 2] / step_s
    return {
        "time_s": _plain(times_s - start_s),
        "speed_mps": _plain(speed),
        "yaw_rate_radps": _plain(turning),
        "samples_s": _plain(samples_s - start_s),
    }


def _plain(values: FloatArray) -> list[float | None]:
    return [round(value, 4) if np.isfinite(value) else None for value in values.tolist()]
