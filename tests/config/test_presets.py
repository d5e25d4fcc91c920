"""The presets say what was published, and a configuration survives the way through a file."""

import json
from dataclasses import asdict, replace

import pytest

from atma18.config.groups import groups_as_text, scene_size_groups
from atma18.config.presets import (
    PRESETS,
    BlendConfig,
    EmbedConfig,
    GbdtConfig,
    NetConfig,
    StageConfig,
    config_from_json,
)

STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=0.0, num_epochs=2)
NET = NetConfig(first=STAGE, second=replace(STAGE, learning_rate=1e-4))
STEPS = ("embed", "nn1", "nn2", "gbdt", "blend")


def values(config, names):
    return {name: getattr(config, name) for name in names}


@pytest.mark.parametrize(
    ("net", "second"),
    [
        pytest.param("nn1", {"batch_size": 128, "learning_rate": 5e-4, "num_epochs": 30, "patience": 6}, id="nn1"),
        pytest.param("nn2", {"batch_size": 16, "learning_rate": 2e-4, "num_epochs": 30, "patience": 6}, id="nn2"),
    ],
)
def test_the_nets_of_seed_are_trained_as_published(net, second):
    config = getattr(PRESETS["seed"], net)

    first = {"batch_size": 128, "learning_rate": 2e-3, "weight_decay": 1e-6, "num_epochs": 20, "patience": None}
    assert values(config.first, first) == first
    assert values(config.second, second) == second
    whole = {
        "stage": "both",
        "target": "absolute",
        "num_layers": 2,
        "hidden": 128,
        "size_px": (224, 224),
        "augment_probability": 0.5,
        "augment_strength": 0.2,  # the default of the published augmentation
        "causal": False,
        "seed": 0,
    }
    assert values(config, whole) == whole


def test_the_trees_of_seed_are_grown_as_published():
    published = {
        "engine": "xgboost",
        "learning_rate": 0.003,
        "rounds": 10_000,
        "early_stopping_rounds": 100,
        "max_depth": 11,
        "min_child_weight": 9,
        "gamma": 0.15,
        "reg_alpha": 3.25,
        "reg_lambda": 1.38,
        "subsample": 0.8,
        "colsample_bytree": 0.265,
        "target": "absolute",
        "bags": 1,
        "noise_scale": 0.5,
        "causal": False,
    }
    assert values(PRESETS["seed"].gbdt, published) == published


def test_folds_embedding_and_blend_of_seed_are_as_published():
    seed = PRESETS["seed"]
    assert seed.folds == 5
    assert seed.embed.svd_components == 10
    assert seed.blend == BlendConfig(groups=((1, 2), (3, None)), method="nelder-mead", max_iterations=1000)


def test_seed_small_differs_from_seed_in_what_it_says_and_nothing_else():
    seed, small = PRESETS["seed"], PRESETS["seed-small"]

    def shrunk(net):
        return replace(
            net,
            size_px=(64, 128),
            first=replace(net.first, num_epochs=6),
            second=replace(net.second, num_epochs=6),
            inference_batch=16,
        )

    assert seed.for_gpu
    assert small == replace(
        seed,
        nn1=shrunk(seed.nn1),
        nn2=shrunk(seed.nn2),
        gbdt=replace(seed.gbdt, learning_rate=0.03),
        embed=replace(seed.embed, inference_batch=16),
        folds=3,
        for_gpu=False,
    )


def test_quick_has_three_folds_and_the_bundled_backbone():
    quick = PRESETS["quick"]
    assert quick.folds == 3
    assert {quick.embed.backbone, quick.nn1.backbone, quick.nn2.backbone} == {"lite0"}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_comes_back_from_json_as_it_was(preset, step):
    config = getattr(PRESETS[preset], step)
    assert config_from_json(type(config), json.loads(json.dumps(asdict(config)))) == config


def test_values_other_than_the_defaults_come_back_from_json_too():
    net = NetConfig(STAGE, replace(STAGE, patience=3), stage="second", size_px=(32, 96), causal=True)
    blend = BlendConfig(groups=((1, 1), (2, 4), (5, None)))
    for config in (net, blend):
        assert config_from_json(type(config), json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param(lambda stored: stored | {"colour": 1}, "colour", id="unknown"),
        pytest.param(lambda stored: stored | {"first": stored["first"] | {"colour": 1}}, "colour", id="unknown inside"),
        pytest.param(lambda stored: {k: v for k, v in stored.items() if k != "second"}, "second", id="missing"),
    ],
)
def test_an_unknown_or_missing_key_is_refused_by_name(change, name):
    with pytest.raises(TypeError, match=name):
        config_from_json(NetConfig, change(asdict(NET)))


def test_values_from_json_are_checked_like_all_others():
    stored = asdict(NET)
    stored["first"]["num_epochs"] = 0
    with pytest.raises(ValueError, match="expected num_epochs of at least 1, found 0"):
        config_from_json(NetConfig, stored)


def test_a_given_value_of_a_stage_holds_for_both_stages():
    given = NET.with_given({"learning_rate": 0.5, "batch_size": 3})

    assert (given.first.learning_rate, given.second.learning_rate) == (0.5, 0.5)
    assert (given.first.batch_size, given.second.batch_size) == (3, 3)
    assert (given.first.num_epochs, given.second.weight_decay) == (2, 0.0)


