"""Lineage: from a run down to the data and up to all runs that used it; a broken run is shown in its place."""

import json
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from atma18.cache import Cache
from atma18.tracking import as_tree, trace
from atma18.tracking.lineage import Lineage, Node, Version
from steps import lineage
from tests.store import all_runs, artifacts, call, first, put_back, ran, refused, store_uri, version_of

ANCESTRY = {
    "blend": {"motion": "motion", "nn1": "nn1", "nn2": "nn2", "gbdt": "gbdt"},
    "gbdt": {"embed": "embed", "nn1": "nn1", "nn2": "nn2"},
    "motion": {},
    "embed": {},
    "nn1": {},
    "nn2": {"init": "nn1"},
}
"""The steps of a `main`, and the step behind each of their inputs."""


def found(run_id):
    return trace(run_id, Cache.open())


def run_id_of(step):
    return first(step).info.run_id


def linked(node):
    return {name: other.run_id for name, other in node.links}


@pytest.fixture
def made(there):
    """Makes cheap runs with the tags that are given, and takes them away again."""
    client, ids = MlflowClient(), []

    def make(status="FINISHED", **tags):
        named = {f"atma18.{name.replace('__', '.')}": value for name, value in tags.items()}
        run_id = client.create_run(first("nn1").info.experiment_id, tags=named).info.run_id
        ids.append(run_id)
        if status != "RUNNING":
            client.set_terminated(run_id, status)
        return run_id

    yield make
    for run_id in ids:
        for tag in client.get_run(run_id).data.tags:
            if tag.startswith("atma18."):
                client.delete_tag(run_id, tag)
        client.delete_run(run_id)


# --- Down to the data


def test_a_blend_is_traced_through_every_upstream_to_the_data(there, tiny):
    whole = found(run_id_of("blend"))

    assert whole.origin.run_id == run_id_of("blend")
    assert {node.step: linked(node) for node in whole.runs} == {
        step: {name: run_id_of(of) for name, of in inputs.items()} for step, inputs in ANCESTRY.items()
    }
    assert {node.data_sha256 for node in whole.runs} == {tiny.sha256}
    assert whole.broken == []
    for node in whole.runs:
        run = first(node.step)
        assert node.data == json.loads((artifacts(run) / "config.json").read_text())["data"]
        assert node.folds_sha256 == run.data.tags["atma18.folds_sha256"]
        assert (node.status, node.started_ms) == ("FINISHED", run.info.start_time)
        assert (node.git, node.code_sha256) == (run.data.tags["atma18.git"], run.data.tags["atma18.code_sha256"])
        assert node.mae_m == run.data.metrics["oof/mae_m"]


def test_every_run_is_shown_in_full_once_with_versions_aliases_and_data(there, tiny):
    number = version_of("nn1", first("nn1"))
    MlflowClient().set_registered_model_alias("atma18-nn1", "of-lineage", number)

    down, up = ran(call(lineage, f"--model={run_id_of('blend')}")).split("\nused by")

    for step in ANCESTRY:
        assert down.count(f"run {run_id_of(step)}, FINISHED") == 1
        assert f"OOF MAE {first(step).data.metrics['oof/mae_m']:.4f} m" in down
    above = {"nn1": 2, "nn2": 1}  # gbdt reads both again, and nn2 has the encoder of nn1
    assert {step: down.count(f": run {run_id_of(step)}, above") for step in above} == above
    assert f"atma18-blend {version_of('blend', first('blend'))}" in down
    [of_nn1] = [line for line in down.splitlines() if f" atma18-nn1 {number} (" in line]
    assert "of-lineage" in of_nn1
    leaves = sum(not inputs for inputs in ANCESTRY.values())
    assert down.count(f"data {tiny.sha256}, given as {tiny.folder}") == leaves
    assert down.count(f"folds {first('nn1').data.tags['atma18.folds_sha256']}") == leaves
    assert f"main: run {run_id_of('main')}, FINISHED" in up


def test_a_version_and_an_alias_lead_to_the_same_tree_as_the_run(there):
    number = version_of("gbdt", first("gbdt"))
    MlflowClient().set_registered_model_alias("atma18-gbdt", "of-lineage", number)
    names = [run_id_of("gbdt"), f"models:/atma18-gbdt/{number}", "models:/atma18-gbdt@of-lineage"]

    by_run, by_version, by_alias = (ran(call(lineage, f"--model={name}")) for name in names)

    assert by_run == by_version == by_alias
    assert by_run.startswith(f"gbdt: run {run_id_of('gbdt')}, FINISHED")


# --- Up to the blends


