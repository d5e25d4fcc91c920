"""A checkout in a folder whose name is full of signs: MLflow names its store by a URI, and every command finds it."""

import os
import subprocess
import sys

import pytest
from mlflow import MlflowClient

from steps import doctor, embed, lineage, predict, promote, upload
from tests.fixtures import forget_caller
from tests.store import BIN, FAST, PROJECT, SYSTEM_PATH, call, ran

ODD = "a b ü&#%"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, tiny_folder):
    """A copy of the project, with its own store and cache, and drives in a folder of such a name."""
    folder = tmp_path_factory.mktemp("odd") / ODD / "checkout"
    folder.mkdir(parents=True)
    for name in ("MLproject", "conda.yaml", "constraints.txt", "steps", "atma18"):
        subprocess.run(["cp", "-r", PROJECT / name, folder], check=True)
    subprocess.run(["cp", "-r", tiny_folder, folder.parent / "drives"], check=True)
    return folder


def enter(checkout, patch):
    """Work in the checkout, with MLflow's default store."""
    patch.setenv("ATMA18_CACHE", f"{checkout.parent}/cache")
    patch.chdir(checkout)


@pytest.fixture(scope="module")
def trained(checkout):
    """A run of embed, and one of blend by `mlflow run .`."""
    drives = checkout.parent / "drives"
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(checkout, patch)
        ran(call(embed, f"--data={drives}", FAST, "--folds=2"))
        given = ["-P", f"data={drives}", "-P", "folds=2", "-P", "inputs=embed"]
        local = ["--env-manager", "local", "--experiment-name", "atma18"]
        environment = {name: os.environ[name] for name in ("HOME", "ATMA18_CACHE")} | {"PATH": f"{BIN}:{SYSTEM_PATH}"}
        done = subprocess.run(
            [sys.executable, "-m", "mlflow", "run", ".", *local, "-e", "blend", *given],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return drives


@pytest.fixture
def inside(trained, checkout, no_caller, monkeypatch):
    enter(checkout, monkeypatch)
    return trained


def test_every_command_finds_the_store(inside, checkout):
    assert "whole: 2 runs, 2 versions, 2 aliases" in ran(call(doctor))
    assert "embed: run" in ran(call(lineage))
    ran(call(upload))
    candidate = "--model=models:/atma18-blend@candidate"
    assert "submission.csv" in ran(call(predict, candidate, f"--data={inside}", "--out=predicted"))
    ran(call(promote, "--force=true"))
    assert MlflowClient().get_model_version_by_alias("atma18-blend", "champion").run_id
    assert "forced: version none -> 1" in ran(call(promote, "--history=true"))


def test_nothing_is_written_beside_the_folder(inside, checkout):
    others = [path for path in checkout.parent.parent.iterdir() if path.name != ODD]
    assert [found for path in others for found in path.rglob("*") if found.is_file()] == []
    assert (checkout / "mlflow.db").is_file()
    assert (checkout / "mlruns").is_dir()
