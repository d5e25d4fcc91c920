"""Scenes: a drive is cut into minutes, and whole minutes go to training or to test.

Folds keep a scene whole, so two scenes must not know each other's frames: a sample whose window from t - 1.0 s to
t + 3.0 s reaches into another scene is left out. Scenes are named by the content of their recording, which tells nobody
who drove where, and which is the same wherever the files lie.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atma18.recordings.sampling import FUTURE_S, HISTORY_S, SCENE_S, Sampled
from atma18.schema import IntArray, split_id


@dataclass(frozen=True)
class Scene:
    """A minute of a drive."""

    name: str
    start_s: float
    """On the drive's clock."""

    def sample_id(self, time_s: float) -> str:
        """Return the ID of the sample at a moment of this scene."""
        return f"{self.name}_{round((time_s - self.start_s) * 10)}"


def cut(sampled: Sampled, drive_sha256: str) -> tuple[Sampled, list[Scene], IntArray]:
    """Cut a drive into scenes.

    Args:
        sampled: the samples of a drive.
        drive_sha256: the digest of its files.

    Returns:
        The samples that lie in one scene with their whole window, the scenes that have samples, and the (M,) scene of
        each sample.
    """
    if not len(sampled.times_s):
        return sampled, [], np.empty(0, np.int64)
    start_s = sampled.times_s[0] - HISTORY_S
    first = np.floor((sampled.times_s - HISTORY_S - start_s) / SCENE_S + 1e-9)
    last = np.floor((sampled.times_s + FUTURE_S - start_s) / SCENE_S - 1e-9)
    inside = first == last
    sampled = sampled.take(inside, "their window reaches into the next scene")
    numbers, scene_of = np.unique(first[inside].astype(np.int64), return_inverse=True)
    scenes = [
        Scene(hashlib.sha256(f"{drive_sha256} {number}".encode()).hexdigest()[:32], start_s + number * SCENE_S)
        for number in numbers.tolist()
    ]
    ids = [scenes[k].sample_id(time_s) for k, time_s in zip(scene_of, sampled.times_s, strict=True)]
    own = np.zeros(len(ids), bool)
    own[np.unique(ids, return_index=True)[1]] = True
    return sampled.take(own, "less than 0.1 s after the one before"), scenes, scene_of[own]


def split_of(ids: Sequence[str], share: float) -> list[str]:
    """Return `train` or `test` for each sample: whole scenes, drawn by their names.

    Args:
        ids: the IDs of all samples.
        share: the share of scenes that go to test; with more than 0 and less than 1, neither split is empty if there
            are two scenes.
    """
    scenes = sorted({split_id(sample_id)[0] for sample_id in ids})
    count = round(share * len(scenes))
    if 0 < share < 1 and len(scenes) > 1:
        count = min(max(count, 1), len(scenes) - 1)
    test = set(scenes[:count])
    return ["test" if split_id(sample_id)[0] in test else "train" for sample_id in ids]
