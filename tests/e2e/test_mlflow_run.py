"""The entry points as a user starts them: the real `mlflow run`, in processes of their own."""

import pytest
from mlflow import MlflowClient

from tests.store import BIN, FAST, STEPS, SYSTEM_PATH, mlflow_run, store_uri

LOCAL = ("--env-manager", "local", "--experiment-name", "atma18")
ACTIVATED = {"PATH": f"{BIN}:{SYSTEM_PATH}"}


def runs(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(store))
    experiment = MlflowClient().get_experiment_by_name("atma18")
    return MlflowClient().search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])


def test_one_command_goes_from_a_dataset_folder_to_a_submission(tiny_folder, tmp_path, monkeypatch):
    short = {"nn1_num_epochs": "1", "nn2_num_epochs": "1", "gbdt_rounds": "5"}
    fast = {"backbone": FAST.partition("=")[2], "folds": "2"}
    named = {"data": str(tiny_folder), **fast, **short, "out": f"{tmp_path}/submission.csv"}
    parameters = [word for name, value in named.items() for word in ("-P", f"{name}={value}")]

    done = mlflow_run(tmp_path, *LOCAL, *parameters, **ACTIVATED)

    assert done.returncode == 0, done.stdout + done.stderr
    found = runs(tmp_path, monkeypatch)
    assert [run.info.run_name for run in found] == ["main", *STEPS]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in found[1:]} == {found[0].info.run_id}
    declared = {"preset": "quick", "fold_seed": "0", "seed": "0"}
    ours = {f"cfg.{name}": value for name, value in (declared | named).items() if name != "out"}
    assert found[0].data.params == declared | named | ours  # logged by MLflow and by us, and nothing that was not given
    assert found[1 + STEPS.index("nn1")].data.params["cfg.first.num_epochs"] == "1"
    assert (tmp_path / "submission.csv").is_file()
    assert "constant velocity" in done.stdout


def test_a_step_without_its_upstreams_fails_with_the_command_for_the_same_environment(
    tiny_folder, tmp_path, monkeypatch
):
    done = mlflow_run(tmp_path, *LOCAL, "-e", "gbdt", "-P", f"data={tiny_folder}", **ACTIVATED)

    assert done.returncode != 0
    expected = f"mlflow run . --env-manager local -e embed --experiment-name atma18 -P data={tiny_folder}"
    assert expected in done.stderr
    assert "Traceback" not in done.stderr.split("Error: ")[0]
    assert [run.info.status for run in runs(tmp_path, monkeypatch)] == ["FAILED"]


def test_the_published_command_line_works_name_by_name(tiny_folder, tmp_path, monkeypatch):
    published = "stage=first batch_size=128 learning_rate=2e-3 weight_decay=1e-6 num_epochs=1 num_layers=2"
    words = [
        word
        for value in [f"data={tiny_folder}", "folds=2", FAST.removeprefix("--"), *published.split()]
        for word in ("-P", value)
    ]

    done = mlflow_run(tmp_path, *LOCAL, "-e", "nn1", *words, **ACTIVATED)

    assert done.returncode == 0, done.stdout + done.stderr
    [run] = runs(tmp_path, monkeypatch)
    assert run.info.status == "FINISHED"
    params = run.data.params
    assert {name: params[name] for name in ("stage", "learning_rate", "folds")} == {
        "stage": "first",
        "learning_rate": "2e-3",
        "folds": "2",
    }
    resolved = {
        "cfg.stage": "first",
        "cfg.first.batch_size": "128",
        "cfg.first.learning_rate": "0.002",
        "cfg.first.weight_decay": "1e-06",
        "cfg.first.num_epochs": "1",
        "cfg.num_layers": "2",
        "cfg.folds": "2",
    }
    assert {name: params[name] for name in resolved} == resolved


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param(
            "nn1_num_epoch=1", "No such option '--nn1_num_epoch'. Did you mean '--nn1_num_epochs'?", id="typo"
        ),
        pytest.param("help=1", "expected parameters, found help", id="help"),
        pytest.param("folds=preset", "expected a count, or the run", id="a word that meant nothing"),
    ],
)
def test_what_nobody_can_ask_for_fails_the_run(tiny_folder, tmp_path, monkeypatch, given, said):
    done = mlflow_run(tmp_path, *LOCAL, "-P", f"data={tiny_folder}", "-P", given, **ACTIVATED)

    assert done.returncode != 0
    assert said in done.stderr
    assert [run.info.status for run in runs(tmp_path, monkeypatch)] == ["FAILED"]
