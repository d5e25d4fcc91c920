"""What a recorded drive holds: signals, poses and frames, each on its own clock, and the lens that saw the frames."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from atma18.recordings.poses import Poses
from atma18.recordings.signals import Signal
from atma18.schema import FloatArray, IntArray, UInt8Array

Files = Mapping[str, Path | tuple[Path, ...]]
"""Files, or several of one kind, by what they are, in words that name no place, car or person."""
PICTURES = ("qcamera.ts", "fcamera.hevc", "video.hevc", "video", "pictures", "image_02/data")
"""What the names of files with pictures end with."""


class Frames(Protocol):
    """The pictures of a drive, decoded only when they are asked for."""

    @property
    def times_s(self) -> FloatArray:
        """(F,) ascending, on the drive's clock."""

    def read(self, wanted: IntArray) -> Iterator[tuple[int, UInt8Array]]:
        """Yield the ascending wanted rows of `times_s` and their (height, width, 3) RGB pictures, in this order."""


@dataclass(frozen=True)
class Lens:
    """A camera without distortion, whose picture is described from the vehicle's point of view."""

    focal_px: tuple[float, float]
    """Focal lengths to the right and down."""
    ahead_px: tuple[float, float]
    """Right and down: where the picture shows what lies far ahead in the vehicle's x direction."""
    size_px: tuple[int, int]
    """Width, height."""
    height_m: float
    """Above the road."""
    forward_m: float
    """How far it rides in front of the rear axle."""
    left_m: float = 0.0
    """How far it is mounted to the left of the middle of the car."""

    @classmethod
    def middle(cls, lenses: Sequence[Self]) -> Self:
        """Return the median of some lenses, number by number; the size is that of the first."""
        numbers = np.array(
            [[*lens.focal_px, *lens.ahead_px, lens.height_m, lens.forward_m, lens.left_m] for lens in lenses]
        )
        right_px, down_px, ahead_right_px, ahead_down_px, height_m, forward_m, left_m = np.median(
            numbers, axis=0
        ).tolist()
        return cls((right_px, down_px), (ahead_right_px, ahead_down_px), lenses[0].size_px, height_m, forward_m, left_m)


@dataclass(frozen=True, eq=False)
class Recording:
    """One drive, read: what is missing in it is missing here."""

    signals: Mapping[str, Signal]
    """By the schema's names."""
    poses: Poses
    frames: Frames | None
    lens: Lens | None
    clock: str
    """What the times count from."""
    frame_tolerance_s: float = 0.03
    """A frame this far from t - 0.5 s is taken for it."""
    remarks: tuple[str, ...] = ()
    """What a user should know of how it was read."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Versions, counts and the tags of videos, as plain JSON."""
