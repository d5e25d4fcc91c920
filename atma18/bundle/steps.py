"""The steps: what each one's models are, and how they are read from a bundle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from atma18 import backbones, motion
from atma18.backbones import BackboneSpec
from atma18.blending import Blend
from atma18.bundle.model import Model, Stored
from atma18.config import EmbedConfig, GbdtConfig, NetConfig, from_json
from atma18.embedding import EmbedModel
from atma18.gbdt.stacking import GbdtModel
from atma18.nets.model import NetModel
from atma18.schema import FloatArray, IntArray, Samples


@dataclass(frozen=True)
class StepKind:
    """What a step is."""

    description: str
    """What its registered model says of itself."""
    load: Callable[[Stored], Model]
    """Makes its model of what a bundle holds.

    Raises:
        Exception: Any, if the bundle holds something else; see `bundled_models.read`.
    """
    fit: Callable[[Samples, FloatArray, IntArray], Model] | None = None
    """Makes its model of training samples, their (N, 18) targets in metres and their (N,) folds; None where a step
    needs more than that."""


def _embed(stored: Stored) -> Model:
    config = from_json(EmbedConfig, stored.described["config"])
    return EmbedModel.load(config, backbone_of(stored.described), stored.files, stored.device)


def _net(stored: Stored) -> Model:
    config = from_json(NetConfig, stored.described["config"])
    spec = backbone_of(stored.described)
    return NetModel.load(stored.step, config, spec, stored.signals, stored.files, stored.device)


def _gbdt(stored: Stored) -> Model:
    config = from_json(GbdtConfig, stored.described["config"])
    return GbdtModel.load(config, stored.described["stack"], stored.described["cells"], stored.files)


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
        lambda stored: Blend.from_json(stored.described),
    ),
}
"""Every step by name, in the order in which they run."""


def backbone_of(described: Mapping[str, Any]) -> BackboneSpec:
    """Return what a model's backbone is; bundles from before it was told have one that its name tells."""
    if "backbone" in described:
        return from_json(BackboneSpec, described["backbone"])
    name = described["config"]["backbone"]
    return replace(backbones.find(f"{name}@none").spec, name=name)
