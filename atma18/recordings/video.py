"""Pictures of videos and folders, decoded forward from the start: no decoder's seek finds a frame reliably.

PyAV 18 and OpenCV 5 both miss frames when they seek (FORMATS: by mean frame rate, from a key frame, or not at all), so
each file is read once from its beginning, and its frames are counted against its packets.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from atma18.recordings.signals import RecordingError, cause
from atma18.schema import FloatArray, IntArray, UInt8Array

_MOST_PIXELS = 2**26


@dataclass(frozen=True)
class Tags:
    """How a video says that its pictures are to be read: range and matrix decide how colours are converted."""

    size_px: tuple[int, int]
    """Width, height, as it is shown."""
    pix_fmt: str
    range: int
    matrix: int
    rotation_deg: int = 0
    """By which a picture is turned when it is shown, counter-clockwise."""

    @classmethod
    def of(cls, picture: Any) -> Self:  # noqa: ANN401 - PyAV's type
        """Read the tags of a decoded picture."""
        width, height = picture.width, picture.height
        size_px = (height, width) if _quarters(picture) % 2 else (width, height)
        matrix = int(picture.colorspace)
        return cls(size_px, picture.format.name, int(picture.color_range), matrix, int(picture.rotation))


def _quarters(picture: Any) -> int:  # noqa: ANN401 - PyAV's type
    """Return by how many quarters a decoded picture is to be turned counter-clockwise; PyAV leaves that to us."""
    return int(round(picture.rotation / 90) % 4)


@dataclass(frozen=True, eq=False)
class Packets:
    """What the packets of a video file tell without being decoded."""

    ticks: IntArray | None
    """(n,) time stamps in the order in which frames are shown; None where a file has none, as raw HEVC."""
    seconds_per_tick: float
    count: int
    tags: "Tags"

    @property
    def times_s(self) -> FloatArray:
        """(n,) on the file's own clock; NaN where it has none."""
        if self.ticks is None:
            return np.full(self.count, np.nan)
        return np.asarray(self.ticks * self.seconds_per_tick)


def packets(path: Path) -> Packets:
    """Read the packets of a video file.

    Raises:
        RecordingError: If it is no video.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = _video_of(container, path)
            found = [packet.pts for packet in container.demux(stream) if packet.size]
            base_s = float(stream.time_base) if stream.time_base else 0.0
    except (av.FFmpegError, OSError) as error:
        raise RecordingError(f"the video: expected one, found something else ({cause(error)})") from error
    first = next(_decoded(path), None)
    if first is None:
        raise RecordingError("the video: expected one, found no picture in it that can be decoded: fetch it again")
    known = [pts for pts in found if pts is not None]
    ticks = np.sort(np.array(known, np.int64)) if known and len(known) == len(found) else None
    return Packets(ticks, base_s, len(found), Tags.of(first))


@dataclass(frozen=True, eq=False)
class Clip:
    """A video file, and the moment of each of its frames in the order in which they are shown."""

    path: Path
    times_s: FloatArray
    """(n,) on the drive's clock; NaN for a frame whose time nobody knows."""
    ticks: IntArray | None
    """(n,) time stamps by which decoded frames are recognised; None if they can only be counted."""


class Video:
    """The frames of several video files, one after the other."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        rows = [(time, clip, row) for clip, one in enumerate(clips) for row, time in enumerate(one.times_s.tolist())]
        known = sorted(row for row in rows if np.isfinite(row[0]))
        self._clips = clips
        self._places = [(clip, row) for _, clip, row in known]
        self._times_s = np.array([time for time, _, _ in known])

    @property
    def times_s(self) -> FloatArray:
        """(F,) ascending, on the drive's clock."""
        return self._times_s

    def read(self, wanted: IntArray) -> Iterator[tuple[int, UInt8Array]]:
        """Yield the ascending wanted rows of `times_s` and their pictures, in this order.

        A frame that cannot be decoded, as those before the first key frame, is left out.
        """
        for number, clip in enumerate(self._clips):
            rows = {self._places[row][1]: row for row in wanted.tolist() if self._places[row][0] == number}
            if rows:
                yield from _wanted_of(clip, rows)


def _wanted_of(clip: Clip, rows: dict[int, int]) -> Iterator[tuple[int, UInt8Array]]:
    """Yield the wanted frames of one file: `rows` has their rows in the drive by their rows in the file."""
    if clip.ticks is None:
        if sum(1 for _ in _decoded(clip.path)) != len(clip.times_s):
            return  # some frame is missing, and nothing tells which
        by_key = dict(rows)
    else:
        by_key = {int(clip.ticks[row]): there for row, there in rows.items()}
    for place, picture in enumerate(_decoded(clip.path)):
        there = by_key.pop(place if clip.ticks is None else picture.pts, None)
        if there is not None:
            yield there, np.rot90(picture.to_ndarray(format="rgb24"), _quarters(picture))
        if not by_key:
            return


def _decoded(path: Path) -> Iterator[Any]:
    """Yield the frames of a video in the order in which they are shown, up to its end or its first damaged place."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = _video_of(container, path)
            stream.thread_type = "AUTO"
            yield from container.decode(stream)
    except av.FFmpegError as error:
        logging.getLogger(__name__).warning("a video is damaged (%s); what comes after is left out", cause(error))


def _video_of(container: Any, path: Path) -> Any:  # noqa: ANN401 - PyAV's types
    if not container.streams.video:
        raise RecordingError("the video: expected one, found no picture in it")
    stream = container.streams.video[0]
    if stream.codec_context.width * stream.codec_context.height > _MOST_PIXELS:
        raise RecordingError(f"expected a picture of a camera, found one of more than {_MOST_PIXELS} px")
    return stream


class Pictures:
    """The frames of a drive that has a file for each."""

    def __init__(self, times_s: FloatArray, paths: Sequence[Path]) -> None:
        order = np.argsort(times_s, kind="stable")
        self._times_s = times_s[order]
        self._paths = [paths[row] for row in order.tolist()]

    @property
    def times_s(self) -> FloatArray:
        """(F,) ascending, on the drive's clock."""
        return self._times_s

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the first picture that can be read."""
        for row in range(len(self._paths) - 1):
            with suppress(RecordingError), self._opened(row) as image:
                return image.size
        with self._opened(len(self._paths) - 1) as image:
            return image.size

    def read(self, wanted: IntArray) -> Iterator[tuple[int, UInt8Array]]:
        """Yield the ascending wanted rows of `times_s` and their pictures, in this order; damaged ones are left out."""
        for row in wanted.tolist():
            try:
                with self._opened(row) as image:
                    picture = np.asarray(image.convert("RGB"))
            except RecordingError as error:
                logging.getLogger(__name__).warning("%s; it is left out", error)
            else:
                yield row, picture

    def _opened(self, row: int) -> Image.Image:
        try:
            image = Image.open(self._paths[row])
            if image.width * image.height <= _MOST_PIXELS:
                image.load()
                return image
        except (OSError, ValueError, SyntaxError) as error:
            raise RecordingError(
                f"picture {row} of the drive: expected a picture, found something else ({cause(error)})"
            ) from error
        raise RecordingError(
            f"picture {row} of the drive: expected that of a camera, found more than {_MOST_PIXELS} px"
        )