def test_a_given_value_of_the_net_holds_and_leaves_the_stages_alone():
    given = NET.with_given({"num_layers": 5, "stage": "first", "weight_decay": 0.25})

    assert (given.num_layers, given.stage) == (5, "first")
    assert given == replace(
        NET,
        num_layers=5,
        stage="first",
        first=replace(NET.first, weight_decay=0.25),
        second=replace(NET.second, weight_decay=0.25),
    )


def test_nothing_given_changes_nothing():
    assert NET.with_given({}) == NET


def test_an_unknown_given_value_is_refused_by_name():
    with pytest.raises(TypeError, match="learning_speed"):
        NET.with_given({"learning_speed": 1.0})


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        pytest.param("1-2,3+", ((1, 2), (3, None)), id="as published"),
        pytest.param("1+", ((1, None),), id="one group"),
        pytest.param("1,2,3+", ((1, 1), (2, 2), (3, None)), id="single sizes"),
        pytest.param(" 1-10 , 11+ ", ((1, 10), (11, None)), id="spaces and two digits"),
    ],
)
def test_groups_of_scene_sizes_are_read_from_text(text, groups):
    assert scene_size_groups(text) == groups


@pytest.mark.parametrize("text", ["", "1-2,", "a", "-2", "1-", "1-2+", "+", "1.5+", "1–2", "1 - 2"])
def test_other_texts_are_no_groups_of_scene_sizes(text):
    with pytest.raises(ValueError, match=r"expected groups of scene sizes like 1-2,3\+, found ") as refused:
        scene_size_groups(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: replace(STAGE, batch_size=0), "batch_size of at least 1, found 0", id="batch size"),
        pytest.param(lambda: replace(STAGE, num_epochs=0), "num_epochs of at least 1, found 0", id="epochs"),
        pytest.param(lambda: replace(STAGE, learning_rate=0.0), "learning_rate above 0, found 0.0", id="learning rate"),
        pytest.param(lambda: replace(STAGE, learning_rate=float("nan")), "above 0, found nan", id="not a number"),
        pytest.param(lambda: replace(STAGE, weight_decay=-1.0), "of at least 0, found -1.0", id="weight decay"),
        pytest.param(lambda: replace(NET, stage="third"), "stage first, second or both, found 'third'", id="stage"),
        pytest.param(lambda: replace(NET, target="speed"), "absolute, residual, motion, found 'speed'", id="target"),
        pytest.param(lambda: replace(NET, num_layers=0), "num_layers of at least 1, found 0", id="layers"),
        pytest.param(lambda: NET.with_given({"num_epochs": -1}), "num_epochs .* found -1", id="given for both stages"),
        pytest.param(
            lambda: GbdtConfig(0.1, 10, engine="lightgbm"),
            "xgboost, catboost, catboost-multi, both, found 'lightgbm'",
            id="engine",
        ),
        pytest.param(lambda: GbdtConfig(0.1, 1, bags=0), "bags of at least 1, found 0", id="bags"),
        pytest.param(lambda: GbdtConfig(0.1, 0), "rounds of at least 1, found 0", id="rounds"),
        pytest.param(lambda: GbdtConfig(-0.1, 1), "learning_rate above 0, found -0.1", id="learning rate of trees"),
        pytest.param(lambda: GbdtConfig(0.1, 1, target="speed"), "stacked, found 'speed'", id="target of trees"),
        pytest.param(lambda: GbdtConfig(0.1, 1, max_depth=0), "max_depth of at least 1, found 0", id="depth"),
        pytest.param(lambda: GbdtConfig(0.1, 1, noise_scale=-1), "noise_scale of at least 0, found -1", id="noise"),
        pytest.param(lambda: replace(STAGE, learning_rate=float("inf")), "above 0, found inf", id="infinite"),
        pytest.param(lambda: replace(STAGE, weight_decay=float("nan")), "at least 0, found nan", id="no decay"),
        pytest.param(lambda: replace(NET, hidden=0), "hidden of at least 1, found 0", id="hidden"),
        pytest.param(lambda: replace(NET, size_px=(0, 128)), r"size_px of at least 1, found \(0, 128\)", id="size"),
        pytest.param(lambda: replace(NET, augment_probability=1.5), "from 0 to 1, found 1.5", id="probability"),
        pytest.param(lambda: replace(NET, augment_strength=-0.1), "from 0 to 1, found -0.1", id="strength"),
        pytest.param(lambda: replace(NET, inference_batch=0), "inference_batch of at least 1, found 0", id="batch"),
        pytest.param(lambda: EmbedConfig(inference_batch=0), "inference_batch of at least 1", id="batch of embed"),
        pytest.param(lambda: EmbedConfig(svd_components=0), "svd_components of at least 1, found 0", id="svd"),
        pytest.param(lambda: EmbedConfig(ridge_alphas=()), r"ridge_alphas above 0, found \(\)", id="penalties"),
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


@pytest.mark.parametrize("text", ["1+", "1-2,3+", "1,2,3-5,6+"])
def test_groups_are_written_as_they_are_read(text):
    assert groups_as_text(scene_size_groups(text)) == text
