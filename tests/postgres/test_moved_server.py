"""A server on PostgreSQL whose files were moved: one finding, one command, and every byte is verified afterwards."""

import shutil

import pytest

from steps import blend, doctor, embed
from tests import shared
from tests.store import SMALL, artifacts, call, newest, ran, refused

WHOLE = "whole: 2 runs, 2 versions, 2 aliases"


def begin(server, folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("ATMA18_CACHE", f"{folder}/cache")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.chdir(folder)


def make(tiny_folder):
    ran(call(embed, f"--data={tiny_folder}", SMALL))
    ran(call(blend, f"--data={tiny_folder}", "--inputs=embed"))
    assert WHOLE in ran(call(doctor))


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def move_whole(old, new):
    old.rename(new)


def move_half(old, new):
    """Move the run of embed and all models, and leave the run of blend."""
    kept = artifacts(newest("blend")).parent
    shutil.copytree(old, new)
    shutil.rmtree(new / kept.relative_to(old))
    for path in old.iterdir():
        for folder in path.iterdir():
            if folder != kept:
                shutil.rmtree(folder)


def of_clients(folder):
    """The words of a server whose clients open the files themselves."""
    return ["--default-artifact-root", str(folder), "--no-serve-artifacts"]


@pytest.mark.parametrize("spoil", [move_whole, move_half])
def test_files_that_clients_open_themselves(tiny_folder, small_backbone, no_caller, monkeypatch, tmp_path, spoil):
    old, new = tmp_path / "old", tmp_path / "new"
    with shared.postgres() as database:
        with shared.open_server(tmp_path, database, *of_clients(old)) as server:
            begin(server, tmp_path, monkeypatch)
            make(tiny_folder)
            before = files(old)
            spoil(old, new)
            said = refused(call(doctor))
            assert "found 1 things broken" in said
            assert f"expected the files of 2 of 2 runs in {old}, found that their folders are gone" in said
            assert "delete" not in said
            assert "MLFLOW_TRACKING_URI=ITS_BACKEND_STORE_URI python -m steps.doctor --move_to FOLDER" in said
            assert "expected the database itself" in refused(call(doctor, f"--move_to={new}"))
        with monkeypatch.context() as at_the_server:
            at_the_server.setenv("MLFLOW_TRACKING_URI", shared.uri_of(database))
            at_the_server.setenv("PGPASSWORD", database.password)
            assert WHOLE in ran(call(doctor, f"--move_to={new}"))
        with shared.open_server(tmp_path, database, *of_clients(new)) as server:
            begin(server, tmp_path, monkeypatch)
            assert WHOLE in ran(call(doctor))
            assert artifacts(newest("embed")).is_relative_to(new)
        assert files(new) == before


def test_files_that_the_server_serves(tiny_folder, small_backbone, no_caller, monkeypatch, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    with shared.postgres() as database:
        with shared.open_server(tmp_path, database, "--artifacts-destination", str(old)) as server:
            begin(server, tmp_path, monkeypatch)
            make(tiny_folder)
        before = files(old)
        old.rename(new)
        with shared.open_server(tmp_path, database, "--artifacts-destination", str(old)) as server:
            begin(server, tmp_path, monkeypatch)
            said = refused(call(doctor))
            assert "found 1 things broken" in said
            assert "expected the files of 2 of 2 runs in the server's --artifacts-destination" in said
            assert "start the server with the folder in which they lie as its --artifacts-destination" in said
            assert "runs delete" not in said
        with shared.open_server(tmp_path, database, "--artifacts-destination", str(new)) as server:
            begin(server, tmp_path, monkeypatch)
            assert WHOLE in ran(call(doctor))
        assert files(new) == before
