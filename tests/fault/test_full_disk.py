"""A full disk during a step gives one message and no partial result, and the work can continue."""

import os
import subprocess

import pytest
from mlflow import MlflowClient

from atma18.cache import CHECKPOINTS, OUTBOX, Cache
from steps import doctor
from tests.forked import FILLER, Forked, fill
from tests.store import SMALL, all_runs, call, newest, ran, store_uri, versions

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a disk of a few megabytes")

DISK_MB = 400
NET = ["--stage=first", "--num_epochs=2", "--folds=2", SMALL]
FULL = "expected room for what is made, found none"


@pytest.fixture
def disk(tmp_path):
    """A small disk in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def run(tiny_folder, tmp_path, disk, no_caller, monkeypatch):
    """What starts a step with the store, the cache or both on the small disk."""
    (tmp_path / "large").mkdir()

    def start(step, *words, store=tmp_path / "large", cache=tmp_path / "large", data=True, **more):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(store))
        monkeypatch.setenv("ATMA18_CACHE", f"{cache}/cache")
        of_data = [f"--data={tiny_folder}"] if data else []
        environment = {"ATMA18_CACHE": f"{cache}/cache", "TMPDIR": str(tmp_path / "large")}
        return Forked(step, [*of_data, *words], store, environment, logs=tmp_path, **more)

    return start


def free(disk):
    (disk / FILLER).unlink()


def assert_cache_whole():
    cache = Cache.open()
    for entry in cache.entries():
        if entry.kind not in (CHECKPOINTS, OUTBOX):
            place = cache.place(entry.kind, entry.key)
            assert place.with_name(f".{place.name}.size").read_text() == str(entry.size_bytes), place
    assert cache.leftovers() == []


@pytest.mark.parametrize("left_mb", [0, 1, 3])
def test_a_disk_that_is_full_while_drives_are_cached(run, disk, left_mb):
    fill(disk, left_mb * 1_000_000)

    process = run("embed", "--folds=2", SMALL, cache=disk)

    assert process.wait() == 1, process.said
    assert FULL in process.said
    assert "Traceback" not in process.said
    free(disk)
    assert_cache_whole()
    run("embed", "--folds=2", SMALL, cache=disk).finish()
    assert_cache_whole()
    ran(call(doctor))


def test_a_disk_that_gets_full_while_a_net_keeps_its_checkpoints(run, disk):
    run("nn1", *NET, cache=disk).finish()
    fill(disk, 20_000)

    process = run("nn1", *NET, cache=disk)

    assert process.wait() == 1, process.said
    assert FULL in process.said
    assert "Traceback" not in process.said
    free(disk)
    assert_cache_whole()
    run("nn1", *NET, cache=disk).finish()
    assert [r.info.status for r in all_runs()] == ["FINISHED", "FAILED", "FINISHED"]
    ran(call(doctor))


def test_a_store_whose_disk_gets_full_while_a_result_is_logged_is_given_it_later(run, disk):
    run("embed", "--folds=2", SMALL, store=disk).finish()

    process = run("embed", "--folds=2", SMALL, store=disk, fill_at=("_create_logged_model", str(disk)))

    assert process.wait() == 1, process.said
    assert "embed: expected the store to take the result of run" in process.said
    assert "-m steps.upload" in process.said
    assert "Traceback" not in process.said
    [kept] = [entry.key for entry in Cache.open().entries() if entry.kind == OUTBOX]
    free(disk)
    assert f"uploaded run {kept}" in run("upload", store=disk, data=False).finish()
    assert MlflowClient().get_run(kept).info.status == "FINISHED"
    assert [v.run_id for v in versions("embed")].count(kept) == 1
    ran(call(doctor))


def test_a_store_whose_disk_gets_full_while_a_version_is_registered_registers_it_later(run, disk):
    run("embed", "--folds=2", SMALL, store=disk).finish()

    process = run("embed", "--folds=2", SMALL, store=disk, fill_at=("_create_model_version", str(disk)))

    assert process.wait() == 1, process.said
    assert "expected the tracking store to answer, found" in process.said
    assert "Traceback" not in process.said
    free(disk)
    finished = newest("embed").info.run_id
    assert len(all_runs()) == 2
    assert f"repaired run {finished}: register it" in run("doctor", "--repair=true", store=disk, data=False).finish()
    assert [v.run_id for v in versions("embed")].count(finished) == 1
    run("embed", "--folds=2", SMALL, store=disk).finish()
    ran(call(doctor))
