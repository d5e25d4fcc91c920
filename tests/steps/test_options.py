"""Options are made from fields: one for each, of its type, with its description, and None unless it is given."""

import click
import pytest
from click.testing import CliRunner
from pydantic import Field

from atma18.config import BlendConfig, EmbedConfig, GbdtConfig, NetConfig, varied
from atma18.config.checking import checked
from steps import blend, embed, gbdt, ingest, main, nn1, nn2, options, typed

PUBLISHED = "--stage=first --batch_size=128 --learning_rate=2e-3 --weight_decay=1e-6 --num_epochs=20 --num_layers=2"


def option(command, name):
    return next(option for option in command.params if option.name == name)


def given_to(config, *words, **how):
    """What a command with the options of a configuration is called with."""
    called = []

    @click.command()
    @options.of(config, **how)
    def record(**values):
        called.append(values)

    done = CliRunner().invoke(record, words)
    assert done.exit_code == 0, done.output
    return called[0]


@checked
class Bread:
    """A configuration of one field."""

    minutes: int = Field(default=40, ge=1)
    """How long it is baked, minutes."""


def test_a_new_field_is_an_option_without_further_words():
    assert given_to(Bread, "--minutes=3") == {"minutes": 3}
    assert given_to(Bread, "--oven_minutes=3", prefix="oven_") == {"oven_minutes": 3}


def test_an_option_that_is_not_given_is_none():
    assert given_to(Bread) == {"minutes": None}
    assert set(given_to(NetConfig).values()) == {None}
    assert typed.given(**given_to(NetConfig, "--num_layers=3")) == {"num_layers": 3}


def test_the_published_command_line_means_the_published_values():
    assert typed.given(**given_to(NetConfig, *PUBLISHED.split())) == {
        "stage": "first",
        "batch_size": 128,
        "learning_rate": 2e-3,
        "weight_decay": 1e-6,
        "num_epochs": 20,
        "num_layers": 2,
    }


@pytest.mark.parametrize(
    ("config", "word", "name", "value"),
    [
        (EmbedConfig, "--random_features=5", "random_features", 5),
        (NetConfig, "--mirror=true", "mirror", True),
        (NetConfig, "--mirror=false", "mirror", False),
        (NetConfig, "--ema_decay=0.99", "ema_decay", 0.99),
        (NetConfig, "--modalities=frames", "modalities", "frames"),
        (NetConfig, "--backbone=hf:a/b", "backbone", "hf:a/b"),
        (BlendConfig, "--groups=1-2,3+", "groups", ((1, 2), (3, None))),
    ],
)
def test_a_word_becomes_a_value_of_the_fields_type(config, word, name, value):
    assert given_to(config, word)[name] == value


@pytest.mark.parametrize(
    ("command", "word", "said"),
    [
        (nn1, "--num_epochs=0", "0 is not in the range x>=1"),
        (nn1, "--num_layers=101", "101 is not in the range 1<=x<=100"),
        (nn1, "--learning_rate=0", "0.0 is not in the range x>0"),
        (nn1, "--ema_decay=1", "1.0 is not in the range 0<=x<1"),
        (nn1, "--learning_rate=nan", "expected a finite number, found nan"),
        (ingest, "--every_s=inf", "expected a finite number, found inf"),
        (nn1, "--stage=third", "'third' is not one of 'first', 'second', 'both'"),
        (nn1, "--mirror=maybe", "'maybe' is not a valid boolean"),
        (blend, "--groups=2+", "expected groups of scene sizes from 1"),
        (embed, "--preset=preset", "'preset' is not one of"),
        (embed, "--svd_components=preset", "'preset' is not a valid integer"),
        (nn1, "--target=preset", "'preset' is not one of"),
    ],
)
def test_a_word_that_no_value_of_the_field_is_written_as_is_refused(command, word, said):
    done = CliRunner().invoke(command.main, [word])

    assert done.exit_code == 2
    assert said in done.output


def test_an_unknown_type_is_an_error_and_not_a_text():
    @checked
    class Odd:
        """A field of a type that nobody types."""

        value: dict[str, int] = Field(default_factory=dict)
        """What is meant."""

    with pytest.raises(KeyError):
        options.of(Odd)


OF_STEP = {
    embed: varied(EmbedConfig),
    nn1: {name: field for name, field in varied(NetConfig).items() if name != "sequence_head"},
    nn2: varied(NetConfig),
    gbdt: varied(GbdtConfig),
    blend: varied(BlendConfig),
}
SHARED = {"data", "preset", "folds", "fold_seed", "seed", "verify"}
OWN = {embed: set(), nn1: {"init"}, nn2: {"init"}, gbdt: {"embed", "nn1", "nn2"}, blend: {"inputs", "out"}}


@pytest.mark.parametrize("step", OF_STEP, ids=lambda step: step.__name__)
def test_a_step_takes_its_fields_and_what_every_step_takes(step):
    assert {option.name for option in step.main.params} == {*OF_STEP[step], *SHARED, *OWN[step]}
    for name, field in OF_STEP[step].items():
        made = option(step.main, name)
        assert made.help == " ".join(field.description.split())
        assert made.show_default == "the preset's"


def test_main_takes_what_the_steps_take_with_their_names_in_front():
    shared = {"stage", "causal", "init", "embed", "nn1", "nn2", "inputs", "out", *SHARED}
    prefixed = {
        f"{step.__name__.removeprefix('steps.')}_{option.name}"
        for step in OF_STEP
        for option in step.main.params
        if option.name not in shared
    }

    assert {option.name for option in main.main.params} == prefixed | SHARED | {"backbone", "causal", "reuse", "out"}


def test_values_are_written_as_they_are_typed():
    values = {"groups": ((1, 2), (3, None)), "mirror": True, "rate": 1e-6, "epochs": 3, "backbone": "lite0"}

    assert typed.as_typed(values) == {
        "groups": "1-2,3+",
        "mirror": "true",
        "rate": "1e-06",
        "epochs": "3",
        "backbone": "lite0",
    }
