"""What every step predicts with, and what is stored of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from atma18.gbdt.inputs import Inputs
from atma18.schema import FloatArray, Samples


class Model(Protocol):
    """What a step predicts with: one model for each fold."""

    @property
    def causal(self) -> bool:
        """Whether no prediction looks at a later sample of the scene."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the upstreams that it reads."""

    @property
    def count(self) -> int | None:
        """The number of folds; None if the same model serves all."""

    def predict(self, fold: int, samples: Samples, inputs: Inputs, device: str) -> FloatArray:
        """Predict with the model of one fold.

        Args:
            fold: from 0.
            samples: N samples.
            inputs: what the upstreams in `needs` say of the same samples.
            device: where nets run.

        Returns:
            (N, 18) waypoints in metres, vehicle frame at t.
        """

    def describe(self) -> dict[str, Any]:
        """Return what the model is, apart from its files, as JSON takes it."""

    def save(self, folder: Path) -> None:
        """Write its files."""


@dataclass(frozen=True)
class Stored:
    """What a bundle holds of a model."""

    step: str
    described: Mapping[str, Any]
    """What `describe` returned."""
    files: Mapping[str, Path]
    """What `save` wrote, by name."""
    signals: tuple[str, ...]
    """The CAN signals of the drives that it was trained on."""
    device: str
    """Where nets will run."""
