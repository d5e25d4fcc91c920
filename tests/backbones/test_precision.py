"""The precision of a backbone follows from hardware and backbone by a rule, so that a command gives one model."""

import pytest

from atma18.backbones import precision
from atma18.compute import Compute
from atma18.config import PRESETS, EmbedConfig

CPU, GPU, PLAIN = Compute("cpu", 2, bfloat16=True), Compute("cuda", 2, bfloat16=True), Compute("cpu", 2, bfloat16=False)


@pytest.mark.parametrize(
    ("given", "backbone", "machine", "trained", "expected"),
    [
        ("auto", "lite0", CPU, False, "bfloat16, which this machine multiplies natively"),
        ("auto", "lite0", CPU, True, "float32, for its training on a CPU is faster so"),
        ("auto", "lite0", GPU, True, "bfloat16, which this machine multiplies natively"),
        ("auto", "lite0", PLAIN, False, "float32, for this machine has no fast bfloat16"),
        ("auto", "cnn", GPU, True, "float32, for so small a net gains nothing from bfloat16"),
        ("float32", "lite0", GPU, False, "float32, as given"),
        ("bfloat16", "cnn", PLAIN, True, "bfloat16, as given"),
    ],
)
def test_the_rule_and_its_reason(given, backbone, machine, trained, expected):
    chosen = precision.choose(given, backbone, machine, trained=trained)

    assert str(chosen) == f"the backbone runs in {expected}"
    assert chosen.bfloat16 == expected.startswith("bfloat16")


def test_a_net_is_trained_and_the_backbone_of_embed_is_not():
    assert not precision.of_net(PRESETS["seed"].nn1, CPU).bfloat16
    assert precision.of_embed(EmbedConfig(), CPU).bfloat16
    assert not precision.of_embed(EmbedConfig(precision="float32"), CPU).bfloat16
