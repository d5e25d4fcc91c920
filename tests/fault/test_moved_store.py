"""A store that is copied, moved or restored: one finding, one command, and every byte is verified afterwards."""

import shutil
import subprocess
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from steps import blend, doctor, embed, lineage
from tests.fixtures import enter, forget_caller
from tests.store import SMALL, all_runs, artifacts, call, newest, ran, refused

WHOLE = "whole: 3 runs, 3 versions, 2 aliases"


@pytest.fixture(scope="module")
def made(tiny_folder, small_backbone, tmp_path_factory):
    """A store with one run of embed and two of blend, all whole."""
    store = tmp_path_factory.mktemp("made")
    data = f"--data={tiny_folder}"
    with pytest.MonkeyPatch.context() as patch:
        forget_caller(patch)
        enter(store, patch)
        ran(call(embed, data, SMALL))
        for _ in range(2):
            ran(call(blend, data, "--inputs=embed"))
    return SimpleNamespace(store=store, data=data)


@pytest.fixture
def place(made, no_caller, monkeypatch, tmp_path):
    """The store at its first place, `one`, as its records say, and the name of another place, `two`."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    enter(made.store, monkeypatch)
    copy(made.store, one)
    enter(one, monkeypatch)
    ran(call(doctor, f"--move_to={one}"))
    return SimpleNamespace(
        one=one, two=two, gone=tmp_path / "gone", data=made.data, enter=lambda f: enter(f, monkeypatch)
    )


def copy(source, target):
    subprocess.run(["cp", "-a", f"{source}/.", target], check=True)


def files(store):
    return {str(p.relative_to(store)): p.read_bytes() for p in (store / "mlruns").rglob("*") if p.is_file()}


def uris():
    """All places that the store names."""
    client = MlflowClient()
    versions = client.search_model_versions()
    return [
        *(e.artifact_location for e in client.search_experiments()),
        *(run.info.artifact_uri for run in all_runs()),
        *(client.get_logged_model(run.outputs.model_outputs[0].model_id).artifact_location for run in all_runs()),
        *(client.get_model_version_download_uri(v.name, v.version) for v in versions),
    ]


def test_a_move_changes_all_places_and_no_byte(made, place):
    assert {uri.startswith(f"{place.one}/mlruns/") for uri in uris()} == {True}
    assert files(place.one) == files(made.store)
    assert WHOLE in ran(call(doctor))


def assert_one_finding(said, recorded, actual):
    assert "found 1 broken" in said
    assert f"expected the files of 3 of 3 runs in {recorded}, found that they lie in {actual}" in said
    assert "delete" not in said
    assert f"-m steps.doctor --move_to {actual}" in said


def test_a_store_whose_folder_was_renamed_is_mended_by_one_command(place):
    before = files(place.one)
    place.one.rename(place.two)
    place.enter(place.two)

    assert_one_finding(refused(call(doctor)), place.one / "mlruns", place.two / "mlruns")
    assert WHOLE in ran(call(doctor, f"--move_to={place.two / 'mlruns'}"))

    assert {uri.startswith(f"{place.two}/mlruns/") for uri in uris()} == {True}
    assert files(place.two) == before
    assert not place.one.exists()
    assert "BROKEN" not in ran(call(lineage, f"--model={newest('blend').info.run_id}"))


def test_nothing_new_is_written_into_the_old_place(place):
    place.one.rename(place.two)
    place.enter(place.two)

    said = refused(call(blend, place.data, "--inputs=embed"))

    assert f"they lie in {place.two / 'mlruns'}" in said
    assert "--move_to" in said
    assert not place.one.exists()
    ran(call(doctor, f"--move_to={place.two}"))
    ran(call(blend, place.data, "--inputs=embed"))
    assert artifacts(newest("blend")).is_relative_to(place.two)


def test_a_copy_beside_the_original_is_told_from_it(place):
    place.two.mkdir()
    copy(place.one, place.two)
    place.enter(place.two)
    before = files(place.one)

    assert_one_finding(refused(call(doctor)), place.one / "mlruns", place.two / "mlruns")
    assert "--move_to" in refused(call(blend, place.data, "--inputs=embed"))
    ran(call(doctor, f"--move_to={place.two}"))
    ran(call(blend, place.data, "--inputs=embed"))

    assert files(place.one) == before
    place.enter(place.one)
    assert WHOLE in ran(call(doctor))


def test_a_half_moved_store_becomes_whole_in_the_new_place(place):
    place.two.mkdir()
    copy(place.one, place.two)
    moved, left = artifacts(newest("embed")), artifacts(newest("blend"))
    before = files(place.one)
    shutil.rmtree(moved)
    shutil.rmtree(place.two / left.relative_to(place.one))
    place.enter(place.two)

    assert_one_finding(refused(call(doctor)), place.one / "mlruns", place.two / "mlruns")
    assert WHOLE in ran(call(doctor, f"--move_to={place.two / 'mlruns'}"))

    assert files(place.two) == before


def test_a_move_that_was_cut_off_is_done_by_the_same_command(place, monkeypatch):
    from atma18.tracking import relocation

    place.two.mkdir()
    before = files(place.one)
    copied = []

    def full(source, target):
        copied.append(target)
        if len(copied) == 4:
            target.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return shutil.copyfile(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(relocation.shutil, "copy2", full)
        assert "No space left" in refused(call(doctor, f"--move_to={place.two}"))
    assert {uri.startswith(f"{place.one}/") for uri in uris()} == {True}

    assert WHOLE in ran(call(doctor, f"--move_to={place.two}"))

    assert {uri.startswith(f"{place.two}/") for uri in uris()} == {True}
    copied_files = {str(p.relative_to(place.two)): p.read_bytes() for p in place.two.rglob("*") if p.is_file()}
    assert copied_files == {name.removeprefix("mlruns/"): content for name, content in before.items()}


def test_a_store_restored_from_a_backup_elsewhere_is_mended_when_its_place_is_named(place, tmp_path):
    before = files(place.one)
    (tmp_path / "backup").mkdir()
    place.two.mkdir()
    (place.one / "mlruns").rename(tmp_path / "backup" / "files")
    (place.one / "mlflow.db").rename(place.two / "mlflow.db")
    place.one.rename(place.gone)
    place.enter(place.two)

    said = refused(call(doctor))
    assert "found 1 broken" in said
    assert f"expected the files of 3 of 3 runs in {place.one / 'mlruns'}, found that their folders are gone" in said
    assert "mlflow runs delete" not in said
    assert "their folders are gone" in refused(call(blend, place.data, "--inputs=embed"))

    assert WHOLE in ran(call(doctor, f"--move_to={tmp_path / 'backup' / 'files'}"))
    moved = tmp_path / "backup" / "files"
    assert {str(p.relative_to(moved)): p.read_bytes() for p in moved.rglob("*") if p.is_file()} == {
        name.removeprefix("mlruns/"): content for name, content in before.items()
    }


def test_a_place_without_any_file_is_refused_and_changes_nothing(place, tmp_path):
    place.one.rename(place.two)
    place.enter(place.two)
    before = uris()
    (tmp_path / "empty").mkdir()

    said = refused(call(doctor, f"--move_to={tmp_path / 'empty'}"))

    assert "found those of none of 3 runs" in said
    assert uris() == before


def test_a_name_that_mlflow_decodes_is_refused(place, tmp_path):
    assert "expected a folder without codes like %20" in refused(call(doctor, f"--move_to={tmp_path / 'a%20b'}"))
    assert WHOLE in ran(call(doctor))
