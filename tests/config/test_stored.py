"""A configuration is the same after writing and reading, and is read under its earlier names too."""

import json
from dataclasses import asdict, replace

import pytest

from atma18.config import PRESETS, BlendConfig, EmbedConfig, GbdtConfig, NetConfig, StageConfig, from_json

STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=0.0, num_epochs=2)
NET = NetConfig(first=STAGE, second=replace(STAGE, learning_rate=1e-4))
STEPS = ("embed", "nn1", "nn2", "gbdt", "blend")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_comes_back_from_json_as_it_was(preset, step):
    config = getattr(PRESETS[preset], step)
    assert from_json(type(config), json.loads(json.dumps(asdict(config)))) == config


def test_values_other_than_the_defaults_come_back_from_json_too():
    net = NetConfig(STAGE, replace(STAGE, patience=3), stage="second", size_px=(32, 96), causal=True)
    blend = BlendConfig(groups=((1, 1), (2, 4), (5, None)))
    for config in (net, blend):
        assert from_json(type(config), json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param(lambda stored: stored | {"colour": 1}, "colour", id="unknown"),
        pytest.param(lambda stored: stored | {"first": stored["first"] | {"colour": 1}}, "colour", id="unknown inside"),
        pytest.param(lambda stored: {k: v for k, v in stored.items() if k != "second"}, "second", id="missing"),
    ],
)
def test_an_unknown_or_missing_key_is_refused_by_name(change, name):
    with pytest.raises(ValueError, match=name):
        from_json(NetConfig, change(asdict(NET)))


def test_values_from_json_are_checked_like_all_others():
    stored = asdict(NET)
    stored["first"]["num_epochs"] = 0
    with pytest.raises(ValueError, match="expected num_epochs of at least 1, found 0"):
        from_json(NetConfig, stored)


EARLIER = asdict(NET) | {
    "reads": "frames",
    "mixer": "attention",
    "distort": True,
    "average": 0.5,
    "splits": 3,
    "views": 2,
    "view_noise": 0.25,
    "differences": False,
}
TODAY = {
    "modalities": "frames",
    "sequence_head": "attention",
    "augment": True,
    "ema_decay": 0.5,
    "fold_repeats": 3,
    "cached_views": 2,
    "feature_noise": 0.25,
}
for name in TODAY:
    del EARLIER[name]


def test_a_net_of_an_earlier_version_is_read_under_todays_names():
    assert from_json(NetConfig, EARLIER) == replace(NET, **TODAY)


def test_an_embedding_of_an_earlier_version_is_read_under_todays_names():
    stored = asdict(EmbedConfig()) | {"waves": 7}
    del stored["random_features"]

    assert from_json(EmbedConfig, stored) == EmbedConfig(random_features=7)


def test_trees_of_an_earlier_version_are_read_without_the_option_that_is_gone():
    trees = GbdtConfig(0.1, 10, bags=2)

    assert from_json(GbdtConfig, asdict(trees) | {"neighbours": False}) == trees


@pytest.mark.parametrize(
    ("kind", "stored", "said"),
    [
        pytest.param(NetConfig, EARLIER | {"differences": True}, "differences=false, .* found True", id="on"),
        pytest.param(NetConfig, EARLIER | {"differences": 0}, "differences=false, .* found 0", id="no truth"),
        pytest.param(
            GbdtConfig, asdict(GbdtConfig(0.1, 1)) | {"neighbours": True}, "neighbours=false, .* found True", id="trees"
        ),
        pytest.param(NetConfig, asdict(NET) | {"reads": "all"}, "modalities under one name, .* reads too", id="twice"),
        pytest.param(EmbedConfig, asdict(EmbedConfig()) | {"reads": "all"}, "found 'reads'", id="another step's"),
        pytest.param(
            NetConfig, EARLIER | {"splits": 0}, "fold_repeats from 1 to 100, found 0", id="a value that cannot be"
        ),
        pytest.param(NetConfig, [], "settings of NetConfig as an object, found \\[\\]", id="a list"),
        pytest.param(
            NetConfig, EARLIER | {"view_noise": float("inf")}, "feature_noise of at least 0, found inf", id="inf"
        ),
    ],
)
def test_what_an_earlier_version_cannot_have_meant_is_refused_by_name(kind, stored, said):
    with pytest.raises(ValueError, match=said):
        from_json(kind, stored)
