"""MLproject, click and the environment agree, and the code follows the project's rules."""

import ast
import importlib
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

PROJECT = Path(__file__).resolve().parent.parent
ENTRY_POINTS = yaml.safe_load((PROJECT / "MLproject").read_text())["entry_points"]
PINS = re.findall(r"^\s*- ([\w.-]+)(.*)$", (PROJECT / "conda.yaml").read_text(), re.MULTILINE)


def click_defaults(name):
    command = importlib.import_module(f"steps.{name}").main
    return {option.name: option.to_info_dict()["default"] for option in command.params}


def as_text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_the_entry_points_are_the_documented_ones():
    steps = ["main", "motion", "embed", "nn1", "nn2", "gbdt", "blend"]
    registry = ["promote", "predict", "serve", "lineage", "doctor", "upload", "compare"]
    data = ["simulate", "evaluate", "look", "ingest", "check", "fetch", "cache"]
    assert list(ENTRY_POINTS) == [*steps, *registry, *data, "test"]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_what_mlproject_declares_has_clicks_name_and_default(name):
    defaults = click_defaults(name)
    declared = {key: value["default"] for key, value in ENTRY_POINTS[name].get("parameters", {}).items()}

    assert declared == {key: as_text(defaults[key]) for key in declared}


@pytest.mark.parametrize("name", ["main", "motion", "embed", "nn1", "nn2", "gbdt", "blend"])
def test_a_step_declares_what_has_one_default_for_all_presets_and_passes_the_rest_through(name):
    own = {"main": {"out"}, "gbdt": {"embed", "nn1", "nn2"}, "blend": {"out"}}

    assert set(ENTRY_POINTS[name]["parameters"]) == {"data", "preset", "fold_seed", "seed", *own.get(name, ())}


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

    assert published | {"init"} <= set(click_defaults(name))


def test_mlproject_stays_short():
    added = {"check", "ingest"} & set(ENTRY_POINTS)

    assert len((PROJECT / "MLproject").read_text().splitlines()) <= 120 + 6 * len(added)


def test_no_block_of_twelve_lines_stands_twice_in_steps_and_mlproject():
    blocks = Counter()
    for path in [*sorted((PROJECT / "steps").glob("*.py")), PROJECT / "MLproject"]:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
        blocks.update(tuple(lines[i : i + 12]) for i in range(len(lines) - 11))

    assert [block for block, times in blocks.items() if times > 1] == []


def test_every_package_is_pinned_exactly():
    packages = {name: pin for name, pin in PINS if name not in ("conda-forge", "pip", "-c")}

    assert packages.pop("python") == "=3.11"
    assert {name: pin for name, pin in packages.items() if not re.fullmatch(r"==[\w.]+", pin)} == {}
    assert {"mlflow", "torch", "torchvision", "transformers", "catboost"} <= set(packages)
    assert {"xgboost", "scipy", "pandas", "numpy", "click"} <= set(packages)


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

    with_default = [option for option, default in click_defaults(name).items() if default is not None]
    assert all(f"--{option} " in described for option in click_defaults(name))
    assert described.count("[default:") - described.count("[default: (the preset's)") == len(with_default)
