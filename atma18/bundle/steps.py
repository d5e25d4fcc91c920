"""The steps: the description of each step's model, and the functions that load or fit it.

These functions import what a model needs, so that commands that need no model begin at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atma18 import motion
from atma18.bundle.model import Model, Stored
from atma18.config import EmbedConfig, GbdtConfig, NetConfig, from_json
from atma18.geometry.camera import COMPETITION_CAMERA, Camera
from atma18.schema import FloatArray, FrameCamera, IntArray, Samples

if TYPE_CHECKING:
    from atma18.backbones import BackboneSpec


@dataclass(frozen=True)
class StepKind:
    """A step."""

    description: str
    """The description of the step's registered model."""
    load: Callable[[Stored], Model]
    """Builds the model from a bundle.

    Raises:
        Exception: Any, if the bundle has other content; see `bundled_models.read`.
    """
    fit: Callable[[Samples, FloatArray, IntArray], Model] | None = None
    """Fits the model to training samples, their (N, 18) targets in metres and their (N,) folds; None for a step that
    needs more arguments."""


def _embed(stored: Stored) -> Model:
    from atma18.embedding import EmbedModel

    config = from_json(EmbedConfig, stored.described["config"])
    spec, camera = backbone_of(stored.described), _camera(stored, config.view)
    return EmbedModel.load(config, spec, stored.files, stored.device, camera)


def _net(stored: Stored) -> Model:
    from atma18.nets.model import NetModel

    config = from_json(NetConfig, stored.described["config"])
    spec = backbone_of(stored.described)
    camera = _camera(stored, config.view)
    return NetModel.load(stored.step, config, spec, stored.signals, stored.files, stored.device, camera)


def _camera(stored: Stored, view: str) -> FrameCamera:
    """Return the camera of the training frames; only a model with view path keeps it."""
    return Camera.from_json_dict(stored.described["camera"]) if view == "path" else COMPETITION_CAMERA


def _gbdt(stored: Stored) -> Model:
    from atma18.gbdt.stacking import GbdtModel

    config = from_json(GbdtConfig, stored.described["config"])
    return GbdtModel.load(config, stored.described["stack"], stored.described["cells"], stored.files)


def _blend(stored: Stored) -> Model:
    from atma18.blending import Blend

    return Blend.from_json(stored.described)


STEPS: Mapping[str, StepKind] = {
    "motion": StepKind(
        "A bicycle model of eight numbers whose driver keeps pedals and wheel for a while: no frames, no scene.",
        load=lambda stored: motion.FittedMotion.load(stored.files),
        fit=motion.FittedMotion.fit,
    ),
    "embed": StepKind("What a frozen image backbone sees in the frames, with a linear probe on it.", _embed),
    "nn1": StepKind("A net on the three frames and the CAN signals of one sample.", _net),
    "nn2": StepKind(
        "A net on frames and CAN signals of all samples of a scene, with an LSTM or attention over them.", _net
    ),
    "gbdt": StepKind("Boosted trees on CAN signals, scene features, the embedding and the nets' predictions.", _gbdt),
    "blend": StepKind(
        "A convex mean of other runs' predictions, with weights by scene size; `champion` moves by `promote`.",
        _blend,
    ),
}
"""Steps by name, in the order in which they run."""


def backbone_of(described: Mapping[str, Any]) -> "BackboneSpec":
    """Return the backbone of a model; an old bundle without its description has the backbone's name."""
    from atma18 import backbones
    from atma18.backbones import BackboneSpec

    if "backbone" in described:
        return from_json(BackboneSpec, described["backbone"])
    name = described["config"]["backbone"]
    return replace(backbones.find(f"{name}@none").spec, name=name)
