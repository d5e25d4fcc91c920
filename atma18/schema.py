"""Names, units and shapes that all modules share, and the samples that they describe."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atma18.quoting import first_few as first_few
from atma18.quoting import one_line as one_line
from atma18.quoting import shown as shown

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
StrArray = NDArray[np.str_]
UInt8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]

SPLITS = ("test", "train")

WAYPOINT_TIMES_S: FloatArray = np.linspace(0.5, 3.0, 6)  # t+0.5 … t+3.0 s
AXES = ("x", "y", "z")  # forward, left, vertical in the vehicle frame at t
TARGETS = tuple(f"{axis}_{k}" for k in range(len(WAYPOINT_TIMES_S)) for axis in AXES)

NUMERIC_SIGNALS = ("vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "gas")
FLAG_SIGNALS = ("brakePressed", "gasPressed", "leftBlinker", "rightBlinker")
CAN_SIGNALS = (*NUMERIC_SIGNALS, *FLAG_SIGNALS)
"""In m/s, m/s², degrees of the steering wheel and N·m (raw units; positive to the left), 0–1, 0–1, then flags 0/1."""
GEAR = "gearShifter"
GEARS = ("drive", "park", "neutral", "reverse", "unknown")
DRIVE_MODES = ("sport", "low", "brake", "eco", "manumatic")
"""Openpilot's other names of a gear in which a car drives forward; `brake` is the engine's, for long descents."""
GEAR_WORDS = {
    **{name: name for name in GEARS},
    **dict.fromkeys(DRIVE_MODES, "drive"),
    **{name[0]: name for name in ("park", "reverse", "neutral", "drive")},
}
"""One of `GEARS` by every word for it, in small letters."""
"""`unknown` is what a car sends while it shifts; it is a value, unlike an empty cell."""
ALWAYS_PRESENT = "vEgo"

FRAME_FILES = ("image_t.png", "image_t-0.5.png", "image_t-1.0.png")  # at t, t-0.5 s, t-1.0 s
FRAME_HEIGHT_PX, FRAME_WIDTH_PX = 64, 128
FRAME_SHAPE = (len(FRAME_FILES), FRAME_HEIGHT_PX, FRAME_WIDTH_PX, 3)

LIGHT_CLASSES = ("green", "red", "yellow", "empty", "straight", "left", "right", "other")
Detection = tuple[str, tuple[float, float, float, float]]
"""A traffic light's class and its box x1, y1, x2, y2 in pixels."""
LIGHT_BOX = ("x1_px", "y1_px", "x2_px", "y2_px")

OUTSIDE = "outside_training_range"
"""The column of an answer with the signals of a sample that lie outside what the model was trained on."""

LARGEST_SIGNAL = 1e6  # larger than any speed, angle, torque or distance in three seconds, in any unit

LONGEST_ID = 200  # it names files
_ID = re.compile(r"(?P<scene>[0-9A-Za-z][0-9A-Za-z_-]*)_(?P<decisecond>0|[1-9][0-9]{0,8})")


def is_id(text: str) -> bool:
    """Return whether a text is a valid ID, which is safe as a file name and has one order."""
    return len(text) <= LONGEST_ID and _ID.fullmatch(text) is not None


def split_id(sample_id: str) -> tuple[str, int]:
    """Split `<scene>_<decisecond>` into the scene and the time in tenths of a second.

    Raises:
        ValueError: If the ID has another form.
    """
    match = _ID.fullmatch(sample_id)
    if match is None or len(sample_id) > LONGEST_ID:
        raise ValueError(f"expected an ID like <scene>_<decisecond>, for example 0a7d_320, found {shown(sample_id)}")
    return match["scene"], int(match["decisecond"])


def repeated(ids: Iterable[object]) -> list[str]:
    """Return each value that occurs more than once, sorted."""
    return sorted(value for value, count in Counter(map(str, ids)).items() if count > 1)


def rows_of(wanted: StrArray, have: StrArray, what: str) -> IntArray:
    """Find the row of each wanted ID; every join of the project uses this function.

    Args:
        wanted: (N,) IDs.
        have: (N,) IDs of the joined table, in any order.
        what: the table's name, for messages.

    Returns:
        (N,) row of `have` for each of `wanted`.

    Raises:
        ValueError: If an ID is repeated, missing or extra; the message names the first ones.
    """
    problems = {
        "repeated": repeated(have),
        "missing": sorted(set(wanted.tolist()) - set(have.tolist())),
        "extra": sorted(set(have.tolist()) - set(wanted.tolist())),
    }
    found = "; ".join(f"{kind}: {first_few(ids)}" for kind, ids in problems.items() if ids)
    if found:
        raise ValueError(f"{what}: expected each of {len(wanted)} IDs once, found {len(have)} rows, {found}")
    return pd.Index(have).get_indexer(pd.Index(wanted)).astype(np.int64)


