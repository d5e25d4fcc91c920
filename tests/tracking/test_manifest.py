"""A manifest must distinguish an intact result from one in which a file is missing, changed or moved."""

import hashlib
import json

import pytest

from atma18.tracking.manifest import Manifest


@pytest.fixture
def result(tmp_path):
    """The artifacts and the model of a run, each with a file in a folder."""
    artifacts, model = tmp_path / "artifacts", tmp_path / "model"
    for path, text in (
        (artifacts / "config.json", "{}"),
        (artifacts / "predictions" / "oof.parquet", "oof"),
        (model / "MLmodel", "flavors"),
        (model / "bundle" / "objects" / "ab.ubj", "trees"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return artifacts, model


def manifest_of(result, model_id="m-1", causal=None):
    artifacts, model = result
    return Manifest.of(artifacts, model_id, model, causal)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_every_file_is_listed_under_its_path_with_its_sha256(result):
    manifest = manifest_of(result)

    assert manifest.model_id == "m-1"
    assert manifest.artifacts == {"config.json": sha256("{}"), "predictions/oof.parquet": sha256("oof")}
    assert manifest.model == {"MLmodel": sha256("flavors"), "bundle/objects/ab.ubj": sha256("trees")}


def test_a_written_manifest_reads_as_the_same_and_is_no_part_of_itself(result):
    manifest = manifest_of(result)
    manifest.write(result[0] / "manifest.json")

    read = Manifest.read(result[0] / "manifest.json")

    assert read == manifest == manifest_of(result)
    assert read.sha256 == manifest.sha256


FILES = pytest.mark.parametrize(
    ("folder", "name"),
    [
        pytest.param(0, "config.json", id="artifact"),
        pytest.param(0, "predictions/oof.parquet", id="artifact in a folder"),
        pytest.param(1, "MLmodel", id="model file"),
        pytest.param(1, "bundle/objects/ab.ubj", id="object of the bundle"),
    ],
)


@FILES
def test_a_changed_file_is_named(result, folder, name):
    manifest, path = manifest_of(result), result[folder] / name
    manifest.check(*result)  # a whole result passes
    text = path.read_text()
    path.write_text(text[:-1] + "?")  # as long as before

    with pytest.raises(ValueError, match=rf"the manifest names, found \S*{name} \(changed\)$"):
        manifest.check(*result)


@FILES
def test_a_missing_file_is_named(result, folder, name):
    manifest = manifest_of(result)
    (result[folder] / name).unlink()

    with pytest.raises(ValueError, match=rf"the manifest names, found \S*{name} \(missing\)$"):
        manifest.check(*result)


def test_all_that_is_wrong_is_counted(result):
    manifest = manifest_of(result)
    for folder in result:
        for path in [path for path in folder.rglob("*") if path.is_file()]:
            path.unlink()

    with pytest.raises(ValueError, match=r"config\.json \(missing\).* and 1 more"):
        manifest.check(*result)


def test_what_mlflow_adds_to_a_loaded_model_changes_nothing(result):
    before = manifest_of(result)
    (result[1] / "registered_model_meta").write_text("model_name: atma18-nn1")

    before.check(*result)
    assert manifest_of(result).sha256 == before.sha256


@FILES
def test_the_manifests_digest_changes_with_any_file(result, folder, name):
    before = manifest_of(result).sha256
    (result[folder] / name).write_text("another")

    assert manifest_of(result).sha256 != before


def test_the_manifests_digest_changes_with_a_files_place_and_with_the_model_id(result):
    before = manifest_of(result).sha256
    assert manifest_of(result, model_id="m-2").sha256 != before
    (result[0] / "config.json").rename(result[1] / "config.json")

    assert manifest_of(result).sha256 != before


def test_the_order_in_which_files_are_found_changes_nothing():
    files = {"a": sha256("1"), "b": sha256("2")}

    assert Manifest("m", files, {}).sha256 == Manifest("m", dict(reversed(files.items())), {}).sha256


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="no file"),
        pytest.param("", id="empty"),
        pytest.param('{"model_id": "m", "artifacts": {', id="cut short"),
        pytest.param(json.dumps({"model_id": "m", "artifacts": {}}), id="without a model"),
        pytest.param(json.dumps({"model_id": "m", "artifacts": {}, "model": {}, "more": 1}), id="unknown key"),
        pytest.param("[]", id="a list"),
    ],
)
def test_what_is_no_manifest_is_refused_by_its_path(tmp_path, text):
    path = tmp_path / "manifest.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ValueError, match=r"manifest\.json: expected the manifest of a finished run"):
        Manifest.read(path)


@pytest.mark.parametrize("causal", [True, False, None])
def test_whether_the_model_is_causal_comes_back_as_it_was_recorded(result, tmp_path, causal):
    manifest = manifest_of(result, causal=causal)
    manifest.write(tmp_path / "manifest.json")

    read = Manifest.read(tmp_path / "manifest.json")

    assert read.causal is causal
    assert read.sha256 == manifest.sha256


def test_a_manifest_of_before_that_was_recorded_has_the_digest_of_before(result):
    manifest = manifest_of(result)

    plain = {"model_id": "m-1", "artifacts": manifest.artifacts, "model": manifest.model}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    length = len(text.encode()).to_bytes(8, "little")
    assert manifest.sha256 == hashlib.sha256(length + text.encode()).hexdigest()
