"""An upload, a promotion and a rollback, killed before each of their writes: done, undone, or completed later."""

import re
import signal
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from atma18.cache import OUTBOX, Cache
from atma18.tracking import packaging
from steps import blend, doctor, embed, promote
from tests.fixtures import enter, forget_caller
from tests.forked import Forked
from tests.store import FAST, all_runs, call, ran, refused, versions

BLEND = "atma18-blend"


@pytest.fixture(scope="module")
def small(tiny_folder, tmp_path_factory):
    """A store with an embed and two blends of it."""
    folder = tmp_path_factory.mktemp("small")
    data = [f"--data={tiny_folder}", "--folds=2"]
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(folder, patch)
        ran(call(embed, *data, FAST))
        for _ in range(2):
            ran(call(blend, *data, "--inputs=embed"))
    return SimpleNamespace(folder=folder, data=data)


@pytest.fixture
def store(small, no_caller, monkeypatch):
    enter(small.folder, monkeypatch)
    return small


def holders():
    aliases = MlflowClient().get_registered_model(BLEND).aliases
    return {name: int(aliases[name]) for name in ("champion", "previous") if name in aliases}


def repaired(store):
    """What doctor mends; then nothing may be broken."""
    said = Forked("doctor", ["--repair=true"], store.folder).finish()
    assert "broken" not in said
    return {line.rpartition(": ")[2] for line in said.splitlines() if line.startswith("repaired")}


def test_a_delivery_that_is_killed_before_any_of_its_writes_is_begun_again(store, monkeypatch):
    """From the model that is logged to the words of its version: what a step does last, and `upload` after it."""

    def away(*given):
        raise MlflowException("API request failed")

    with monkeypatch.context() as patch:
        patch.setattr(packaging, "log_model", away)
        refused(call(blend, *store.data, "--inputs=embed"))
    [kept] = [entry.key for entry in Cache.open().entries() if entry.kind == OUTBOX]
    known = {v.version for v in versions("blend")}
    killed = []

    def kill(name, write):
        process = Forked("upload", [], store.folder, die_at=(name, write))
        assert process.wait() == -signal.SIGKILL, process.said
        killed.append(process.said.splitlines()[-1])
        found = {v.run_id for v in versions("blend") if v.version not in known}
        whole = MlflowClient().get_run(kept).info.status == "FINISHED"
        assert found <= {kept} if whole else not found, "a version of a run that is not whole"
        assert f"run {kept}: its result is kept in" in refused(call(doctor))

    for write in range(100):
        kill(None, write)
        if MlflowClient().get_run(kept).info.status == "FINISHED":
            break
    for name in ("_create_model_version", "set_registered_model_alias", "update_model_version", "set_tag"):
        kill(name, 0)
    Forked("upload", [], store.folder).finish()

    print(f"killed before each of {len(killed)} writes: {killed}")
    assert {f"killed before {name}" for name in ("log_artifacts", "log_artifact", "set_terminated")} <= set(killed)
    assert [v.run_id for v in versions("blend") if v.version not in known] == [kept]
    ran(call(doctor))


def test_a_rollback_that_is_killed_before_any_of_its_writes_happened_or_did_not(store):
    """Two blends take turns; whoever is cut off, the next command finds one champion and a record that says so."""
    first, second = sorted(int(v.version) for v in versions("blend"))[:2]
    for number in (first, second):
        Forked("promote", [f"--candidate=models:/{BLEND}/{number}", "--force=true"], store.folder).finish()
    killed, mended = [], set()
    for write in range(100):
        before = holders()
        assert set(before.values()) == {first, second}
        process = Forked("promote", ["--rollback=true"], store.folder, die_at=("create_run", write))
        if process.wait() == 0:
            break
        killed.append(process.said.splitlines()[-1])
        mended |= repaired(store)

    print(f"killed before each of {len(killed)} writes: {killed}")
    assert holders() == {"champion": before["previous"], "previous": before["champion"]}
    assert killed.count("killed before set_registered_model_alias") == 2
    assert {"killed before log_batch", "killed before delete_tag"} <= set(killed)
    assert mended == {"set it to KILLED", "carry it out, as promote does"}


def test_a_promotion_that_was_cut_off_is_finished_by_the_same_command(store):
    other = holders()["previous"]
    words = [f"--candidate=models:/{BLEND}/{other}", "--force=true"]
    process = Forked("promote", words, store.folder, die_at=("set_registered_model_alias", 0))
    assert process.wait() == -signal.SIGKILL, process.said
    assert holders()["previous"] == other
    assert "a promotion that was recorded and cut off before the aliases had moved" in refused(call(doctor))

    said = Forked("promote", words, store.folder).finish()

    assert "a promotion of it that was cut off is finished now" in said
    assert holders()["champion"] == other
    outcomes = re.findall(r"^\S+ \S+  (.+): version ", ran(call(promote, "--history=true")), re.MULTILINE)
    assert outcomes[-1] == "forced"
    assert {run.info.status for run in all_runs()} <= {"FINISHED", "FAILED", "KILLED"}
    ran(call(doctor))
