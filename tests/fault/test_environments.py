"""The ways into the project: conda, an environment that is not activated, another MLflow outside, a caller's store."""

import os
import re
import sqlite3
import subprocess
import sys
import venv

import pytest
from mlflow import MlflowClient

from steps import embed
from tests.fixtures import enter
from tests.store import BIN, PROJECT, SYSTEM_PATH, all_runs, call, mlflow_run, refused, store_uri

LOCAL = ("--env-manager", "local")
QUICKEST = ("-e", "cache")  # needs no data


def statuses(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(store))
    return [run.info.status for run in all_runs()]


def script(path, text):
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def test_plain_mlflow_run_works_where_conda_is(tiny_folder, tmp_path, monkeypatch):
    """With a stand-in that notes what it is asked for, and whose environment is ours once it is activated."""
    stub = tmp_path / "stub"
    stub.mkdir()
    script(
        stub / "conda",
        f'echo "$@" >> {tmp_path}/asked\nif [ "$1 $2" = "env list" ]; then echo \'{{"envs": []}}\'; fi',
    )
    script(stub / "activate", f'echo "activate $1" >> {tmp_path}/asked\nexport PATH={BIN}:$PATH')

    done = mlflow_run(tmp_path, "-e", "embed", "-P", f"data={tiny_folder}", PATH=f"{stub}:{SYSTEM_PATH}")

    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path, monkeypatch) == ["FINISHED"]
    asked = (tmp_path / "asked").read_text()
    [name] = re.findall(rf"^env create -n (mlflow-[0-9a-f]+) --file {PROJECT}/conda.yaml$", asked, re.MULTILINE)
    assert f"activate {name}\n" in asked
    assert MlflowClient().get_model_version_by_alias("atma18-embed", "candidate").version


def test_an_environment_that_is_not_activated_is_named_by_a_variable(tmp_path, monkeypatch):
    done = mlflow_run(tmp_path, *LOCAL, *QUICKEST, ATMA18_PYTHON=sys.executable)

    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/cache: " in done.stdout
    assert statuses(tmp_path, monkeypatch) == ["FINISHED"]


@pytest.fixture
def other_python(tmp_path):
    """A Python with all packages of this one, whose mlflow says that it is an older one."""
    folder = tmp_path / "older"
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "all.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")))
    (site / "mlflow-3.14.0.dist-info").mkdir()
    (site / "mlflow-3.14.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow\nVersion: 3.14.0\n")
    return folder / "bin" / "python"


def test_another_mlflow_outside_is_refused(tiny_folder, tmp_path, other_python, monkeypatch):
    words = [*LOCAL, "-e", "embed", "-P", f"data={tiny_folder}"]

    done = mlflow_run(tmp_path, *words, python=other_python, ATMA18_PYTHON=sys.executable)

    assert done.returncode != 0
    assert "expected the same MLflow outside and inside the project's environment" in done.stderr
    assert "found 3.14.0 outside and 3.17.2 inside: start it with mlflow 3.17.2" in done.stderr
    assert statuses(tmp_path, monkeypatch) == ["FAILED"]
    assert MlflowClient().search_registered_models() == []


@pytest.mark.parametrize("name", ["MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"])
def test_a_relative_store_is_refused_before_anything_is_opened(tiny_folder, tmp_path, monkeypatch, name):
    enter(tmp_path, monkeypatch)
    monkeypatch.setenv(name, "sqlite:///here.db")

    message = refused(call(embed, f"--data={tiny_folder}"))

    assert f"{name}: expected an absolute path" in message
    assert f"found sqlite:///here.db: set {name}=sqlite:///{tmp_path}/here.db" in message
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_relative_store_is_refused_under_mlflow_run_too(tiny_folder, tmp_path, monkeypatch):
    """There the step would look for the run in another file than the one that it was opened in."""
    words = [*LOCAL, "-e", "embed", "-P", f"data={tiny_folder}"]
    environment = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "ATMA18_PYTHON": sys.executable}

    before = [(path, path.stat().st_mtime_ns) for path in PROJECT.glob("mlflow.db*")]
    done = mlflow_run(tmp_path, *words, **environment)

    assert done.returncode != 0
    assert "MLFLOW_TRACKING_URI: expected an absolute path" in done.stderr
    assert statuses(tmp_path, monkeypatch) == ["FAILED"]
    assert [(path, path.stat().st_mtime_ns) for path in PROJECT.glob("mlflow.db*")] == before


def test_a_word_that_an_option_does_not_know_fails_the_run_of_mlflow_run(tmp_path, monkeypatch):
    words = [*LOCAL, "-e", "embed", "-P", "preset=fast"]

    done = mlflow_run(tmp_path, *words, ATMA18_PYTHON=sys.executable)

    assert done.returncode != 0
    assert "'fast' is not one of 'best'" in done.stderr
    assert statuses(tmp_path, monkeypatch) == ["FAILED"]


def test_tests_leave_the_callers_store_as_it_was(tmp_path):
    """Under `mlflow run` the suite inherits a run and a store; a test that logs must not touch either."""
    store = tmp_path / "callers.db"
    sqlite3.connect(store).close()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")} | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{store}",
        "MLFLOW_RUN_ID": "0" * 32,
        "MLFLOW_EXPERIMENT_ID": "1",
        "ATMA18_CACHE": str(tmp_path / "callers-cache"),
    }
    one = "tests/e2e/test_motion.py::test_its_error_is_that_of_the_reference_of_every_run"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", one]

    done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout
    assert store.read_bytes() == b""
    assert not (tmp_path / "callers-cache").exists()
