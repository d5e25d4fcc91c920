"""MLproject, click and the environment agree, and the code follows the project's rules."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

PROJECT = Path(__file__).resolve().parent.parent
ENTRY_POINTS = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
PINS = re.findall(r"^\s*- ([\w.-]+)(.*)$", (PROJECT / "conda.yaml").read_text(), re.MULTILINE)


def click_defaults(name):
    command = importlib.import_module(f"steps.{name}").main
    return {option.name: option.default for option in command.params}


def as_text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_entry_points_are_the_documented_ones():
    steps = ["main", "motion", "embed", "nn1", "nn2", "gbdt", "blend"]
    registry = ["promote", "predict", "lineage", "doctor", "upload", "compare"]
    assert list(ENTRY_POINTS) == [*steps, *registry, "simulate", "evaluate", "look", "fetch", "cache", "test"]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_mlproject_and_click_agree_in_names_and_defaults(name):
    declared = {key: value["default"] for key, value in ENTRY_POINTS[name].get("parameters", {}).items()}

    assert declared == {key: as_text(value) for key, value in click_defaults(name).items()}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_the_command_passes_every_parameter_under_its_own_name(name):
    entry = ENTRY_POINTS[name]
    passed = re.findall(r"--(\w+) \{(\w+)\}", entry["command"])

    assert entry["command"].startswith(f"${{{{ATMA18_PYTHON:-python}}}} -m steps.{name}")
    assert passed == [(key, key) for key in entry.get("parameters", {})]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_every_parameter_is_a_plain_string(name):
    types = {key: value["type"] for key, value in ENTRY_POINTS[name].get("parameters", {}).items()}

    assert set(types.values()) <= {"string"}, "a path would refuse demo, and be logged otherwise than it was given"


@pytest.mark.parametrize("name", ["nn1", "nn2"])
def test_the_published_command_line_is_kept(name):
    published = {"stage", "batch_size", "learning_rate", "weight_decay", "num_epochs", "num_layers"}

    assert published | {"init"} <= set(ENTRY_POINTS[name]["parameters"])


def test_every_package_is_pinned_exactly():
    packages = {name: pin for name, pin in PINS if name not in ("conda-forge", "pip", "-c")}

    assert packages.pop("python") == "=3.11"
    assert {name: pin for name, pin in packages.items() if not re.fullmatch(r"==[\w.]+", pin)} == {}
    assert {"mlflow", "torch", "torchvision", "transformers", "catboost"} <= set(packages)
    assert {"xgboost", "scipy", "pandas", "numpy", "click"} <= set(packages)


def test_the_readme_names_the_pinned_mlflow():
    [pinned] = [pin.removeprefix("==") for name, pin in PINS if name == "mlflow"]

    assert set(re.findall(r"(?<!/)mlflow@([\d.]+)", (PROJECT / "README.md").read_text())) == {pinned}
    assert f"mlflow@{pinned} run . --env-manager uv -e test" in (PROJECT / ".ci" / "run").read_text()


def test_the_environment_is_the_pinned_one():
    from importlib.metadata import version

    pinned = {name: pin.removeprefix("==") for name, pin in PINS if pin.startswith("==")}

    assert {name: version(name).split("+")[0] for name in pinned} == pinned


def test_mlflow_is_imported_in_tracking_and_serving_alone():
    importers = set()
    for path in (PROJECT / "atma18").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            importers |= {path.relative_to(PROJECT).parts[1] for name in names if name.split(".")[0] == "mlflow"}

    assert importers == {"tracking", "serving"}


@pytest.mark.parametrize("name", [name for name in ENTRY_POINTS if name != "test"])
def test_help_says_what_each_option_is_and_its_default(name):
    shown = CliRunner().invoke(importlib.import_module(f"steps.{name}").main, ["--help"]).output
    described = " ".join(shown.split())

    assert all(f"--{option} " in described for option in click_defaults(name))
    assert described.count("[default:") == len(click_defaults(name))
