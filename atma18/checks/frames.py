"""Checks of frames: their order, their camera, their side, repeated frames, and one drive under two names."""

import numpy as np

from atma18.checks import ground, signals
from atma18.checks.suspicion import Suspicion
from atma18.data.dataset import CAMERA, Dataset
from atma18.schema import SPLITS, FloatArray, Samples, first_few

_FEWEST = 20
_MARGIN = 0.08
"""By how much another place must match better than the expected one, as a correlation."""
_SURE = 4.0
"""Standard errors by which a mean differs from 0: chance reaches that once in 16,000 times."""
_REPEATED = 0.3
"""The share of driving samples with equal frames that is no chance: a car that drives sees something new."""
_SAME_SIDE = 1 / 3
_RIGHT = (1, 1)
_ORDERS = {
    _RIGHT: "",
    (-1, 2): "image_t and image_t-0.5",
    (2, -1): "image_t-0.5 and image_t-1.0",
    (-1, -1): "image_t and image_t-1.0",
}
"""The frames that are exchanged, by how many times the distance by vEgo the road then moves between each pair."""
_CAMERA_ADVICE = {
    True: f"check {CAMERA} (focal length, horizon, height), and that frames are whole and not cropped",
    False: f"add the {CAMERA} of these frames; without it the competition's camera is assumed",
}


def check_frames(dataset: Dataset) -> list[Suspicion]:
    """Compare how the road moves in the frames with the speed of the car: order, camera, repeated frames."""
    found = {split: _of_split(getattr(dataset, split), dataset) for split in SPLITS}
    if not len(dataset.train):
        return found["test"]
    of_test = [Suspicion(f"{one.name} (test drives)", one.found, one.advice) for one in found["test"]]
    return found["train"] if found["train"] == found["test"] else found["train"] + of_test


def _of_split(samples: Samples, dataset: Dataset) -> list[Suspicion]:
    if repeated := _repeated(samples):
        return repeated
    matches = ground.straight_matches(samples, dataset.camera)
    there = matches[np.isfinite(matches).all(axis=(1, 2))]
    if len(there) < _FEWEST:
        return []
    by_order = {order: _as_expected(there, order) for order in _ORDERS}
    best = max(by_order, key=lambda order: by_order[order].mean())
    if _ORDERS[best] and _better(by_order[best], by_order[_RIGHT]):
        found = "the road moves through the frames in another direction than the car drives"
        return [Suspicion("order of frames", f"{found}; {_ORDERS[best]} look exchanged", "exchange their names")]
    elsewhere = there.mean(axis=1)[:, int(there.mean(axis=(0, 1)).argmax())]
    if _better(elsewhere, by_order[_RIGHT]):
        found = "the road does not move through the frames as a car of this speed and this camera sees it"
        return [Suspicion("camera", found, _CAMERA_ADVICE[samples.frames.camera is not None])]
    return []


def _as_expected(matches: FloatArray, order: tuple[int, int]) -> FloatArray:
    """Return the (n,) mean correlation of both pairs near the multiples that are expected in this order of frames."""
    near = [np.flatnonzero(np.abs(ground.MULTIPLES - multiple) < 0.25) for multiple in order]
    one, other = (matches[:, k, places[matches[:, k, places].mean(axis=0).argmax()]] for k, places in enumerate(near))
    return np.asarray((one + other) / 2)


def _better(other: FloatArray, expected: FloatArray) -> bool:
    """Return whether another place matches better than the expected one, by a margin and beyond chance."""
    return float((other - expected).mean()) > _MARGIN and surely(other - expected)


def surely(values: FloatArray) -> bool:
    """Return whether the mean of some values is above 0 beyond chance."""
    spread = values.std(ddof=1) / np.sqrt(len(values)) if len(values) >= _FEWEST else np.inf
    return bool(values.mean() > _SURE * spread) if len(values) else False


def _repeated(samples: Samples) -> list[Suspicion]:
    rows = ground.spread(ground.driving(samples))
    if len(rows) < _FEWEST:
        return []
    frames = samples.frames[rows]
    for k, (later, earlier) in enumerate((("image_t", "image_t-0.5"), ("image_t-0.5", "image_t-1.0"))):
        share = float((frames[:, k] == frames[:, k + 1]).all(axis=(1, 2, 3)).mean())
        if share > _REPEATED:
            found = f"{later} and {earlier} are the same picture in {share:.0%} of the samples of driving cars"
            return [Suspicion("delayed frames", found, "give each time its own frame: a camera or a copy lags behind")]
    return []


_LEFT = "it is positive to the left: change its sign in both files"


def check_sides(dataset: Dataset) -> list[Suspicion]:
    """Find out which of steering, waypoints and frames has left and right exchanged, if they disagree."""
    agreement = signals.turn_agreement(dataset)
    steered = signals.steering_curvature_per_m(dataset)
    driven = signals.waypoint_curvature_per_m(dataset)
    steering = 0 if steered is None else _side(ground.turn_matches(dataset.train, steered, dataset.camera))
    waypoints = _side(ground.turn_matches(dataset.train, driven, dataset.camera))
    if agreement is not None and agreement < _SAME_SIDE:
        apart = f"steering and waypoints go to the same side in {agreement:.0%} of the turns"
        if waypoints < 0 or steering > 0:
            return [Suspicion("sign of y", f"{apart}, and the frames turn as the steering says", _LEFT)]
        if steering < 0 or waypoints > 0:
            return [Suspicion("sign of steeringAngleDeg", f"{apart}, and the frames turn as the waypoints say", _LEFT)]
        return [Suspicion("sign of steeringAngleDeg or of y", apart, "both are positive to the left")]
    if min(steering, waypoints) < 0 and max(steering, waypoints) <= 0:
        found = "the road in the frames turns to the other side than the waypoints"
        if agreement is None:
            return [Suspicion("sign of y, or mirrored frames", found, "y is positive to the left")]
        return [Suspicion("mirrored frames", f"{found} and the steering", "mirror the frames back")]
    return []


def _side(gains: FloatArray) -> int:
    """Return 1 if the frames turn to the given side beyond chance, -1 if to the other, and 0 if nobody knows."""
    return int(surely(gains)) - int(surely(-gains))


def check_twins(dataset: Dataset) -> list[Suspicion]:
    """Name drives that stand in the folder under two names."""
    if not dataset.twins:
        return []
    train = set(dataset.train.scenes.tolist())
    across = [f"{one} and {other}" for one, other in dataset.twins.items() if (one in train) != (other in train)]
    pairs = first_few(f"{one} and {other}" for one, other in dataset.twins.items())
    found = f"{len(dataset.twins)} scenes have the frames of another scene: {pairs}"
    if across:
        found += f"; in training and in test: {first_few(across)}"
    return [Suspicion("duplicated scenes", found, "keep one of each; until then they are in one fold")]
