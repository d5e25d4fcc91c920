"""The precision of a backbone follows from hardware and backbone by a rule, so that a command gives one model."""

import pytest

from atma18.backbones import precision
from atma18.compute import Compute
from atma18.config import PRESETS, EmbedConfig

CPU, GPU, PLAIN = (Compute(*machine) for machine in (("cpu", 2, False), ("cuda", 2, True), ("cuda", 2, False)))


@pytest.mark.parametrize(
    ("given", "backbone", "machine", "expected"),
    [
        ("auto", "lite0", CPU, "float32, as on every CPU"),
        ("auto", "lite0", GPU, "bfloat16, which this GPU multiplies natively"),
        ("auto", "lite0", PLAIN, "float32, for this GPU has no bfloat16 of its own"),
        ("auto", "cnn", GPU, "float32, for so small a net gains nothing from bfloat16"),
        ("float32", "lite0", GPU, "float32, as given"),
        ("bfloat16", "cnn", CPU, "bfloat16, as given"),
    ],
)
def test_the_rule_and_its_reason(given, backbone, machine, expected):
    chosen = precision.choose(given, backbone, machine)

    assert str(chosen) == f"the backbone runs in {expected}"
    assert chosen.bfloat16 == expected.startswith("bfloat16")


def test_a_steps_configuration_may_name_the_precision():
    assert precision.of_net(PRESETS["seed"].nn1, GPU).bfloat16
    assert precision.of_embed(EmbedConfig(), GPU).bfloat16
    assert not precision.of_embed(EmbedConfig(precision="float32"), GPU).bfloat16
