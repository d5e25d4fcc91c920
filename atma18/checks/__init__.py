"""A look at drives before anything trains: what has the right form and hardly possible content.

`signals` compares signals with waypoints, `ground` follows the road through the frames, and `frames` says what that
tells of the frames. Each check returns a `Suspicion` or none.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atma18.cache import Cache
from atma18.checks import frames, ground, signals
from atma18.checks.suspicion import Suspicion
from atma18.data.dataset import Dataset
from atma18.schema import TARGETS, WAYPOINT_TIMES_S
from atma18.storage.digests import sha256_of_records

if TYPE_CHECKING:  # a step that checks its drives does without pictures
    from matplotlib.figure import Figure

_BY_ROAD = (frames.check_sides, frames.check_frames)
"""Checks that trust vEgo, and follow the road through the frames."""
_OTHERS = (frames.check_twins, signals.check_columns, signals.check_ranges, signals.check_constant)


def check(dataset: Dataset) -> list[Suspicion]:
    """Return what looks wrong about the drives, the gravest first; nothing is certain.

    Without training drives there are no waypoints, and the frames of the test drives alone are looked at.
    """
    if not len(dataset.train):
        return frames.check_frames(dataset) if ground.sees_road(dataset.camera) else []
    speed = signals.check_speed(dataset)
    by_road = _BY_ROAD if not speed and ground.sees_road(dataset.camera) else ()
    steering = () if speed else (signals.check_steering_unit,)
    return [*speed, *(suspicion for look in (*by_road, *steering, *_OTHERS) for suspicion in look(dataset))]


def check_once(dataset: Dataset, cache: Cache) -> list[Suspicion]:
    """Return the same, kept by the content of the drives and of these checks: every step asks."""
    sources = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    key = sha256_of_records([sources, [dataset.sha256.encode(), *(name.encode() for name in dataset.unread_columns)]])
    kept = cache.get(
        "checks", f"{key}.json", lambda path: path.write_text(json.dumps([asdict(found) for found in check(dataset)]))
    )
    return [Suspicion(**found) for found in json.loads(kept.read_text())]


def draw(dataset: Dataset) -> "Figure":
    """Draw what the checks have measured of the training drives; without any, of the frames of the test drives."""
    from atma18.plots.checks import look_at_drives

    train = dataset.train
    seen = np.empty((0, 2, len(ground.MULTIPLES)))
    if ground.sees_road(dataset.camera):
        matches = ground.straight_matches(train if len(train) else dataset.test, dataset.camera)
        seen = matches[np.isfinite(matches).all(axis=(1, 2))]
    return look_at_drives(
        train.signals["vEgo"].to_numpy(np.float64),
        dataset.targets_m[:, TARGETS.index("x_0")] / WAYPOINT_TIMES_S[0],
        train.signals.get("steeringAngleDeg", train.signals["vEgo"][:0]).to_numpy(np.float64),
        signals.waypoint_curvature_per_m(dataset),
        ground.MULTIPLES,
        seen.mean(axis=0) if len(seen) else np.full(seen.shape[1:], np.nan),
    )


__all__ = ["Suspicion", "check", "check_once", "draw"]
