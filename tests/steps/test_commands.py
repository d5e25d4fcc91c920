"""An unknown option ends a command at once; help is printed before any large library is imported."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from steps import embed, gbdt, main, nn1, nn2
from steps.commands import command
from tests.store import PROJECT

HEAVY = ("torch", "mlflow", "pandas", "sklearn", "matplotlib", "xgboost", "catboost", "transformers")
STEPS = (
    "main",
    "motion",
    "embed",
    "nn1",
    "nn2",
    "gbdt",
    "blend",
    "promote",
    "predict",
    "serve",
    "lineage",
    "doctor",
    "upload",
    "compare",
)
OTHERS = ("test", "simulate", "evaluate", "look", "ingest", "check", "fetch", "cache")


@command
@click.option("--colour")
@click.option("--depth", type=click.INT)
def paint(colour, depth):
    """Paint."""
    click.echo(f"painted {colour} {depth}")


def said(words, to=paint, **environment):
    done = CliRunner().invoke(to, words, env=environment)
    return done.exit_code, done.output


def test_a_command_does_what_it_is_asked_for():
    assert said(["--colour", "red", "--depth=3"]) == (0, "painted red 3\n")


@pytest.mark.parametrize(
    ("step", "given", "nearest"),
    [
        (main, "nn1_num_epoch", "nn1_num_epochs"),
        (main, "nn2_num_epoch", "nn2_num_epochs"),
        (main, "gbdt_round", "gbdt_rounds"),
        (main, "fold", "folds"),
        (nn1, "learning_rat", "learning_rate"),
        (nn2, "sequence-head", "sequence_head"),
        (embed, "svd_component", "svd_components"),
        (gbdt, "maxdepth", "max_depth"),
    ],
)
@pytest.mark.parametrize("form", ["--{}=1", "--{} 1"])
def test_a_misspelt_option_ends_with_the_nearest_name(step, given, nearest, form):
    code, output = said(form.format(given).split(), step.main)

    assert code == 2
    assert f"No such option '--{given}'. Did you mean '--{nearest}'?" in output


def test_an_option_like_no_other_ends_too():
    code, output = said(["--zzz=1"])

    assert code == 2
    assert "No such option '--zzz'." in output and "Did you mean" not in output


@pytest.mark.parametrize("words", [["--help", "1"], ["--colour=red", "--help", "true"]])
def test_help_is_no_parameter(words):
    code, output = said(words)

    assert code == 2
    assert "expected parameters, found help" in output


def test_help_is_refused_where_mlflow_has_opened_a_run():
    code, output = said(["--help"], MLFLOW_RUN_ID="0" * 32)

    assert code == 2
    assert "expected parameters, found help" in output


@pytest.mark.parametrize("words", [["--help"], ["--colour=red", "--help"], ["--help", "--colour=red"]])
def test_somebody_who_asks_for_help_gets_it(words):
    code, output = said(words)

    assert code == 0
    assert "--colour TEXT" in output


@pytest.mark.parametrize("name", [*STEPS, *OTHERS])
def test_help_needs_no_library_that_takes_seconds(name):
    code = (
        f"import sys; from steps import {name}; {name}.main(['--help'], standalone_mode=False); "
        f"print([heavy for heavy in {HEAVY} if heavy in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[]"
    assert "Usage: " in done.stdout


NO_MODEL = ("torch", "torchvision", "transformers", "sklearn", "matplotlib", "xgboost", "catboost")
FITTING = ("sklearn", "torchvision", "matplotlib", "torch._dynamo")


@pytest.mark.parametrize(
    ("work", "unneeded"),
    [
        pytest.param("import atma18.tracking", NO_MODEL, id="lineage, doctor, upload"),
        pytest.param("import atma18.pipeline.promote", NO_MODEL, id="promote"),
        pytest.param("import atma18.embedding, atma18.nets.model, atma18.gbdt.stacking", FITTING, id="predict"),
        pytest.param("import atma18.nets.training", FITTING, id="nn1"),
        pytest.param(
            "import torch; from atma18.backbones.lite0 import Lite0; torch.set_default_device('meta'); Lite0()",
            FITTING,
            id="the shape of lite0",
        ),
    ],
)
def test_work_begins_without_libraries_that_it_does_not_need(work, unneeded):
    code = f"import sys; {work}; print([name for name in {unneeded} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[]"
