"""The protocol of the models of all steps, and a model as it is stored in a bundle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from atma18.gbdt.inputs import Inputs
from atma18.schema import FloatArray, Samples


class Model(Protocol):
    """The model of a step: one model for each fold, or one for all."""

    @property
    def causal(self) -> bool:
        """Whether no prediction uses a later sample of the scene."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the upstreams that the model reads."""

    @property
    def count(self) -> int | None:
        """The number of folds; None if one model serves all folds."""

    def predict(self, fold: int, samples: Samples, inputs: Inputs, device: str) -> FloatArray:
        """Predict with the model of one fold.

        Args:
            fold: number of the fold, from 0.
            samples: N samples.
            inputs: predictions or embeddings of the upstreams in `needs` for the same samples.
            device: device of nets.

        Returns:
            (N, 18) waypoints in metres, vehicle frame at t.
        """

    def describe(self) -> dict[str, Any]:
        """Return the description of the model, without its files, as JSON values."""

    def save(self, folder: Path) -> None:
        """Write the files of the model."""


@dataclass(frozen=True)
class Stored:
    """A model as it is stored in a bundle."""

    step: str
    described: Mapping[str, Any]
    """The result of `describe`."""
    files: Mapping[str, Path]
    """The files of `save`, by name."""
    signals: tuple[str, ...]
    """The CAN signals of the training data."""
    device: str
    """Device of nets."""
