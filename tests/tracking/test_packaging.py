"""A servable asks for what it imports."""

import json
from dataclasses import asdict

import pytest

from atma18 import backbones
from atma18.tracking import packaging
from tests.alone import imported_alone
from tests.pretrained import hub_folder
from tests.store import PROJECT

DRAW = """
sys.path.append(code)
import torch
from atma18 import backbones

spec = backbones.BackboneSpec(**json.loads(sys.argv[2]))
backbones.untrained(spec).eval()(torch.zeros(1, 3, 64, 128))
"""
OF_EVERY_KIND = {"torch", "numpy", "safetensors"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("torchvision:resnet18@none", {"torchvision"}), ("hf:{folder}", {"transformers"})],
)
def test_a_backbone_is_drawn_with_what_its_servable_asks_for_alone(tmp_path, name, expected):
    folder = hub_folder("detr", tmp_path / "detr")
    spec = backbones.find(name.format(folder=folder)).spec
    (tmp_path / "alone").mkdir()

    asked = packaging.requirements({spec.kind})
    imported = imported_alone(tmp_path / "alone", asked, PROJECT, DRAW, json.dumps(asdict(spec)))

    assert OF_EVERY_KIND | expected <= imported
    assert expected == {pin.partition("==")[0] for pin in {*asked} - {*packaging.requirements(set())}}


def test_kinds_of_backbones_that_are_built_alike_ask_for_the_same():
    both = packaging.requirements({"torchvision", "rsud20k"})

    assert packaging.requirements({"lite0", "small"}) == packaging.requirements(set())
    assert both == packaging.requirements({"rsud20k"}) == packaging.requirements({"torchvision", "lite0"})
    assert len(both) == len({*both})


@pytest.mark.parametrize(
    ("suffixes", "expected"), [({".ubj", ".json"}, {"xgboost"}), ({".cbm"}, {"catboost"}), ({".safetensors"}, set())]
)
def test_a_booster_asks_for_the_package_that_reads_it(suffixes, expected):
    more = {*packaging.requirements(set(), suffixes)} - {*packaging.requirements(set())}

    assert {pin.partition("==")[0] for pin in more} == expected