class FrameCamera(Protocol):
    """The camera of frames; `geometry.camera.Camera` is one."""

    @property
    def intrinsics_px(self) -> FloatArray:
        """(3, 3) pixels of an image of `image_size_px`."""

    @property
    def image_size_px(self) -> tuple[int, int]:
        """Width, height."""

    @property
    def position_m(self) -> FloatArray:
        """(3,) metres in the vehicle frame."""

    @property
    def height_above_road_m(self) -> float:
        """Metres."""

    def project(self, waypoints_m: FloatArray) -> FloatArray:
        """Return the (..., 2) pixels of (..., 3) points in metres, vehicle frame; NaN for points behind the camera."""

    def to_json_dict(self) -> dict[str, Any]:
        """Return the content of a `camera.json`."""


@dataclass(frozen=True)
class FrameRows:
    """The frames of N samples as rows of a larger array, usually memory-mapped; they are read only when indexed."""

    store: UInt8Array
    """(…, 3, 64, 128, 3) RGB at t, t-0.5 s, t-1.0 s."""
    rows: IntArray
    """(N,) rows of `store`."""
    mirrored: bool = False
    """Whether left and right are exchanged on reading."""
    camera: FrameCamera | None = None
    """The camera, if the dataset names it."""

    @classmethod
    def of(cls, frames: UInt8Array, camera: FrameCamera | None = None) -> Self:
        """Take all frames of an array (N, 3, 64, 128, 3)."""
        return cls(frames, np.arange(len(frames)), camera=camera)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, 64, 128, 3)."""
        return (len(self.rows), *self.store.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: slice | IntArray) -> UInt8Array:
        pixels = self.pixels_first(self.store)[self.rows[index]]  # whole rows in their memory layout
        return self.frames_first(np.ascontiguousarray(pixels[:, :, ::-1]) if self.mirrored else pixels)

    @staticmethod
    def pixels_first(frames: UInt8Array) -> UInt8Array:
        """View (…, 3, H, W, 3) frames as (…, H, W, 3, 3): the colours of three frames inside each pixel."""
        return np.moveaxis(frames, -4, -2)

    @staticmethod
    def frames_first(pixels: UInt8Array) -> UInt8Array:
        """View (…, H, W, 3, 3) as (…, 3, H, W, 3)."""
        return np.moveaxis(pixels, -2, -4)

    def flipped(self) -> Self:
        """Return the frames with left and right exchanged, without reading them."""
        return replace(self, mirrored=not self.mirrored)

    def take(self, rows: IntArray) -> Self:
        """Return the frames of these samples without reading them."""
        return replace(self, rows=self.rows[rows])


@dataclass(frozen=True)
class Samples:
    """N samples in canonical order: by scene, and by time within a scene.

    A sensor that the dataset does not have is absent: it has no column in `signals`, or `gear` or `lights` is None.
    """

    ids: StrArray
    """(N,) `<scene>_<decisecond>`, unique."""
    signals: pd.DataFrame
    """(N, present CAN signals) float64, in the units of `CAN_SIGNALS`; flags are 0 or 1."""
    gear: StrArray | None
    """(N,) one of `GEARS`."""
    traffic_lights: pd.DataFrame | None
    """One row per detection: ID, class (of `LIGHT_CLASSES`), x1_px, y1_px, x2_px, y2_px."""
    frames: FrameRows
    """(N, 3, 64, 128, 3) RGB at t, t-0.5 s, t-1.0 s."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        if len(self.signals) != n or self.frames.shape != (n, *FRAME_SHAPE):
            raise ValueError(
                f"expected {n} rows of signals and frames of shape {(n, *FRAME_SHAPE)}, "
                f"found {len(self.signals)} rows and {self.frames.shape}"
            )
        if again := repeated(self.ids):
            raise ValueError(f"expected each sample once, found repeated: {first_few(again)}")
        if not np.array_equal(canonical_order(self.ids), np.arange(n)):
            raise ValueError("expected samples sorted by scene and time; sort with canonical_order first")

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def scenes(self) -> StrArray:
        """(N,) the scene of each sample."""
        return np.array([split_id(i)[0] for i in self.ids.tolist()], dtype=np.str_)

    @cached_property
    def deciseconds(self) -> IntArray:
        """(N,) the time of each sample since the start of its scene, in tenths of a second."""
        return np.array([split_id(i)[1] for i in self.ids.tolist()], dtype=np.int64)

    @cached_property
    def scene_sizes(self) -> IntArray:
        """(N,) the number of samples in each sample's scene."""
        _, inverse, counts = np.unique(self.scenes, return_inverse=True, return_counts=True)
        return np.asarray(counts[inverse], dtype=np.int64)

    def take(self, rows: IntArray) -> Self:
        """Return the samples at these rows, which must be ascending."""
        ids = self.ids[rows]
        return replace(
            self,
            ids=ids,
            signals=self.signals.iloc[rows].reset_index(drop=True),
            gear=None if self.gear is None else self.gear[rows],
            traffic_lights=None
            if self.traffic_lights is None
            else self.traffic_lights[self.traffic_lights["ID"].isin(ids.tolist())],
            frames=self.frames.take(rows),
        )


def canonical_order(ids: Sequence[str] | StrArray) -> IntArray:
    """Return the (N,) order that sorts IDs by scene and, inside a scene, by *integer* decisecond."""
    parts = [split_id(str(i)) for i in ids]
    return np.array(sorted(range(len(parts)), key=parts.__getitem__), dtype=np.int64)
