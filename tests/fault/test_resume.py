"""A step that is killed during its training continues when it is called again, with bit-identical results."""

import re
import signal
import time

import pandas as pd
import pytest
import torch
from mlflow import MlflowClient

from steps import nn1
from tests.chance import drawn
from tests.fixtures import enter
from tests.forked import Forked
from tests.store import SHORT, SMALL, all_runs, artifacts, call, newest, ran

pytestmark = pytest.mark.usefixtures("small_backbone")

EPOCHS, FOLDS = 2, 3
EPOCH_S = 0.3
WORDS = [SMALL, "--stage=both", f"--num_epochs={EPOCHS}", f"--folds={FOLDS}"]
SIDE_BY_SIDE = ["--backbone=cnn", "--view=path", "--stage=whole", f"--num_epochs={2 * EPOCHS}", f"--folds={FOLDS}"]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty store, and a cache that outlives what is killed."""
    enter(tmp_path, monkeypatch)
    return tmp_path


def start(step, data, store, words=WORDS, **faults):
    return Forked(step, [f"--data={data}", *words], store, **faults)


def saved_epochs(store):
    """How many epochs each fold has saved, by what is there right now."""
    found = {}
    for file in (store / "cache" / "checkpoints").glob("*/fold*.pt"):
        try:
            found[file.stem] = len(torch.load(file, weights_only=True)["epochs"])
        except (OSError, RuntimeError):  # just replaced
            continue
    return found


def wait_until(store, process, fold, epochs):
    """Wait until a fold has saved so many epochs."""
    while saved_epochs(store).get(f"fold{fold}", 0) < epochs:
        assert process.process.is_alive(), process.said
        time.sleep(0.02)


def result(run):
    """The predictions of a run, and the SHA-256 of every file of its servable: its weights among them."""
    tables = [pd.read_parquet(artifacts(run) / "predictions" / f"{name}.parquet") for name in ("oof", "test")]
    manifest = (artifacts(run) / "manifest.json").read_text()
    return tables, sorted(re.findall(r"objects/([0-9a-f]{64}\.safetensors)", manifest))


def assert_same_result(run, other):
    (tables, weights), (expected, expected_weights) = result(run), result(other)
    assert len(weights) == FOLDS
    assert weights == expected_weights
    for table, right in zip(tables, expected, strict=True):
        pd.testing.assert_frame_equal(table, right, check_exact=True)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        pytest.param("nn1", WORDS, id="nn1"),
        pytest.param("nn2", WORDS, id="nn2"),
        pytest.param("nn1", SIDE_BY_SIDE, id="nn1 with its folds side by side"),
    ],
)
def test_a_step_killed_at_a_random_epoch_of_a_random_fold_goes_on_to_the_same_bits(store, tiny_folder, step, words):
    draw = drawn()
    fold, epochs = draw.randrange(FOLDS), draw.randint(1, 2 * EPOCHS)  # two stages
    print(f"killed in fold {fold} after {epochs} epochs")
    process = start(step, tiny_folder, store, words, epoch_s=EPOCH_S)
    wait_until(store, process, fold, epochs)
    time.sleep(draw.uniform(0, EPOCH_S))
    process.send(signal.SIGKILL)
    process.wait()
    dead = all_runs()[-1]
    assert dead.info.status == "RUNNING"

    said = start(step, tiny_folder, store, words).finish()

    resumed = newest(step)
    assert f"{step}: goes on from run {dead.info.run_id}, which was interrupted" in said
    assert resumed.data.tags["atma18.resumed_from"] == dead.info.run_id
    after = MlflowClient().get_run(dead.info.run_id)
    assert (after.info.status, after.data.tags["atma18.continued_by"]) == ("KILLED", resumed.info.run_id)
    assert list((store / "cache" / "checkpoints").iterdir()) == []
    start(step, tiny_folder, store, words).finish()
    straight = newest(step)
    assert "atma18.resumed_from" not in straight.data.tags
    assert_same_result(resumed, straight)
    for k in range(FOLDS):
        curves = [MlflowClient().get_metric_history(r.info.run_id, f"fold{k}/train_mae_m") for r in (resumed, straight)]
        assert [(m.step, m.value) for m in curves[0]] == [(m.step, m.value) for m in curves[1]]


@pytest.mark.parametrize(
    ("number", "words", "reached"),
    [
        pytest.param(signal.SIGTERM, WORDS, r"\d of fold 0", id="SIGTERM"),
        pytest.param(signal.SIGINT, WORDS, r"\d of fold 0", id="Ctrl-C"),
        pytest.param(signal.SIGINT, SIDE_BY_SIDE, r"\d of fold 0(, \d of fold \d){0,2}", id="Ctrl-C, side by side"),
    ],
)
def test_a_step_that_is_told_to_stop_says_how_far_it_came(store, tiny_folder, number, words, reached):
    process = start("nn1", tiny_folder, store, words, epoch_s=EPOCH_S)
    wait_until(store, process, 0, 1)
    process.send(number)

    assert process.wait() != 0
    said = process.said
    told = re.search(rf"nn1: interrupted (after epoch {reached}): the same command goes on from there", said)
    assert told, said
    [run] = all_runs()
    assert run.info.status == "KILLED"
    assert run.data.tags["atma18.interrupted"] == f"{told[1]}: the same command goes on from there"
    start("nn1", tiny_folder, store, words).finish()
    assert newest("nn1").data.tags["atma18.resumed_from"] == run.info.run_id


def test_a_finished_run_whose_checkpoints_were_left_stays_finished(store, tiny_folder, monkeypatch):
    """Killed between its end and the cleaning up: the folds are there, and so is the result."""
    words = [f"--data={tiny_folder}", SMALL, "--stage=first", "--num_epochs=1", f"--folds={FOLDS}"]
    with monkeypatch.context() as patch:
        patch.setattr("atma18.nets.checkpoints.Checkpoints.forget", lambda *given: None)
        ran(call(nn1, *words))
    done = newest("nn1")
    assert saved_epochs(store) == {f"fold{k}": 1 for k in range(FOLDS)}

    ran(call(nn1, *words))

    assert MlflowClient().get_run(done.info.run_id).info.status == "FINISHED"
    assert newest("nn1").data.tags["atma18.resumed_from"] == done.info.run_id
    assert_same_result(newest("nn1"), done)


def test_main_goes_on_where_it_was_killed(store, tiny_folder):
    words = [f"--data={tiny_folder}", SMALL, *SHORT]
    process = Forked("main", words, store, epoch_s=EPOCH_S)
    wait_until(store, process, 1, 1)
    process.send(signal.SIGKILL)
    process.wait()
    left = {run.data.tags["atma18.step"]: run.info.run_id for run in all_runs()}
    assert set(left) == {"main", "motion", "embed", "nn1"}

    said = Forked("main", words, store).finish()

    assert all(f"{step}: reused run {left[step]}" in said for step in ("motion", "embed"))
    assert f"nn1: goes on from run {left['nn1']}" in said
    status = {name: MlflowClient().get_run(run_id).info.status for name, run_id in left.items()}
    assert status == {"main": "KILLED", "motion": "FINISHED", "embed": "FINISHED", "nn1": "KILLED"}
