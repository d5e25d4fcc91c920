"""Steps killed in several ways at random moments: finished results are intact, and the same command completes.

`ATMA18_FAULTS=20` repeats each kind of kill 20 times; a run of the suite kills each step once by each kind.
"""

import os
import shutil
import signal
import time
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from atma18 import blending
from atma18.cache import CHECKPOINTS, Cache
from atma18.tracking import runs
from steps import blend, doctor, embed
from tests.chance import drawn
from tests.fixtures import enter
from tests.forked import Forked
from tests.store import SHORT, SMALL, STEPS, all_runs, artifacts, call, newest, ran, refused, versions

pytestmark = pytest.mark.usefixtures("small_backbone")

REPETITIONS = int(os.environ.get("ATMA18_FAULTS", "1"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
OPTIONS = {
    "embed": [SMALL],
    "nn1": [SMALL, "--num_epochs=1"],
    "nn2": [SMALL, "--num_epochs=1"],
    "gbdt": ["--rounds=5"],
    "blend": [],
    "predict": ["--model=models:/atma18-blend@candidate", "--out=predicted"],
}
LONGEST_S = 4.0
"""About as long as a step takes from its start to its end."""
MENDED = ("set it to KILLED", "register it", "register it wholly", "the newest whole one")
"""All that a kill may leave to doctor."""


@pytest.fixture(scope="module")
def workshop(finished):
    """A store with a whole main."""
    return SimpleNamespace(folder=finished.store, data=[finished.data])


@pytest.fixture
def store(workshop, no_caller, monkeypatch):
    enter(workshop.folder, monkeypatch)
    return workshop


def words_of(store, step):
    return [*store.data, *OPTIONS[step]]


def finished():
    return {run.info.run_id for run in all_runs() if run.info.status == "FINISHED"}


def assert_sound(store, before):
    """Nothing that had finished is lost, nothing is half there, and doctor has no more to mend than what it may."""
    said = Forked("doctor", ["--repair=true"], store.folder).finish()
    mended = [line for line in said.splitlines() if line.startswith("repaired")]
    assert [line for line in mended if not line.endswith(MENDED)] == [], said
    assert "broken:" not in said
    assert before <= finished()
    assert {run.info.status for run in all_runs()} <= {"FINISHED", "FAILED", "KILLED"}
    steps = [run for run in all_runs() if run.info.run_id in finished() and run.data.tags["atma18.step"] in STEPS]
    assert f"whole: {len(steps)} runs, {len(steps)} versions" in said
    for step in STEPS:
        assert all(version.description for version in versions(step))
        candidate = MlflowClient().get_model_version_by_alias(f"atma18-{step}", "candidate")
        assert int(candidate.version) == max(int(version.version) for version in versions(step))
    cache = Cache.open()
    for entry in cache.entries():
        if entry.kind != CHECKPOINTS:
            place = cache.place(entry.kind, entry.key)
            assert place.with_name(f".{place.name}.size").read_text() == str(entry.size_bytes), f"{place} is damaged"
    for leftover in cache.leftovers():
        cache.discard(leftover)


@pytest.mark.parametrize("step", OPTIONS)
def test_a_step_that_is_killed_at_random_moments_costs_nothing_that_had_finished(store, step):
    draw, words = drawn(), words_of(store, step)
    for number in SIGNALS * REPETITIONS:
        before = finished()
        process, moment_s = Forked(step, words, store.folder), draw.uniform(0, LONGEST_S)
        time.sleep(moment_s)
        process.send(number)
        process.wait()
        print(f"{step} {number.name} after {moment_s:.2f} s: exit code {process.process.exitcode}")
        assert_sound(store, before)

    Forked(step, words, store.folder).finish()

    assert_sound(store, finished())


def test_eight_steps_that_start_at_once_on_no_database_at_all_finish(tiny_folder, tmp_path, monkeypatch):
    together = [Forked("embed", [f"--data={tiny_folder}", "--folds=2", SMALL], tmp_path) for _ in range(8)]
    for process in together:
        process.finish()
    enter(tmp_path, monkeypatch)

    assert [run.info.status for run in all_runs()] == ["FINISHED"] * 8
    assert sorted(int(v.version) for v in versions("embed")) == list(range(1, 9))
    assert "whole: 8 runs, 8 versions, 1 aliases" in Forked("doctor", [], tmp_path).finish()
    assert newest("embed").info.status == "FINISHED"


def test_an_upstream_that_is_deleted_while_a_step_works_is_found_before_anything_is_finished(store, monkeypatch):
    ran(call(embed, *store.data, SMALL))
    upstream, known = newest("embed").info.run_id, len(versions("blend"))
    fit = blending.fit

    def fitted(*args):
        MlflowClient().delete_run(upstream)
        return fit(*args)

    with monkeypatch.context() as patch:
        patch.setattr("atma18.blending.fit", fitted)
        said = refused(call(blend, *store.data, f"--inputs={upstream}"))

    assert f"run {upstream}: expected a finished run, found a deleted one" in said
    assert all_runs()[-1].info.status == "FAILED"
    assert len(versions("blend")) == known
    MlflowClient().restore_run(upstream)
    ran(call(blend, *store.data, f"--inputs={upstream}"))
    assert_sound(store, finished())


def test_an_upstream_whose_files_go_while_a_step_works_is_named(store, monkeypatch):
    upstream = newest("embed")
    away = artifacts(upstream).with_name("away")
    open_run_phase = runs.StepRun.open

    def opened(run, config):
        artifacts(upstream).rename(away)
        open_run_phase(run, config)

    with monkeypatch.context() as patch:
        patch.setattr(runs.StepRun, "open", opened)
        said = refused(call(blend, *store.data, f"--inputs={upstream.info.run_id}"))
    away.rename(artifacts(upstream))

    assert f"embed (run {upstream.info.run_id}): expected its files as they were when this step began" in said
    assert all_runs()[-1].info.status == "FAILED"
    ran(call(blend, *store.data, f"--inputs={upstream.info.run_id}"))
    assert_sound(store, finished())


def test_a_version_that_is_deleted_under_its_alias_is_made_again(store):
    newest_version = max(versions("nn1"), key=lambda v: int(v.version))
    MlflowClient().delete_model_version("atma18-nn1", newest_version.version)

    said = refused(call(doctor))

    assert f"run {newest_version.run_id}: finished and whole, but without a version of atma18-nn1" in said
    main = Forked("main", [*store.data, SMALL, *SHORT], store.folder)
    assert "nn1: reused run" in main.finish()
    assert_sound(store, finished())


def test_drives_that_change_while_a_step_works_are_those_that_it_has_read(store, tiny_folder, tmp_path, monkeypatch):
    folder = tmp_path / "drives"
    shutil.copytree(tiny_folder, folder)
    words, features = [f"--data={folder}", SMALL], folder / "test_features.csv"
    open_run_phase = runs.StepRun.open
    ran(call(embed, *words))
    before = newest("embed").data.tags["atma18.data_sha256"]

    def opened(run, config):
        features.write_text(features.read_text().replace("drive", "park"))
        image = next((folder / "images").glob("*/image_t.png"))
        shutil.copyfile(image.with_name("image_t-1.0.png"), image)
        open_run_phase(run, config)

    with monkeypatch.context() as patch:
        patch.setattr(runs.StepRun, "open", opened)
        ran(call(embed, *words))

    assert newest("embed").data.tags["atma18.data_sha256"] == before
    ran(call(embed, *words))
    assert newest("embed").data.tags["atma18.data_sha256"] != before
    assert_sound(store, finished())
