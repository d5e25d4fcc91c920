"""The precision of a backbone, by a rule on hardware and backbone alone: the same command makes the same model."""

from dataclasses import dataclass

from atma18.compute import Compute
from atma18.config import CNN, EmbedConfig, NetConfig


@dataclass(frozen=True)
class Precision:
    """The choice, and the reason for it."""

    bfloat16: bool
    reason: str

    def __str__(self) -> str:
        return f"the backbone runs in {'bfloat16' if self.bfloat16 else 'float32'}, {self.reason}"


def of_net(config: NetConfig, machine: Compute) -> Precision:
    """Return the precision of a net's backbone, which is trained."""
    return choose(config.precision, config.backbone, machine)


def of_embed(config: EmbedConfig, machine: Compute) -> Precision:
    """Return the precision of a frozen backbone."""
    return choose(config.precision, config.backbone, machine)


def choose(given: str, backbone: str, machine: Compute) -> Precision:
    """Choose the precision; nothing is measured.

    On a CPU, onnxruntime computes in float32, and training is slower in bfloat16 (docs/decisions.md). So all CPUs make
    the same model.

    Args:
        given: `float32`, `bfloat16`, or `auto` for the rule.
        backbone: the name of the backbone.
        machine: the device, and whether it multiplies bfloat16 natively.
    """
    if given != "auto":
        return Precision(given == "bfloat16", "as given")
    if machine.device == "cpu":
        return Precision(False, "as on every CPU")
    if not machine.bfloat16:
        return Precision(False, "for this GPU has no bfloat16 of its own")
    if backbone == CNN:
        return Precision(False, "for so small a net gains nothing from bfloat16")
    return Precision(True, "which this GPU multiplies natively")
