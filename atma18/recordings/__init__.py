"""Drives that somebody recorded become a dataset folder.

A source is a module with two functions: `find` lists the drives in a folder, each a small handle that knows its files,
and `read` turns one into a `Recording`: signals, poses and frames, each on its own clock. `sampling` makes samples of
it, `window` frames, and `ingest` the folder. A new source is one module, and one line in
`SOURCES` and in `steps/ingest.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from atma18.recordings import can, comma2k19, kitti, nuscenes, openpilot
from atma18.recordings.recording import Files, Recording


class Drive(Protocol):
    """One drive that a source has found."""

    @property
    def files(self) -> Files:
        """The files that are read."""


@dataclass(frozen=True)
class Source:
    """A kind of recordings."""

    find: Callable[[Path], Sequence[Drive]]
    read: Callable[[Any], Recording]


SOURCES: Mapping[str, Source] = {
    "can": Source(can.find, can.read),
    "comma2k19": Source(comma2k19.find, comma2k19.read),
    "kitti": Source(kitti.find, kitti.read),
    "nuscenes": Source(nuscenes.find, nuscenes.read),
    "openpilot": Source(openpilot.find, openpilot.read),
}

__all__ = ["SOURCES", "Drive", "Recording", "Source"]