def test_the_way_up_leads_to_every_blend_directly_and_through_others(there):
    users = found(run_id_of("nn1")).users
    gbdt = next(node for name, node in users.links if node.run_id == run_id_of("gbdt"))
    blend = next(node for name, node in users.links if node.run_id == run_id_of("blend"))

    assert users.run_id == run_id_of("nn1")
    assert run_id_of("blend") in [node.run_id for _, node in gbdt.links]
    assert run_id_of("main") in [node.run_id for _, node in blend.links]
    assert (
        Version("atma18-blend", int(version_of("blend", first("blend"))), blend.versions[0].aliases) in blend.versions
    )
    assert as_tree(found(run_id_of("nn1"))).split("\nused by\n")[1].count(f"blend: run {run_id_of('blend')}, ") >= 2


def test_who_predicted_with_a_blend_is_among_its_users_and_has_data_of_its_own(there, made):
    run_id = made(step="predict", input__blend=run_id_of("blend"), data_sha256="d" * 64)

    above, below = found(run_id_of("nn2")), found(run_id)

    assert run_id in [node.run_id for node in above.users.walk()]
    assert linked(below.origin) == {"blend": run_id_of("blend")}
    assert below.broken == []
    assert f"└─ data {'d' * 64}" in as_tree(below).splitlines()
    assert as_tree(below).endswith("\nused by no run")


# --- What is broken


def test_a_deleted_upstream_is_shown_as_deleted(there):
    run_id = run_id_of("nn2")
    MlflowClient().delete_run(run_id)
    try:
        output = ran(call(lineage, f"--model={run_id_of('blend')}"))
        [words] = found(run_id_of("blend")).broken
    finally:
        MlflowClient().restore_run(run_id)

    assert f"nn2: run {run_id}, FINISHED, deleted\n" in output
    assert f"BROKEN: {words}" in output
    assert f"run {run_id}: expected a finished run, found a deleted one" in words


def test_a_changed_byte_of_an_upstream_is_shown_at_that_upstream(there):
    run = first("embed")
    path = artifacts(run) / "predictions" / "oof.parquet"
    with put_back(path):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        origin = found(run_id_of("blend")).origin

    broken = {node.step: node.broken for node in origin.walk() if node.broken}
    assert list(broken) == ["embed"]
    assert f"{path} (changed)" in broken["embed"][0]
    assert found(run_id_of("blend")).broken == []


def test_a_missing_upstream_is_shown_as_missing(made):
    run_id = made(step="evaluate", input__blend="0" * 32)

    output = ran(call(lineage, f"--model={run_id}"))

    assert f"└─ blend: run {'0' * 32}, missing\n" in output
    assert found(run_id).broken[0].startswith(f"run {'0' * 32}: expected a run of this ID, found none")


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_an_unfinished_upstream_is_shown_with_its_status(made, status):
    unfinished = made(status, step="nn1")
    run_id = made(step="main", input__nn1=unfinished)

    output = ran(call(lineage, f"--model={run_id}"))

    assert f"└─ nn1: run {unfinished}, {status}\n" in output
    assert found(run_id).broken == [f"run {unfinished}: expected a finished run, found status {status}: name another"]


def test_a_command_that_failed_is_no_whole_lineage_either(made):
    run_id = made("FAILED", step="predict")

    assert found(run_id).broken == [f"run {run_id}: expected a finished run, found status FAILED"]


def test_a_name_that_no_run_ever_had_is_an_answer_too(there):
    output = ran(call(lineage, f"--model={'0' * 32}"))

    assert output.startswith(f"run: run {'0' * 32}, missing\n")


def test_runs_that_name_each_other_are_shown_once_and_as_impossible(made):
    one = made(step="predict")
    other = made(step="evaluate", input__predict=one)
    MlflowClient().set_tag(one, "atma18.input.evaluate", other)

    [words] = found(one).broken

    assert words == f"run {other}: expected older inputs, found predict (run {one}), which was made from it"
    assert f"BROKEN: {words}" in as_tree(found(one))
    assert f"predict: run {one}, above" in as_tree(found(one))


def test_an_input_of_other_data_or_folds_is_a_broken_link(made):
    used = run_id_of("nn1")
    data, folds = (first("nn1").data.tags[f"atma18.{what}_sha256"] for what in ("data", "folds"))
    run_id = made(step="blend", input__nn1=used, data_sha256="d" * 64, folds_sha256="f" * 64)

    _, *strangers = found(run_id).broken  # the first: it has no manifest

    assert strangers == [
        f"run {run_id}: expected inputs of the same data, found nn1 (run {used}) of {data}",
        f"run {run_id}: expected inputs of the same folds, found nn1 (run {used}) of {folds}",
    ]


