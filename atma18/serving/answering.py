"""Answering: one version of a model in memory, which answers several requests in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from atma18.bundle.servable import Servable
from atma18.schema import FloatArray, FrameRows, Samples


@dataclass(frozen=True)
class Answering:
    """A version of a registered model, ready to answer."""

    model: str
    """The name of the registered model."""
    version: int
    run_id: str
    servable: Servable
    rehearsed: int
    """The number of samples that it has answered as its run stored them; 0 for a version that carries none."""

    def predict(self, requests: Sequence[Samples]) -> list[FloatArray]:
        """Predict the (N, 18) waypoints of each request, in metres, vehicle frame at t, in one pass.

        Raises:
            ValueError: If a prediction is not finite.
        """
        ends = np.cumsum([len(samples) for samples in requests])[:-1]
        return np.split(self.servable.predict(joined(requests)), ends)


def joined(requests: Sequence[Samples]) -> Samples:
    """Return the samples of several requests, one request after the other.

    A sample is predicted from its scene. Scenes get new names, so that two requests may ask for the same one.

    Args:
        requests: at least one, all with the same sensors.
    """
    if len(requests) == 1:
        return requests[0]
    renamed = [_renamed(samples, number) for number, samples in enumerate(requests)]
    first = renamed[0]
    gears = [samples.gear for samples in renamed if samples.gear is not None]
    lights = [samples.traffic_lights for samples in renamed if samples.traffic_lights is not None]
    return replace(
        first,
        ids=np.concatenate([samples.ids for samples in renamed]),
        signals=pd.concat([samples.signals for samples in renamed], ignore_index=True),
        gear=np.concatenate(gears) if gears else None,
        traffic_lights=pd.concat(lights, ignore_index=True) if lights else None,
        frames=FrameRows.of(np.concatenate([samples.frames[:] for samples in renamed])),
    )


def _renamed(samples: Samples, number: int) -> Samples:
    """Name the scenes of a request by its number and theirs, of four digits, so that the order of samples is kept."""
    _, scene = np.unique(samples.scenes, return_inverse=True)
    times = samples.deciseconds.tolist()
    ids = [f"{number:04d}-{k:04d}_{time}" for k, time in zip(scene.tolist(), times, strict=True)]
    lights = samples.traffic_lights
    if lights is not None:
        lights = lights.assign(ID=lights["ID"].map(dict(zip(samples.ids.tolist(), ids, strict=True))))
    return replace(samples, ids=np.array(ids, dtype=np.str_), traffic_lights=lights)
