"""The project with a shared server: PostgreSQL, artifacts behind the server, users with and without permissions."""

import os
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from atma18.tracking import runs
from steps import blend, doctor, embed, lineage, main, predict, promote
from tests import shared
from tests.fixtures import COMMIT, forget_caller
from tests.forked import Forked
from tests.store import (
    BIN,
    FAST,
    SHORT,
    STEPS,
    SYSTEM_PATH,
    all_runs,
    call,
    mlflow_run,
    newest,
    ran,
    refused,
    version_of,
    versions,
)

BLEND = "atma18-blend"
EXPERIMENT = "atma18"


@pytest.fixture(scope="module")
def office(lifted_folder, tmp_path_factory):
    """A server with an administrator, Ann and Bob, and what Ann made: the six steps, and a blend of images alone."""
    folder = tmp_path_factory.mktemp("office")
    with shared.postgres() as database, shared.private_server(folder, database) as server:
        passwords = {"ann": f"ann-{server.admin_password}", "bob": f"bob-{server.admin_password}"}
        place = SimpleNamespace(
            folder=folder,
            database=database,
            server=server,
            passwords=passwords,
            data=[f"--data={lifted_folder}", "--folds=2"],
        )
        with pytest.MonkeyPatch.context() as patch:
            forget_caller(patch)
            for name, password in passwords.items():
                shared.administer(server, "2.0/mlflow/users/create", username=name, password=password)
            become(place, "ann", patch)
            patch.setattr(runs, "git_state", lambda: COMMIT)
            place.said = [ran(call(main, *place.data, FAST, *SHORT))]
            place.good = int(version_of("blend", newest("blend")))
            place.said.append(ran(call(blend, *place.data, "--inputs=embed")))
            place.poor = int(version_of("blend", newest("blend")))
        yield place


def become(place, name, patch):
    """Be a user, with the credentials in MLflow's own variables, in a folder and with a cache of one's own."""
    home = place.folder / name
    home.mkdir(exist_ok=True)
    patch.chdir(home)
    patch.setenv("ATMA18_CACHE", f"{home}/cache")
    patch.setenv("MLFLOW_TRACKING_URI", place.server.uri)
    patch.setenv("MLFLOW_TRACKING_USERNAME", name)
    patch.setenv("MLFLOW_TRACKING_PASSWORD", place.passwords[name])


@pytest.fixture
def ann(office, no_caller, monkeypatch):
    become(office, "ann", monkeypatch)
    monkeypatch.setattr(runs, "git_state", lambda: COMMIT)
    return office


@pytest.fixture
def bob(office, no_caller, monkeypatch):
    become(office, "bob", monkeypatch)
    monkeypatch.setattr(runs, "git_state", lambda: COMMIT)
    return office


def champion():
    return int(MlflowClient().get_model_version_by_alias(BLEND, "champion").version)


def grant(office, kind, name):
    """Let the administrator give Bob EDIT on an experiment or a registered model."""
    which = {"resource_type": kind, "resource_id": name}
    shared.administer(office.server, "3.0/mlflow/users/permissions/grant", username="bob", permission="EDIT", **which)


def test_the_whole_pipeline_lands_behind_the_server(ann):
    assert (ann.folder / "ann" / "submission.csv").is_file()
    for step in STEPS:
        run = newest(step)
        assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
        assert int(MlflowClient().get_model_version_by_alias(f"atma18-{step}", "candidate").version) == max(
            int(v.version) for v in versions(step)
        )
    assert "whole: 7 runs, 7 versions, 6 aliases" in ran(call(doctor))
    assert (ann.server.artifacts).is_dir()
    assert not (ann.folder / "ann" / "mlruns").exists()


def test_a_second_main_reuses_every_step_and_bare_names_resolve(ann):
    said = ran(call(main, *ann.data, FAST, *SHORT))

    assert [line.split(":")[0] for line in said.splitlines() if ": reused run" in line] == list(STEPS)
    assert "nn1" in ran(call(lineage, f"--model=models:/{BLEND}/{ann.good}"))


def test_a_blend_is_promoted_followed_and_rolled_back_to(ann):
    ran(call(promote, f"--candidate=models:/{BLEND}/{ann.poor}"))
    assert champion() == ann.poor
    ran(call(promote, f"--candidate=models:/{BLEND}/{ann.good}"))
    assert champion() == ann.good
    ran(call(promote, "--rollback=true"))
    assert champion() == ann.poor
    ran(call(promote, "--rollback=true"))
    assert champion() == ann.good

    said = ran(call(promote, "--history=true"))
    assert said.count("promoted") == 2
    assert said.count("rolled back") >= 2
    ran(call(predict, ann.data[0], "--out=predicted"))
    assert (ann.folder / "ann" / "predicted" / "submission.csv").read_bytes() == (
        ann.folder / "ann" / "submission.csv"
    ).read_bytes()


