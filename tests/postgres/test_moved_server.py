"""A server on PostgreSQL whose files were moved: one finding, one command, and every byte is verified afterwards."""

import shutil
from contextlib import contextmanager

import pytest

from steps import blend, doctor, embed
from tests import shared
from tests.store import SMALL, artifacts, call, newest, ran, refused

WHOLE = "whole: 2 runs, 2 versions, 2 aliases"


@pytest.fixture(scope="module")
def database():
    with shared.postgres() as database:
        yield database


@contextmanager
def served(folder, database, monkeypatch, *words, name="mlflow"):
    """Start a server, and be its client."""
    with shared.open_server(folder, database, *words, name=name) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        monkeypatch.setenv("ATMA18_CACHE", f"{folder}/cache")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        monkeypatch.chdir(folder)
        yield


def move_to(folder, database, monkeypatch, name="mlflow", whole=WHOLE):
    """Move a store at the server, where its database is open."""
    with monkeypatch.context() as at_the_server:
        at_the_server.setenv("MLFLOW_TRACKING_URI", shared.uri_of(database, name))
        at_the_server.setenv("PGPASSWORD", database.password)
        assert whole in ran(call(doctor, f"--move_to={folder}"))


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_that_clients_open_themselves(database, tiny_folder, small_backbone, no_caller, monkeypatch, tmp_path):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))

    def assert_one_finding(recorded):
        said = refused(call(doctor))
        assert "found 1 broken" in said
        assert f"expected the files of 2 of 2 runs in {recorded}, found that their folders are gone" in said
        assert "delete" not in said
        assert "MLFLOW_TRACKING_URI=ITS_BACKEND_STORE_URI python -m steps.doctor --move_to FOLDER" in said

    words = ["--default-artifact-root", str(first), "--no-serve-artifacts"]
    with served(tmp_path, database, monkeypatch, *words):
        ran(call(embed, f"--data={tiny_folder}", SMALL))
        ran(call(blend, f"--data={tiny_folder}", "--inputs=embed"))
        before = files(first)

        first.rename(second)
        assert_one_finding(first)
        assert "expected the database itself" in refused(call(doctor, f"--move_to={second}"))
        move_to(second, database, monkeypatch)
        assert WHOLE in ran(call(doctor))
        assert artifacts(newest("embed")).is_relative_to(second)
        assert files(second) == before

        move_half(second, third, left=artifacts(newest("blend")).parent)
        assert_one_finding(second)
        move_to(third, database, monkeypatch)
        assert WHOLE in ran(call(doctor))
        assert files(third) == before


def test_a_backup_is_restored_at_another_place(database, tiny_folder, small_backbone, no_caller, monkeypatch, tmp_path):
    """The database is dumped, the files are copied; then both are lost, and come back elsewhere."""
    lost, kept = tmp_path / "lost", tmp_path / "restored"
    database.create("original")
    words = ["--no-serve-artifacts", "--default-artifact-root"]
    with served(tmp_path, database, monkeypatch, *words, str(lost), name="original"):
        ran(call(embed, f"--data={tiny_folder}", SMALL))
        before = files(lost)
    backup = database.dump("original")
    lost.rename(kept)

    database.create("restored", backup)
    with served(tmp_path, database, monkeypatch, *words, str(kept), name="restored"):
        said = refused(call(doctor))
        assert "found 1 broken" in said
        assert f"expected the files of 1 of 1 runs in {lost}, found that their folders are gone" in said
        move_to(kept, database, monkeypatch, name="restored", whole="whole: 1 runs, 1 versions, 1 aliases")
        assert "whole: 1 runs, 1 versions, 1 aliases" in ran(call(doctor))
    assert files(kept) == before


def move_half(old, new, left):
    """Move all folders but one."""
    shutil.copytree(old, new)
    shutil.rmtree(new / left.relative_to(old))
    for experiment in old.iterdir():
        for folder in experiment.iterdir():
            if folder != left:
                shutil.rmtree(folder)


def test_files_that_the_server_serves(database, tiny_folder, small_backbone, no_caller, monkeypatch, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    with served(tmp_path, database, monkeypatch, "--artifacts-destination", str(old), name="auth"):
        ran(call(embed, f"--data={tiny_folder}", SMALL))
        before = files(old)
        old.rename(new)

        said = refused(call(doctor))

        assert "found 1 broken" in said
        assert "1 of 1 runs in the server's --artifacts-destination, found that their folders are gone" in said
        assert "start the server with the folder in which they lie as its --artifacts-destination" in said
        assert "delete" not in said
    with served(tmp_path, database, monkeypatch, "--artifacts-destination", str(new), name="auth"):
        assert "whole: 1 runs, 1 versions, 1 aliases" in ran(call(doctor))
    assert files(new) == before
