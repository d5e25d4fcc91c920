"""doctor reports what is intact and what is broken, and changes nothing without repair=true."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from atma18.tracking.identity import STEP_TAG
from atma18.tracking.processes import PROCESS_TAG, Process
from steps import blend, doctor, embed
from tests.fixtures import enter, forget_caller
from tests.store import SMALL, all_runs, artifacts, call, first, newest, ran, refused, version_of

BLEND = "atma18-blend"


@pytest.fixture(scope="module")
def small(tiny_folder, small_backbone, tmp_path_factory):
    """A store with one run of embed and two of blend, all whole."""
    store = tmp_path_factory.mktemp("hospital")
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(store, patch)
        data = f"--data={tiny_folder}"
        ran(call(embed, data, SMALL))
        for _ in range(2):
            ran(call(blend, data, "--inputs=embed"))
        runs = SimpleNamespace(embed=first("embed"), old=first("blend"), new=newest("blend"))
    return SimpleNamespace(store=store, data=data, **vars(runs))


@pytest.fixture
def store(small, no_caller, monkeypatch):
    enter(small.store, monkeypatch)
    return small


@pytest.fixture
def restored(store):
    """Files that a test changes or removes are put back."""
    kept = {}

    def keep(path):
        kept[path] = path.read_bytes()
        return path

    yield keep
    for path, content in kept.items():
        path.write_bytes(content)


@pytest.fixture
def opened(store):
    """Runs that a test opens are deleted."""
    made = []

    def open_run(**tags):
        run = MlflowClient().create_run(store.embed.info.experiment_id, tags=tags)
        made.append(run.info.run_id)
        return run.info.run_id

    yield open_run
    for run_id in made:
        MlflowClient().delete_run(run_id)


def everything(store):
    """All that the store says and holds, but for what reading it leaves."""
    files = {
        str(path): path.read_bytes()
        for path in (store / "mlruns").rglob("*")
        if path.is_file() and path.name != "registered_model_meta"
    }
    registry = {
        model.name: (dict(model.aliases), [(v.version, dict(v.tags), v.source) for v in versions_of(model.name)])
        for model in MlflowClient().search_registered_models()
    }
    return files, registry, [(r.info.run_id, r.info.status, dict(r.data.tags), r.data.metrics) for r in all_runs()]


def versions_of(name):
    return MlflowClient().search_model_versions(f"name = '{name}'")


def alias_of(alias):
    return int(MlflowClient().get_registered_model(BLEND).aliases[alias])


def model_file(run):
    """Some file of a run's servable."""
    folder = Path(MlflowClient().get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location)
    return next(folder.rglob("bundle.json"))


def test_a_whole_store_is_said_to_be_whole_and_left_as_it_is(store):
    before = everything(store.store)

    said = ran(call(doctor))

    assert "whole: 3 runs, 3 versions, 2 aliases" in said
    assert "broken" not in said
    assert everything(store.store) == before


@pytest.mark.parametrize("damage", ["changed", "missing"])
@pytest.mark.parametrize(
    "find",
    [
        pytest.param(lambda run: artifacts(run) / "predictions" / "test.parquet", id="predictions"),
        pytest.param(lambda run: artifacts(run) / "config.json", id="configuration"),
        pytest.param(model_file, id="model"),
    ],
)
def test_a_touched_file_is_found_wherever_it_matters(store, restored, find, damage):
    path = restored(find(store.embed))
    if damage == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.unlink()
    before = everything(store.store)

    said = refused(call(doctor))

    run_id = store.embed.info.run_id
    assert f"broken: run {run_id}: expected the files that the manifest names, found {path} ({damage})" in said
    assert f"mlflow runs delete --run-id {run_id}" in said
    assert f"broken: run {store.old.info.run_id} (blend): its input input.embed: run {run_id}" in said
    assert f"broken: run {store.new.info.run_id} (blend): its input input.embed: run {run_id}" in said
    assert "broken: models:/atma18-embed/1:" in said
    assert "broken: models:/atma18-embed@candidate: points at version 1, which is broken" in said
    assert "found 5 broken" in said
    assert everything(store.store) == before


def test_a_deleted_run_is_found_under_its_version(store):
    MlflowClient().delete_run(store.embed.info.run_id)
    try:
        said = refused(call(doctor))
    finally:
        MlflowClient().restore_run(store.embed.info.run_id)

    found = f"run {store.embed.info.run_id}: expected a finished run, found a deleted one"
    assert f"models:/atma18-embed/1: {found}" in said
    assert f"mlflow runs restore --run-id {store.embed.info.run_id}" in said


def test_a_run_whose_whole_folder_is_gone_is_found(store, tmp_path):
    folder = artifacts(store.new)
    shutil.move(folder, tmp_path / "elsewhere")
    try:
        said = refused(call(doctor))
    finally:
        shutil.move(tmp_path / "elsewhere", folder)

    assert f"expected the files of 1 of 3 runs in {store.store / 'mlruns'}, found that their folders are gone" in said
    assert "found 1 broken" in said
    assert "delete" not in said