def test_mlflow_run_itself_works_against_the_server(ann):
    words = ["--env-manager", "local", "--experiment-name", EXPERIMENT, "-e", "blend", "-P", "inputs=embed"]
    credentials = {name: os.environ[name] for name in os.environ if name.startswith("MLFLOW_TRACKING_")}
    parameters = [word for given in ann.data for word in ("-P", given.removeprefix("--"))]
    place = {"ATMA18_CACHE": os.environ["ATMA18_CACHE"], "PATH": f"{BIN}:{SYSTEM_PATH}"}

    done = mlflow_run(ann.folder / "ann", *words, *parameters, **credentials, **place)

    assert done.returncode == 0, done.stdout + done.stderr
    ann.said.append(done.stdout + done.stderr)
    assert newest("blend").data.tags["mlflow.project.entryPoint"] == "blend"
    ran(call(doctor))


def test_a_file_that_was_changed_on_the_server_is_found_there_although_a_good_copy_is_here(ann):
    [stored] = [p for p in ann.server.artifacts.rglob("submission.csv") if newest("blend").info.run_id in str(p)]
    content = stored.read_bytes()
    stored.write_bytes(content[:-1] + b"?")
    try:
        said = refused(call(doctor))
    finally:
        stored.write_bytes(content)

    assert f"run {newest('blend').info.run_id}: expected the files that the manifest names, found" in said
    assert "submission.csv (changed)" in said


def test_a_copy_that_was_damaged_here_is_fetched_again(ann):
    run_id = newest("embed").info.run_id
    [here] = (ann.folder / "ann" / "cache" / "artifacts" / run_id).rglob("oof.parquet")
    here.write_bytes(here.read_bytes()[:-1] + b"?")

    ran(call(blend, *ann.data, f"--inputs={run_id}"))

    assert newest("blend").data.tags["atma18.input.embed"] == run_id


def test_a_stranger_is_told_how_to_say_who_he_is(bob, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a guess")

    said = refused(call(embed, *bob.data, FAST))

    assert "expected a user and a password that the server knows, found others or none" in said
    assert "MLFLOW_TRACKING_USERNAME" in said


def test_a_user_without_permission_can_neither_register_nor_promote_and_is_told_so(bob):
    before = [(v.name, v.version) for step in STEPS for v in versions(step)]
    holder, number_of_runs = champion_or_none(), len(all_runs())

    said = refused(call(embed, *bob.data, FAST))  # he may not even open a run in Ann's experiment

    assert "expected that you may do this, found no permission: ask the administrator" in said
    assert len(all_runs()) == number_of_runs

    experiment = MlflowClient().get_experiment_by_name(EXPERIMENT).experiment_id
    grant(bob, "experiment", experiment)
    told = refused(call(embed, *bob.data, FAST))
    assert "atma18-embed: expected that you may register and promote versions, found no permission" in told
    assert "EDIT on this registered model" in told
    failed = all_runs()[-1]
    assert failed.info.status == "FAILED"
    assert "atma18-embed: expected that you may register" in failed.data.tags["mlflow.note.content"]
    assert "train/seconds" not in failed.data.metrics, "refused before the work, not after it"
    for words in ([f"--candidate=models:/{BLEND}/{bob.poor}", "--force=true"], ["--rollback=true"]):
        assert f"{BLEND}: expected that you may register and promote versions" in refused(call(promote, *words))
    assert [(v.name, v.version) for step in STEPS for v in versions(step)] == before
    assert champion_or_none() == holder
    with pytest.raises(MlflowException, match="Permission denied"):
        MlflowClient().set_registered_model_alias(BLEND, "champion", str(bob.poor))

    grant(bob, "registered_model", "atma18-embed")
    ran(call(embed, *bob.data, FAST))
    assert newest("embed").data.tags["mlflow.user"] is not None
    assert int(version_of("embed", newest("embed"))) == max(int(v.version) for v in versions("embed"))


def champion_or_none():
    try:
        return champion()
    except MlflowException:
        return None


def test_credentials_may_lie_in_mlflows_file(ann, tmp_path):
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        f"[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = {ann.passwords['ann']}\n"
    )
    place = {"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": ann.server.uri}

    assert "whole:" in Forked("doctor", [], tmp_path, place).finish()
    (tmp_path / ".mlflow" / "credentials").unlink()
    process = Forked("doctor", [], tmp_path, place)
    assert process.wait() == 1
    assert "expected a user and a password that the server knows" in process.said


@pytest.mark.parametrize("uri", ["http://ann:{}@127.0.0.1:{}", "postgresql+psycopg2://mlflow:{}@127.0.0.1:{}/mlflow"])
def test_a_password_in_the_name_of_the_store_is_refused_and_not_repeated(bob, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format("hunter2secret", bob.server.port))

    said = refused(call(embed, *bob.data, FAST)) + refused(call(doctor))

    assert "expected a store without a password in its name" in said
    assert "hunter2secret" not in said


def test_no_secret_is_in_any_log_run_or_artifact(ann, capfd):
    """Last: all that was printed, stored and cached by then, the databases and the server's own log."""
    secret = [*ann.passwords.values(), ann.server.admin_password, ann.database.password]
    looked_at = {"the databases": ann.database.dump(), "printed": "\n".join(ann.said).encode()}
    for path in ann.folder.rglob("*"):
        if path.is_file():
            looked_at[str(path)] = path.read_bytes()

    assert len(looked_at) > 300
    assert sum(len(content) for content in looked_at.values()) > 10e6
    assert b"atma18.fingerprint" in looked_at["the databases"]
    assert [place for place, content in looked_at.items() for s in secret if s.encode() in content] == []