def test_a_version_that_points_at_another_model_is_shown(there):
    client, run_id = MlflowClient(), run_id_of("nn2")
    of_another = client.get_run(run_id_of("nn1")).outputs.model_outputs[0].model_id
    client.create_registered_model("by-hand")
    client.create_model_version("by-hand", source=f"models:/{of_another}", run_id=run_id)
    try:
        traced = found("models:/by-hand/1")
    finally:
        client.delete_registered_model("by-hand")

    assert traced.origin.run_id == run_id
    assert "models:/by-hand/1: expected the model of its run" in traced.broken[0]
    assert Version("by-hand", 1, ()) in traced.origin.versions


def test_a_version_without_a_run_has_no_lineage(there, tmp_path):
    MlflowClient().create_registered_model("runless")
    MlflowClient().create_model_version("runless", source=str(tmp_path))
    try:
        message = refused(call(lineage, "--model=models:/runless/1"))
    finally:
        MlflowClient().delete_registered_model("runless")

    assert "models:/runless/1: expected a version that was made by a run" in message


def test_a_version_that_is_not_there_is_refused(there):
    message = refused(call(lineage, "--model=models:/atma18-blend@nobody"))

    assert "models:/atma18-blend@nobody: expected a registered version, found none" in message


# --- Reading only


def test_nothing_is_opened_nor_changed(there):
    def state():
        files = [path for path in there.store.rglob("*") if path.is_file() and "cache" not in path.parts]
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.suffix != ".lock"}

    before, runs, database = state(), len(all_runs()), (there.store / "mlflow.db").read_bytes()

    ran(call(lineage, f"--model={run_id_of('blend')}"))

    assert (there.store / "mlflow.db").read_bytes() == database
    assert state() == before
    assert len(all_runs()) == runs


def test_no_store_is_made_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store_uri(tmp_path))

    message = refused(call(lineage))

    assert f"{tmp_path}/mlflow.db: expected a tracking store, found none" in message
    assert not (tmp_path / "mlflow.db").exists()


# --- The picture


def node(name, step, *links, **more):
    """A run that began at the start of 1970 by code 1111…, on data 2222… and folds 3333…."""
    facts = {
        "status": "FINISHED",
        "started_ms": 0,
        "versions": (),
        "mae_m": None,
        "git": "abcdef0123456789+dirty",
        "code_sha256": "1" * 64,
        "data_sha256": "2" * 64,
        "folds_sha256": "3" * 64,
        "data": "drives",
    }
    return Node(run_id=name, step=step, links=links, **facts | more)


def test_a_lineage_is_drawn_as_a_tree():
    first_stage = node("r1", "nn1", broken=("run r1: changed",))
    net = node(
        "r2", "nn1", ("init", first_stage), versions=(Version("atma18-nn1", 3, ("candidate", "mine")),), mae_m=0.25
    )
    gone = Node("r0", None, "missing", None, (), None, "none", None, None, None, None)
    blend = node("r3", "blend", ("gone", gone), ("nn1", net), ("nn1-2", first_stage))
    evaluated = node("r4", "evaluate", started_ms=None, code_sha256=None)
    users = replace(blend, links=(("blend", evaluated), ("nn1", replace(net, links=(("nn1", evaluated),)))))

    made = "started 1970-01-01 00:00:00 UTC, git abcdef0123456789+dirty, code 111111111111"
    assert as_tree(Lineage(blend, users)).splitlines() == [
        "blend: run r3, FINISHED",
        f"│     {made}",
        "├─ gone: run r0, missing",
        "├─ nn1: run r2, FINISHED",
        "│  │     atma18-nn1 3 (candidate, mine), OOF MAE 0.2500 m",
        f"│  │     {made}",
        "│  └─ init = nn1: run r1, FINISHED",
        "│     │     " + made,
        "│     │     BROKEN: run r1: changed",
        f"│     ├─ data {'2' * 64}, given as drives",
        f"│     └─ folds {'3' * 64}",
        "└─ nn1-2 = nn1: run r1, above",
        "",
        "used by",
        "├─ evaluate: run r4, FINISHED",
        "└─ nn1 (as nn1): run r2, FINISHED",
        "   │     atma18-nn1 3 (candidate, mine), OOF MAE 0.2500 m",
        f"   │     {made}",
        "   └─ evaluate: run r4, above",
    ]


def test_what_is_broken_is_listed_once_and_the_nearest_first():
    deep = node("r1", "nn1", broken=("deep",))
    gbdt = node("r2", "gbdt", ("nn1", deep), broken=("near",))
    blend = node("r3", "blend", ("gbdt", gbdt), ("nn1", deep))

    assert Lineage(blend, blend).broken == ["near", "deep"]
    assert [run.run_id for run in Lineage(blend, blend).runs] == ["r3", "r2", "r1"]
