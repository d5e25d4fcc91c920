"""The segments of a route: a minute each, one folder for each, as a device, comma connect or a download leaves them."""

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from atma18.recordings.finding import files
from atma18.recordings.recording import Files

_LOGS = ("rlog.zst", "rlog.bz2", "rlog", "qlog.zst", "qlog.bz2", "qlog")
"""A full log before its summary."""
_VIDEOS = ("qcamera.ts", "fcamera.hevc")
"""The small picture first: the competition's frames are a window of it."""
_SEGMENT = re.compile(r"(?:(?P<route>.+)--)?(?P<number>[0-9]{1,4})")
"""A folder of another name, a date for example, is a route of one segment."""


@dataclass(frozen=True)
class Segment:
    """A minute of a route."""

    number: int
    log: Path
    video: Path | None


@dataclass(frozen=True)
class Route:
    """One drive: its segments in the order in which they were driven."""

    segments: tuple[Segment, ...]

    @property
    def files(self) -> Files:
        """The files that are read."""
        found = {}
        for segment in self.segments:
            for path in (segment.log, segment.video):
                if path is not None:
                    found[f"segment {segment.number}, {_kind(path)}"] = path
        return found


def _kind(path: Path) -> str:
    return next(kind for kind in (*_LOGS, *_VIDEOS) if path.name.endswith(kind))


def find(folder: Path) -> list[Route]:
    """Return the routes in a folder, or the one that it is.

    A segment is a folder named `<route>--<number>` or `<number>`, or files whose names begin `<route>--<number>--`.
    """
    by_segment: dict[tuple[Path, str], dict[str, Path]] = defaultdict(dict)
    for path in files(folder, "*"):
        kind = next((kind for kind in (*_LOGS, *_VIDEOS) if path.name.endswith(kind)), None)
        if kind is not None:
            before = path.name.removesuffix(kind).removesuffix("--")
            place = (path.parent, before) if before else (path.parent.parent, path.parent.name)
            by_segment[place][kind] = path
    routes: dict[tuple[Path, str], list[Segment]] = defaultdict(list)
    for (parent, name), parts in by_segment.items():
        log = next((parts[kind] for kind in _LOGS if kind in parts), None)
        if log is not None:
            match = _SEGMENT.fullmatch(name)
            route, number = (match["route"] or "", int(match["number"])) if match else (name, 0)
            video = next((parts[kind] for kind in _VIDEOS if kind in parts), None)
            routes[parent, route].append(Segment(number, log, video))
    return [Route(tuple(sorted(route, key=lambda segment: segment.number))) for _, route in sorted(routes.items())]
