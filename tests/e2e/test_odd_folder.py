"""A checkout in a folder whose name is full of signs: MLflow names its store by a URI, and every command finds it."""

import subprocess
import sys

import pytest

from tests.store import BIN, FAST, PROJECT, SYSTEM_PATH

ODD = "a b ü&#%"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, tiny_folder):
    """A copy of the project, with its own store and cache, and drives in a folder of such a name."""
    folder = tmp_path_factory.mktemp("odd") / ODD / "checkout"
    folder.mkdir(parents=True)
    for name in ("MLproject", "conda.yaml", "constraints.txt"):
        (folder / name).write_bytes((PROJECT / name).read_bytes())
    for name in ("steps", "atma18"):
        subprocess.run(["cp", "-r", PROJECT / name, folder], check=True)
    subprocess.run(["cp", "-r", tiny_folder, folder.parent / "drives"], check=True)
    return folder


@pytest.fixture(scope="module")
def run(checkout):
    def run(*words):
        environment = {
            "PATH": f"{BIN}:{SYSTEM_PATH}",
            "ATMA18_CACHE": f"{checkout.parent}/cache",
            "HOME": str(checkout),
        }
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=checkout, env=environment, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def trained(checkout, run):
    """The second command goes through `mlflow run`."""
    drives = checkout.parent / "drives"
    code, said = run("steps.embed", f"--data={drives}", FAST, "--folds=2")
    assert code == 0, said
    given = ["-P", f"data={drives}", "-P", "folds=2", "-P", "inputs=embed"]
    local = ["--env-manager", "local", "--experiment-name", "atma18"]
    code, said = run("mlflow", "run", ".", *local, "-e", "blend", *given)
    assert code == 0, said
    return drives


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["steps.doctor"], "whole: 2 runs, 2 versions, 2 aliases"),
        (["steps.lineage"], "embed: run"),
        (["steps.upload"], ""),
        (["steps.predict", "--model=models:/atma18-blend@candidate", "--out=predicted"], "submission.csv"),
        (["steps.promote", "--force=true"], "champion"),
        (["steps.promote", "--history=true"], "forced"),
        (["mlflow", "run", ".", "--env-manager", "local", "--experiment-name", "atma18", "-e", "doctor"], "whole:"),
    ],
    ids=["doctor", "lineage", "upload", "predict", "promote", "history", "mlflow run"],
)
def test_every_command_finds_the_store(trained, run, words, said):
    data = [f"--data={trained}"] if words[0] == "steps.predict" else []

    code, found = run(*words, *data)

    assert code == 0, found
    assert said in found


def test_nothing_is_written_beside_the_folder(trained, checkout):
    assert sorted(path.name for path in checkout.parent.parent.iterdir() if any(path.rglob("*.lock"))) == [ODD]
    assert (checkout / "mlflow.db").is_file()
    assert (checkout / "mlruns").is_dir()
