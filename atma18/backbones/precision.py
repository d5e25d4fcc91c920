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
    return choose(config.precision, config.backbone, machine, trained=True)


def of_embed(config: EmbedConfig, machine: Compute) -> Precision:
    """Return the precision of a frozen backbone."""
    return choose(config.precision, config.backbone, machine, trained=False)


def choose(given: str, backbone: str, machine: Compute, *, trained: bool) -> Precision:
    """Choose the precision; nothing is measured.

    On two CPU cores with AVX-512 BF16, bfloat16 made the forward pass of lite0 1.3 to 1.9 times as fast, its training a
    third slower, and the training of `cnn` 0.7 times as fast (docs/decisions.md).

    Args:
        given: `float32`, `bfloat16`, or `auto` for the rule.
        backbone: the name of the backbone.
        machine: the device, and whether it multiplies bfloat16 natively.
        trained: whether gradients are computed, too.
    """
    if given != "auto":
        return Precision(given == "bfloat16", "as given")
    if not machine.bfloat16:
        return Precision(False, "for this machine has no fast bfloat16")
    if backbone == CNN:
        return Precision(False, "for so small a net gains nothing from bfloat16")
    if machine.device == "cpu" and trained:
        return Precision(False, "for its training on a CPU is faster so")
    return Precision(True, "which this machine multiplies natively")
