"""The presets have the published values."""

from dataclasses import replace

import pytest

from atma18.config import PRESETS, BlendConfig


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
    assert seed.inputs == ("nn1", "nn2", "gbdt")


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


@pytest.mark.parametrize(
    ("preset", "inputs"), [("quick", ("motion", "nn1", "nn2", "gbdt")), ("best", ("motion", "gbdt"))]
)
def test_the_presets_of_our_own_blend_the_motion_model_too(preset, inputs):
    assert PRESETS[preset].inputs == inputs


@pytest.mark.parametrize("preset", ["quick", "best"])
def test_the_presets_of_our_own_need_no_download_and_read_the_road_along_the_path(preset):
    ours = PRESETS[preset]

    assert ours.folds == 3
    assert (ours.embed.backbone, ours.nn1.backbone, ours.nn2.backbone) == ("lite0", "cnn", "cnn")
    assert {net.view for net in (ours.nn1, ours.nn2)} == {"path"}


@pytest.mark.parametrize("preset", ["seed", "seed-small"])
def test_the_published_recipe_reads_frames(preset):
    assert {net.view for net in (PRESETS[preset].nn1, PRESETS[preset].nn2)} == {"frame"}
