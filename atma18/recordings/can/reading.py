"""A CAN log with its video as a recording, as its TOML file says."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from atma18.recordings import video
from atma18.recordings.can import decoding, satellite
from atma18.recordings.can.mapping import Plan, PoseTable, as_list, read_plan
from atma18.recordings.finding import files
from atma18.recordings.poses import Poses, dead_reckoned
from atma18.recordings.recording import Files, Lens, Recording
from atma18.recordings.signals import UNSIGNED, RecordingError, Signal, signed
from atma18.schema import GEAR, FloatArray, first_few
from atma18.storage import csv_tables

_MOST_TOLERANCE_S = 0.06


@dataclass(frozen=True)
class CanDrive:
    """One drive: its TOML file."""

    path: Path

    @property
    def files(self) -> Files:
        """The files that are read."""
        plan = read_plan(self.path)
        logs, dbcs = as_list(plan.log), as_list(plan.dbc)
        found = {"toml": self.path}
        found |= {f"log {number}": self.path.parent / name for number, name in enumerate(logs, start=1)}
        found |= {f"dbc {number}": self.path.parent / name for number, name in enumerate(dbcs, start=1)}
        if plan.poses is not None:
            found["poses"] = self.path.parent / plan.poses.csv
        if plan.video is not None:
            found["video"] = self.path.parent / plan.video.file
        return {name: path for name, path in found.items() if path.is_file()}


def find(folder: Path) -> list[CanDrive]:
    """Return the TOML files in a folder, or the one that it is."""
    return [CanDrive(folder)] if folder.is_file() else [CanDrive(path) for path in files(folder, "[!.]*.toml")]


def read(drive: CanDrive) -> Recording:
    """Read a drive.

    Raises:
        RecordingError: If one of its files is missing or is something else than the TOML file says.
    """
    plan, folder, problems = read_plan(drive.path), drive.path.parent, Counter[str]()
    dbc, remarks = decoding.database([folder / name for name in as_list(plan.dbc)])
    logs = [folder / name for name in as_list(plan.log)]
    found = decoding.decode(logs, dbc, plan.wanted, plan.clock_offset_s, problems)
    if GEAR in found:
        found["vEgo"], unsigned = signed(found["vEgo"], found[GEAR])
        remarks += [UNSIGNED] * unsigned
    film, tags = _film(plan, folder)
    if film is not None:
        _check_clocks(film.times_s, found["vEgo"].times_s)
    poses = _poses(plan, found, folder, problems)
    if plan.gnss is not None:
        remarks += satellite.speed_remark(poses, found["vEgo"])
    return Recording(
        signals={name: found[name] for name in plan.signals},
        poses=poses,
        frames=film,
        lens=_lens(plan, tags),
        clock="the log's own times, with clock_offset_s",
        frame_tolerance_s=_tolerance_s(film),
        remarks=tuple(remarks),
        facts={"problems": dict(+problems), "video": tags and asdict(tags)},
    )


def _poses(plan: Plan, found: Mapping[str, Signal], folder: Path, problems: Counter[str]) -> Poses:
    if plan.yaw_rate is not None:
        return dead_reckoned(found["vEgo"], found["yaw_rate"])
    if plan.poses is not None:
        return _table(plan.poses, folder / plan.poses.csv)
    return satellite.poses(found, plan.gnss.oldest_s if plan.gnss else 0.0, problems)


def _table(named: PoseTable, path: Path) -> Poses:
    if not path.is_file():
        raise RecordingError("the poses: expected a table, found none: check `poses.csv`")
    table = csv_tables.parse(path.read_bytes(), "the poses")
    wanted = ("t", "x", "y", "z", "yaw")
    if missing := [name for name in wanted if name not in table]:
        raise RecordingError(f"the poses: expected the columns {', '.join(wanted)}, found no {first_few(missing)}")
    numbers = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in wanted}
    if bad := [name for name, values in numbers.items() if not np.isfinite(values).all()]:
        raise RecordingError(f"the poses: expected numbers in every row, found others in {first_few(bad)}")
    places_m: FloatArray = np.stack([numbers[name] for name in ("x", "y", "z")], axis=1)
    axes = Rotation.from_euler("z", numbers["yaw"][:, None]).as_matrix()
    return Poses(numbers["t"] + named.offset_s, places_m, axes, "a table of poses", oldest_s=named.oldest_s)


def _film(plan: Plan, folder: Path) -> tuple[video.Video | None, video.Tags | None]:
    if plan.video is None:
        return None, None
    path = folder / plan.video.file
    packets = video.packets(path)
    if packets.ticks is None:
        raise RecordingError("the video: expected one that has times, found raw frames: put it into a container")
    return video.Video([video.Clip(path, packets.times_s + plan.video.offset_s, packets.ticks)]), packets.tags


def _tolerance_s(film: video.Video | None) -> float:
    """Return a bit more than half of the usual time between two frames, but no more than is right for 10 a second."""
    if film is None or len(film.times_s) < 2:
        return 0.0
    return min(0.55 * float(np.median(np.diff(film.times_s))), _MOST_TOLERANCE_S)


def _check_clocks(frames_s: FloatArray, signals_s: FloatArray) -> None:
    """Refuse a video and a log that have no moment in common."""
    if len(frames_s) and len(signals_s) and (frames_s[-1] < signals_s[0] or signals_s[-1] < frames_s[0]):
        raise RecordingError(
            f"expected a video and a log of the same moments, found the video from {frames_s[0]:.1f} to "
            f"{frames_s[-1]:.1f} s and the log from {signals_s[0]:.1f} to {signals_s[-1]:.1f} s: set `offset_s`"
        )


def _lens(plan: Plan, tags: video.Tags | None) -> Lens | None:
    if plan.camera is None or tags is None:
        return None
    place = plan.camera
    return Lens(place.focal_px, place.ahead_px, tags.size_px, place.height_m, place.forward_m, place.left_m)