def test_an_alias_of_a_broken_version_is_moved_to_a_whole_one_if_told_to(store, restored):
    old, new = int(version_of("blend", store.old)), int(version_of("blend", store.new))
    assert alias_of("candidate") == new
    restored(artifacts(store.new) / "weights.json").unlink()

    said = refused(call(doctor))
    assert f"models:/{BLEND}@candidate: points at version {new}, which is broken" in said
    assert f"repair=true: point it at version {old}, the newest whole one" in said
    assert alias_of("candidate") == new

    refused(call(doctor, "--repair=true"))
    assert alias_of("candidate") == old
    MlflowClient().set_registered_model_alias(BLEND, "candidate", str(new))


def test_a_changed_tag_of_a_version_is_found(store):
    version = str(version_of("blend", store.new))
    right = store.new.data.tags["atma18.input.embed"]
    MlflowClient().set_model_version_tag(BLEND, version, "atma18.input.embed", "0" * 32)
    try:
        said = refused(call(doctor))
    finally:
        MlflowClient().set_model_version_tag(BLEND, version, "atma18.input.embed", right)

    assert f"models:/{BLEND}/{version}: expected the tags that its run has recorded" in said
    assert f"atma18.input.embed = {'0' * 32}" in said


def test_a_champion_that_was_not_promoted_is_found(store):
    MlflowClient().set_registered_model_alias(BLEND, "champion", "1")
    try:
        said = refused(call(doctor))
    finally:
        MlflowClient().delete_registered_model_alias(BLEND, "champion")

    assert f"models:/{BLEND}@champion: expected version none by the record of promotions, found 1" in said


def test_a_result_without_a_version_is_registered_if_told_to(store):
    number = str(version_of("blend", store.new))
    MlflowClient().delete_model_version(BLEND, number)

    said = refused(call(doctor))
    assert f"run {store.new.info.run_id}: finished and whole, but without a version of {BLEND}" in said
    assert [int(v.version) for v in versions_of(BLEND)] == [int(version_of("blend", store.old))]

    said = ran(call(doctor, "--repair=true"))
    assert f"repaired run {store.new.info.run_id}: register it" in said
    assert alias_of("candidate") == int(version_of("blend", store.new)) != int(number)
    ran(call(doctor))


def gone():
    """A process of this machine that has this process's number and began long before it."""
    return str(Process(Process.this().host, os.getpid(), 1.0))


@pytest.mark.parametrize(
    "tags",
    [
        pytest.param({STEP_TAG: "nn1", PROCESS_TAG: gone()}, id="number was given to another"),
        pytest.param(
            {STEP_TAG: "nn1", PROCESS_TAG: str(Process(Process.this().host, 2**22 + 1, 1.0))},
            id="no such number",
        ),
    ],
)
def test_a_run_whose_process_is_gone_is_closed_if_told_to(store, opened, tags):
    run_id = opened(**tags)

    said = refused(call(doctor))
    assert f"broken: run {run_id}: RUNNING, but its process is gone" in said
    assert MlflowClient().get_run(run_id).info.status == "RUNNING"

    said = ran(call(doctor, "--repair=true"))
    assert f"repaired run {run_id}: set it to KILLED" in said
    assert MlflowClient().get_run(run_id).info.status == "KILLED"


def test_a_run_that_mlflow_run_opened_and_nobody_began_is_closed_after_a_day(store, opened):
    run_id = opened(**{"mlflow.project.entryPoint": "nn1"})
    ran(call(doctor))
    client = MlflowClient()
    a_day_ago_ms = client.get_run(run_id).info.start_time - 25 * 3600 * 1000
    old = client.create_run(
        store.embed.info.experiment_id, start_time=a_day_ago_ms, tags={"mlflow.project.entryPoint": "nn1"}
    )

    said = ran(call(doctor, "--repair=true"))

    assert f"repaired run {old.info.run_id}: set it to KILLED" in said
    assert client.get_run(old.info.run_id).info.status == "KILLED"
    assert client.get_run(run_id).info.status == "RUNNING"


def test_a_run_at_work_is_no_fault(store, opened):
    run_id = opened(**{STEP_TAG: "nn1", PROCESS_TAG: str(Process.this())})

    assert "1 running" in ran(call(doctor, "--repair=true"))
    assert MlflowClient().get_run(run_id).info.status == "RUNNING"


def test_a_run_of_another_machine_is_left_to_that_machine(store, opened):
    run_id = opened(**{STEP_TAG: "nn1", PROCESS_TAG: "elsewhere 1 1.00"})

    said = ran(call(doctor, "--repair=true"))

    assert f"unknown: run {run_id}: RUNNING on elsewhere, which cannot be seen from here" in said
    assert MlflowClient().get_run(run_id).info.status == "RUNNING"


def test_no_store_is_made_where_there_is_none(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch)

    assert "expected a tracking store, found none" in refused(call(doctor))
    assert not (tmp_path / "mlflow.db").exists()
