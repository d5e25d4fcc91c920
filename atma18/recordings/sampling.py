"""Samples of a recording: every signal at t, frames at t, t-0.5 s and t-1.0 s, and the six waypoints after t.

A sample is made only where nothing has to be guessed: each signal has a value that is young enough, and neither the
speed, the other continuous signals nor the poses have a gap in the window from t - 1.0 s to t + 3.0 s.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from atma18.recordings.recording import Recording
from atma18.schema import FLAG_SIGNALS, GEAR, TARGETS, WAYPOINT_TIMES_S, BoolArray, FloatArray, IntArray

FRAME_AGES_S: FloatArray = np.array([0.0, 0.5, 1.0])
HISTORY_S, FUTURE_S = float(FRAME_AGES_S[-1]), float(WAYPOINT_TIMES_S[-1])
SCENE_S = 60.0
"""The length of a scene, as in the competition."""
_HELD = (*FLAG_SIGNALS, GEAR)
"""Signals that jump; all others are interpolated."""


@dataclass(frozen=True, eq=False)
class Sampled:
    """M samples of one drive."""

    times_s: FloatArray
    """(M,) ascending, on the drive's clock: moments of frames."""
    frame_rows: IntArray
    """(M, 3) rows of the drive's frames at t, t-0.5 s, t-1.0 s."""
    signals: pd.DataFrame
    """(M, signals) in the units of the schema."""
    waypoints_m: FloatArray
    """(M, 18) metres, vehicle frame at t."""
    left_out: Mapping[str, int]
    """How many moments gave no sample, by the first reason."""

    def take(self, chosen: BoolArray, reason: str) -> Self:
        """Return the chosen samples; the others are left out for this reason."""
        lost = int((~chosen).sum())
        return replace(
            self,
            times_s=self.times_s[chosen],
            frame_rows=self.frame_rows[chosen],
            signals=self.signals[chosen].reset_index(drop=True),
            waypoints_m=self.waypoints_m[chosen],
            left_out=Counter(self.left_out) + Counter({reason: lost}),
        )


def moments(recording: Recording, names: Iterable[str], every_s: float) -> FloatArray:
    """Return the moment of the first frame in each stretch of `every_s`, from the first possible sample on."""
    frames_s = np.empty(0) if recording.frames is None else recording.frames.times_s
    possible = np.logical_and.reduce([there for _, there in _reasons(recording, names, frames_s)])
    if not possible.any():
        return frames_s
    later_s = frames_s[np.argmax(possible) :]
    stretch = np.floor((later_s - later_s[0]) / every_s + 1e-6)
    return later_s[np.flatnonzero(np.diff(stretch, prepend=-1) > 0)]


def _reasons(recording: Recording, names: Iterable[str], times_s: FloatArray) -> Iterator[tuple[str, BoolArray]]:
    """Yield what a sample needs, and at which of the (M,) moments it is there."""
    yield "frames", _frames_at(recording, times_s)[1]
    for name in names:
        yield name, values_at(recording, name, times_s)[1]
    yield "poses", recording.poses.covers(times_s - HISTORY_S, times_s + FUTURE_S)


def sample(recording: Recording, times_s: FloatArray, names: Sequence[str], point_m: float) -> Sampled:
    """Return the samples at those of some moments at which nothing has to be guessed.

    Args:
        recording: a drive with frames.
        times_s: (M,) moments of frames.
        names: the signals that every sample must have.
        point_m: how far in front of the rear axle the point lies whose waypoints are wanted.
    """
    kept, left_out = np.ones(len(times_s), bool), Counter[str]()
    for reason, there in _reasons(recording, names, times_s):
        left_out[f"{reason}: missing, too old or with a gap"] += int((kept & ~there).sum())
        kept &= there
    chosen_s = times_s[kept]
    waypoints_m = np.zeros((len(chosen_s), len(TARGETS)))
    if len(chosen_s):
        waypoints_m = recording.poses.waypoints(chosen_s, point_m).reshape(len(chosen_s), -1)
    signals = {name: values_at(recording, name, chosen_s)[0] for name in names}
    rows, _ = _frames_at(recording, chosen_s)
    return Sampled(chosen_s, rows, pd.DataFrame(signals, index=range(len(chosen_s))), waypoints_m, +left_out)


def values_at(recording: Recording, name: str, times_s: FloatArray) -> tuple[np.ndarray, BoolArray]:
    """Return a signal's (M,) values at some moments, and whether each can be told without a guess."""
    signal = recording.signals[name]
    if name in _HELD:
        return signal.held(times_s)
    values, there = signal.interpolated(times_s)
    return values, there & signal.covers(times_s - HISTORY_S, times_s + FUTURE_S)


def _frames_at(recording: Recording, times_s: FloatArray) -> tuple[IntArray, BoolArray]:
    """Return the (M, 3) rows of the frames nearest to t, t-0.5 s and t-1.0 s, and whether all are near enough."""
    if recording.frames is None or not len(recording.frames.times_s):
        return np.zeros((len(times_s), len(FRAME_AGES_S)), np.int64), np.zeros(len(times_s), bool)
    there_s, wanted_s = recording.frames.times_s, times_s[:, None] - FRAME_AGES_S
    after = np.clip(np.searchsorted(there_s, wanted_s), 1, max(len(there_s) - 1, 1))
    after = np.minimum(after, len(there_s) - 1)
    before = np.maximum(after - 1, 0)
    rows = np.where(there_s[after] - wanted_s < wanted_s - there_s[before], after, before)
    near = np.abs(there_s[rows] - wanted_s) <= recording.frame_tolerance_s
    distinct = (np.diff(rows, axis=1) < 0).all(axis=1)
    return rows.astype(np.int64), np.asarray(near.all(axis=1) & distinct)
