"""Each option is defined once: every field has a description and its allowed values."""

import subprocess
import sys
from typing import Annotated, Literal

import pytest
from pydantic import Field

from atma18.config import PRESETS, BlendConfig, EmbedConfig, GbdtConfig, NetConfig, StageConfig
from atma18.config.checking import checked
from atma18.config.fields import Fixed, allowed, bounds, description, fields_of, varied
from tests.store import PROJECT

CONFIGS = (EmbedConfig, StageConfig, NetConfig, GbdtConfig, BlendConfig)


@checked
class Inner:
    """Settings inside others."""

    size: int = Field(ge=2)
    """How large."""


@checked
class Sample:
    """Fields of every kind."""

    inner: Inner
    """Settings inside."""
    share: Annotated[float, Field(gt=0, description="Part of the whole.")] = 0.5
    rate: float = Field(default=0.5, ge=0, lt=1)
    """How fast,
    per second."""
    kind: Literal["a", "b"] = "a"
    """Which one."""
    sides_px: Fixed[tuple[Annotated[int, Field(ge=1, le=9)], ...]] = (1,)
    """How wide."""
    name: str = "x"
    """What it is called."""


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_is_described_in_one_sentence(config):
    for name, field in fields_of(config).items():
        assert field.description, name
        assert description(field)[0].isupper() and description(field).endswith("."), name
        assert ". " not in description(field), name


def test_a_description_is_the_docstring_below_the_field_or_that_of_its_type():
    found = {name: description(field) for name, field in fields_of(Sample).items()}

    assert found["rate"] == "How fast, per second."
    assert found["share"] == "Part of the whole."


def test_an_experiment_varies_all_fields_but_fixed_ones_and_those_inside_too():
    assert list(varied(Sample)) == ["size", "share", "rate", "kind", "name"]


@pytest.mark.parametrize(
    ("name", "limits", "words"),
    [
        ("share", {"gt": 0}, "above 0"),
        ("rate", {"ge": 0, "lt": 1}, "from 0 to below 1"),
        ("kind", {}, "a, b"),
        ("sides_px", {"ge": 1, "le": 9}, "from 1 to 9"),
        ("name", {}, ""),
    ],
)
def test_what_a_field_allows_is_what_it_declares(name, limits, words):
    field = fields_of(Sample)[name]

    assert bounds(field) == limits
    assert allowed(field) == words


def test_a_lower_bound_alone_is_said_as_such():
    assert allowed(fields_of(Inner)["size"]) == "of at least 2"


def test_what_is_fixed_is_what_the_machine_or_the_published_recipe_decides():
    fixed = {config.__name__: set(fields_of(config)) - set(varied(config)) for config in CONFIGS}

    assert fixed == {
        "EmbedConfig": {"ridge_alphas", "autocast", "inference_batch", "seed"},
        "StageConfig": {"patience"},
        "NetConfig": {
            *("first", "second", "hidden", "size_px", "augment_probability", "augment_strength"),
            *("autocast", "inference_batch", "seed"),
        },
        "GbdtConfig": {
            *("early_stopping_rounds", "min_child_weight", "gamma", "reg_alpha", "reg_lambda"),
            *("subsample", "colsample_bytree", "noise_scale", "seed"),
        },
        "BlendConfig": {"max_iterations"},
    }


def test_configurations_need_no_library_that_takes_seconds():
    heavy = ("torch", "mlflow", "sklearn", "transformers", "numpy", "pandas")
    code = f"import sys; from atma18 import config; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"


def test_presets_decide_every_field_of_every_step():
    for preset in PRESETS.values():
        assert [type(getattr(preset, step)) for step in ("embed", "nn1", "nn2", "gbdt", "blend")] == [
            EmbedConfig,
            NetConfig,
            NetConfig,
            GbdtConfig,
            BlendConfig,
        ]
