"""Every installed package is pinned, and a servable has the pins of its training."""

import hashlib
import re
from importlib.metadata import distributions

import numpy as np
import pytest
import yaml

from atma18.serving.request_rows import raw_rows
from tests.alone import imported_alone
from tests.store import PROJECT, STEPS, first

INSTALLERS = {"pip"}  # comes with the environment, and nothing imports it
EXACT = re.compile(r"([\w.-]+)==([\w.]+)( ; .+)?")


@pytest.fixture(scope="module")
def finished(finished_lite0):
    """What other processes than this one can load."""
    return finished_lite0


def plain(name):
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines):
    """The version of each package; every line has to say exactly one."""
    assert [line for line in lines if not EXACT.fullmatch(line)] == []
    return {plain(name): version for name, version, _ in (EXACT.fullmatch(line).groups() for line in lines)}


def direct(text):
    """What conda.yaml asks pip for, but for the file of constraints."""
    [listed] = [found["pip"] for found in yaml.safe_load(text)["dependencies"] if isinstance(found, dict)]
    assert listed[0] == "-c constraints.txt"
    return listed[1:]


CONDA = (PROJECT / "conda.yaml").read_text()
CONSTRAINTS = (PROJECT / "constraints.txt").read_text()


def test_every_installed_package_is_pinned_exactly():
    installed = {plain(found.name): found.version.split("+")[0] for found in distributions()}
    pinned = pins(CONSTRAINTS.splitlines())

    assert {
        name: (version, pinned.get(name))
        for name, version in installed.items()
        if name not in INSTALLERS and pinned.get(name) != version
    } == {}


def test_both_files_pin_the_same():
    pinned = pins(CONSTRAINTS.splitlines())

    assert {name: pinned.get(name) for name in pins(direct(CONDA))} == pins(direct(CONDA))


@pytest.mark.parametrize("loose", ["click>=8.5.1", "click==8.*", "click", "click==8.5.1,<9", "-r more.txt"])
def test_a_pin_that_is_not_exact_is_found(loose):
    with pytest.raises(AssertionError):
        pins(["numpy==2.4.6", loose])


def test_a_change_of_the_constraints_makes_a_new_environment_for_conda_too():
    """MLflow names conda's environments after the text of conda.yaml, and would go on with the old one."""
    digest = hashlib.sha256(CONSTRAINTS.encode()).hexdigest()[:16]

    assert f"constraints {digest}\n" in CONDA, f"say in conda.yaml: constraints {digest}"


def model_of(there, step):
    """The folder of the model that the first run of a step has logged."""
    [model] = [found.parent for found in there.store.rglob("MLmodel") if first(step).info.run_id in found.read_text()]
    return model


@pytest.mark.parametrize("step", STEPS)
def test_a_servable_asks_for_what_it_was_trained_with_and_no_more(there, step):
    model = model_of(there, step)
    asked, constraint = (model / "requirements.txt").read_text().splitlines(), "-c constraints.txt"

    assert asked.pop(asked.index(constraint)) == constraint
    assert set(asked) < set(direct(CONDA))
    assert {"mlflow", "torch"} <= set(pins(asked))
    assert ("xgboost" in pins(asked)) == (step in ("gbdt", "blend"))
    assert not {"catboost", "scikit-learn"} & set(pins(asked))
    assert {"flask-wtf", "psycopg2-binary", "pytest", "click", "transformers"} & set(pins(asked)) == set()
    assert pins((model / "constraints.txt").read_text().splitlines()) == pins(CONSTRAINTS.splitlines())


ANSWER = """
import mlflow, pandas as pd

answer = mlflow.pyfunc.load_model(code).predict(pd.read_parquet("request.parquet"))
assert len(answer) == 2, answer
"""


def test_a_servable_imports_all_that_it_asks_for_and_answers_where_there_is_nothing_else(there, tiny, tmp_path):
    """A blend loads what every step loads."""
    model = model_of(there, "blend")
    raw_rows(tiny.test.take(np.arange(2)), tiny.folder).to_parquet(tmp_path / "request.parquet")
    asked = [line for line in (model / "requirements.txt").read_text().splitlines() if not line.startswith("-c")]

    assert imported_alone(tmp_path, asked, model, ANSWER) == set(pins(asked))
