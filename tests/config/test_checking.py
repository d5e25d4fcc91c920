"""A configuration refuses invalid values; the message says what was expected and what was found."""

import json
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest

from atma18.config import BlendConfig, EmbedConfig, GbdtConfig, NetConfig, StageConfig

STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=0.0, num_epochs=2)
NET = NetConfig(first=STAGE, second=replace(STAGE, learning_rate=1e-4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: replace(STAGE, batch_size=0), "batch_size of at least 1, found 0", id="batch size"),
        pytest.param(lambda: replace(STAGE, num_epochs=0), "num_epochs of at least 1, found 0", id="epochs"),
        pytest.param(lambda: replace(STAGE, learning_rate=0.0), "learning_rate above 0, found 0.0", id="learning rate"),
        pytest.param(lambda: replace(STAGE, learning_rate=float("nan")), "above 0, found nan", id="not a number"),
        pytest.param(lambda: replace(STAGE, weight_decay=-1.0), "of at least 0, found -1.0", id="weight decay"),
        pytest.param(
            lambda: replace(NET, stage="third"), "stage first, second, both, whole, head, found 'third'", id="stage"
        ),
        pytest.param(lambda: replace(NET, target="speed"), "absolute, residual, motion, found 'speed'", id="target"),
        pytest.param(lambda: replace(NET, num_layers=0), "num_layers from 1 to 100, found 0", id="layers"),
        pytest.param(lambda: NET.with_given({"num_epochs": -1}), "num_epochs .* found -1", id="given for both stages"),
        pytest.param(
            lambda: GbdtConfig(0.1, 10, engine="lightgbm"),
            "xgboost, catboost, both, found 'lightgbm'",
            id="engine",
        ),
        pytest.param(lambda: GbdtConfig(0.1, 1, bags=0), "bags from 1 to 1000, found 0", id="bags"),
        pytest.param(lambda: GbdtConfig(0.1, 0), "rounds of at least 1, found 0", id="rounds"),
        pytest.param(lambda: GbdtConfig(-0.1, 1), "learning_rate above 0, found -0.1", id="learning rate of trees"),
        pytest.param(lambda: GbdtConfig(0.1, 1, target="speed"), "stacked, found 'speed'", id="target of trees"),
        pytest.param(lambda: GbdtConfig(0.1, 1, max_depth=0), "max_depth of at least 1, found 0", id="depth"),
        pytest.param(lambda: GbdtConfig(0.1, 1, noise_scale=-1), "noise_scale of at least 0, found -1", id="noise"),
        pytest.param(lambda: replace(STAGE, learning_rate=float("inf")), "above 0, found inf", id="infinite"),
        pytest.param(lambda: replace(STAGE, weight_decay=float("nan")), "at least 0, found nan", id="no decay"),
        pytest.param(lambda: replace(NET, hidden=0), "hidden of at least 1, found 0", id="hidden"),
        pytest.param(lambda: replace(NET, size_px=(0, 128)), "size_px from 1 to 2048, found 0", id="size"),
        pytest.param(lambda: replace(NET, augment_probability=1.5), "from 0 to 1, found 1.5", id="probability"),
        pytest.param(lambda: replace(NET, augment_strength=-0.1), "from 0 to 1, found -0.1", id="strength"),
        pytest.param(lambda: replace(NET, inference_batch=0), "inference_batch from 1 to 16384, found 0", id="batch"),
        pytest.param(lambda: EmbedConfig(inference_batch=0), "inference_batch from 1 to 16384", id="batch of embed"),
        pytest.param(lambda: EmbedConfig(svd_components=0), "svd_components of at least 1, found 0", id="svd"),
        pytest.param(
            lambda: EmbedConfig(ridge_alphas=()), r"ridge_alphas of at least 1 number, found \(\)", id="penalties"
        ),
        pytest.param(lambda: EmbedConfig(ridge_alphas=(1.0, 0.0)), "ridge_alphas above 0, found 0.0", id="no penalty"),
        pytest.param(lambda: replace(NET, ema_decay=1.0), "ema_decay from 0 to below 1, found 1.0", id="decay"),
        pytest.param(lambda: replace(NET, hidden="8"), "hidden of type int, found '8'", id="a number as text"),
        pytest.param(lambda: replace(NET, mirror=1), "mirror of type bool, found 1", id="a truth as a number"),
        pytest.param(lambda: replace(STAGE, num_epochs=2.0), "num_epochs of type int, found 2.0", id="a half number"),
        pytest.param(lambda: replace(NET, second=7), "second of type StageConfig, found 7", id="no stage"),
        pytest.param(lambda: StageConfig(8, 1e-3, 0.0), "num_epochs, found none", id="missing"),
        pytest.param(lambda: replace(NET, colour=1), "settings that NetConfig has, found 'colour'", id="unknown"),
        pytest.param(lambda: replace(STAGE, patience=0), "patience of at least 1, found 0", id="patience"),
        pytest.param(
            lambda: replace(NET, by_speed=True, target="absolute"),
            "target residual or motion with by_speed, found 'absolute'",
            id="metres by speed",
        ),
        pytest.param(
            lambda: EmbedConfig(by_speed=True), "target residual or motion with by_speed", id="metres of embed by speed"
        ),
        pytest.param(
            lambda: replace(NET, sequence_head="attention", hidden=6),
            "hidden of a multiple of 4 with sequence_head attention, found 6",
            id="heads",
        ),
        pytest.param(
            lambda: GbdtConfig(0.1, 1, engine="both"), "at least 2 bags with engine both, found 1", id="one turn"
        ),
        pytest.param(lambda: BlendConfig(groups=((2, None),)), "groups of scene sizes from 1", id="groups"),
    ],
)
def test_impossible_values_are_refused_saying_what_was_expected(make, message):
    with pytest.raises(ValueError, match=f"expected .*{message}"):
        make()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(replace(STAGE, batch_size=1, num_epochs=1, weight_decay=0.0, learning_rate=1e-12), id="stage"),
        pytest.param(replace(NET, num_layers=1), id="net"),
        pytest.param(GbdtConfig(0.1, 1, engine="catboost"), id="trees"),
    ],
)
def test_the_smallest_possible_values_are_accepted(config):
    assert replace(config) == config


def test_values_without_names_are_checked_under_the_names_of_their_fields():
    assert StageConfig(8, 1e-3, 0.0, 2) == STAGE
    with pytest.raises(ValueError, match="expected rounds of at least 1, found 0"):
        GbdtConfig(0.1, 0)
    with pytest.raises(TypeError, match="GbdtConfig: expected at most 2 values without names, found 3"):
        GbdtConfig(0.1, 1, "catboost")


def test_a_configuration_is_a_dataclass_like_any_other():
    assert [field.name for field in fields(StageConfig)] == [
        "batch_size",
        "learning_rate",
        "weight_decay",
        "num_epochs",
        "patience",
    ]
    assert json.loads(json.dumps(asdict(NET)))["second"] == {
        "batch_size": 8,
        "learning_rate": 1e-4,
        "weight_decay": 0.0,
        "num_epochs": 2,
        "patience": None,
    }
    with pytest.raises(FrozenInstanceError):
        STAGE.num_epochs = 3
    assert hash(NET) == hash(replace(NET))


def test_a_whole_number_is_a_number():
    assert replace(STAGE, weight_decay=0).weight_decay == 0.0
    assert isinstance(replace(STAGE, weight_decay=1).weight_decay, float)
