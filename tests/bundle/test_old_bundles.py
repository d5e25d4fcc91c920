"""A bundle that an earlier version wrote, before fields were renamed and options removed, answers as it did there.

`old/blend` was written by commit 684aca4: on 24 invented samples it fitted an embedding with three random features, nn1
(frames alone, two fold splits) and nn2 (attention) on the backbone `small` of `tests/small.py`, both with averaged
weights, strong augmentation and kept views, two rounds of boosted trees on what these predict (those of x_5 stand for
all targets, so that files are few), and blended them. `old/expected.npz` keeps what that commit predicted by fold for
the samples below, with the torch and the processor that it had: another one rounds float32 otherwise.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from atma18.bundle import servable
from atma18.config import EmbedConfig, GbdtConfig, NetConfig
from atma18.schema import FRAME_SHAPE, FrameRows, Samples

pytestmark = pytest.mark.usefixtures("small_backbone")

OLD = Path(__file__).parent / "old"
STEPS = ("embed", "nn1", "nn2", "gbdt", "blend")


def samples():
    """Four samples of two scenes, worked out without a generator."""
    n = np.arange(4) + 100
    signals = pd.DataFrame({"vEgo": 5 + 4 * np.sin(n), "aEgo": np.cos(3 * n), "steeringAngleDeg": 30 * np.sin(2 * n)})
    pixels = (np.arange(np.prod(FRAME_SHAPE))[None] * (7 + n[:, None]) // 5 % 251).astype(np.uint8)
    ids = np.array(["t0_20", "t1_20", "t1_120", "t1_220"])
    return Samples(ids, signals, None, None, FrameRows.of(pixels.reshape(len(ids), *FRAME_SHAPE)))


@pytest.fixture(scope="module")
def loaded(small_backbone):
    return servable.load(OLD / "blend", "cpu")


@pytest.fixture
def bundle(tmp_path):
    """A copy that a test may change."""
    shutil.copytree(OLD / "blend", tmp_path / "bundle")
    return tmp_path / "bundle"


def set_option(bundle, step, name, value):
    plain = json.loads((bundle / "bundle.json").read_text())
    plain["members"][f"run-{step}"]["model"]["config"][name] = value
    (bundle / "bundle.json").write_text(json.dumps(plain))


@pytest.mark.parametrize("step", STEPS)
def test_every_step_predicts_what_it_did(loaded, step):
    with np.load(OLD / "expected.npz") as expected:
        made_with = (str(expected["torch"]), str(expected["cpu"]))
        expected_m = expected[step]
    same_arithmetic = made_with == (torch.__version__, torch.backends.cpu.get_cpu_capability())

    found_m = replace(loaded, root=f"run-{step}").predict_by_fold(samples())

    assert found_m.shape == (2, 4, 18)
    np.testing.assert_allclose(found_m, expected_m, rtol=0, atol=1e-12 if same_arithmetic else 1e-4)


def test_its_settings_are_known_under_todays_names(loaded):
    def config(step):
        return loaded.members[f"run-{step}"].model.config

    assert config("embed") == EmbedConfig(
        backbone="small", svd_components=1, inference_batch=4, target="motion", by_speed=True, random_features=3
    )
    nets = {"nn1": config("nn1"), "nn2": config("nn2")}
    for net in nets.values():
        assert isinstance(net, NetConfig)
        assert (net.augment, net.ema_decay, net.cached_views, net.feature_noise) == (True, 0.5, 2, 0.25)
    assert (nets["nn1"].modalities, nets["nn1"].sequence_head, nets["nn1"].fold_repeats) == ("frames", "lstm", 2)
    assert (nets["nn2"].modalities, nets["nn2"].sequence_head, nets["nn2"].fold_repeats) == ("all", "attention", 1)
    assert isinstance(config("gbdt"), GbdtConfig)
    assert (config("gbdt").target, config("gbdt").objective, config("gbdt").probe) == ("stacked", "huber", True)


def test_the_file_speaks_of_options_that_are_gone():
    """Otherwise the tests above would not show that they are passed over."""
    members = json.loads((OLD / "blend" / "bundle.json").read_text())["members"]

    assert members["run-nn1"]["model"]["config"]["differences"] is False
    assert members["run-gbdt"]["model"]["config"]["neighbours"] is False
    assert members["run-nn1"]["model"]["config"]["reads"] == "frames"


@pytest.mark.parametrize(
    ("step", "name", "value", "said"),
    [
        ("nn1", "differences", True, "expected differences=false, for this version has no such option, found True"),
        ("gbdt", "neighbours", True, "expected neighbours=false, for this version has no such option, found True"),
        ("gbdt", "engine", "catboost-multi", "expected engine xgboost, catboost, both, found 'catboost-multi'"),
        ("gbdt", "objective", "absolute", "expected objective squared, huber, found 'absolute'"),
        ("nn1", "colour", 1, "expected settings that NetConfig has, found 'colour'"),
        ("nn1", "modalities", "all", "expected modalities under one name, found it as reads too"),
        ("embed", "reads", "all", "expected settings that EmbedConfig has, found 'reads'"),
    ],
)
def test_an_option_that_this_version_does_not_have_is_refused_by_name(bundle, step, name, value, said):
    set_option(bundle, step, name, value)

    with pytest.raises(ValueError, match=f"member 'run-{step}', found something else .*{said}"):
        servable.load(bundle, "cpu")


@pytest.mark.parametrize("name", ["guard", "servable"])
def test_code_of_an_earlier_model_is_told_what_to_do_in_a_process_with_this_package(name):
    with pytest.raises(ImportError, match=r"in a process of its own, or use python -m steps\.predict"):
        exec(f"from atma18 import {name}")
