"""Given values replace those of a net's configuration, and of both of its stages."""

from dataclasses import replace

import pytest

from atma18.config import NetConfig, StageConfig
from atma18.schema import FRAME_SHAPE

STAGE = StageConfig(batch_size=8, learning_rate=1e-3, weight_decay=0.0, num_epochs=2)
NET = NetConfig(first=STAGE, second=replace(STAGE, learning_rate=1e-4))


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
    with pytest.raises(ValueError, match="expected settings that NetConfig has, found 'learning_speed'"):
        NET.with_given({"learning_speed": 1.0})


@pytest.mark.parametrize(
    ("changed", "shape"),
    [
        pytest.param({}, FRAME_SHAPE[:3], id="frames as they are"),
        pytest.param({"size_px": (224, 224)}, (3, 224, 224), id="frames resized"),
        pytest.param({"view": "path", "backbone": "cnn"}, (1, 24, 41), id="grids for the small net"),
        pytest.param({"view": "path"}, (1, 64, 128), id="grids for other backbones"),
    ],
)
def test_an_image_has_the_shape_of_its_view(changed, shape):
    assert NetConfig(STAGE, STAGE, **changed).image_shape == shape
