"""Wrong input ends a step with one clear message and a FAILED run, and changes nothing else."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from PIL import Image

from atma18.cache import Cache
from atma18.storage.digests import file_sha256
from atma18.tracking.manifest import Manifest
from steps import blend, embed, gbdt, main, nn1, nn2
from tests.store import SHORT, STEPS, all_runs, artifacts, call, first, put_back, ran, refused, versions


@dataclass
class Folder:
    """A dataset folder that tests may break."""

    path: Path

    def ids(self, split):
        return pd.read_csv(self.path / f"{split}_features.csv")["ID"].tolist()

    def change(self, split, change):
        path = self.path / f"{split}_features.csv"
        change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)

    def put(self, split, row, column, value):
        """Overwrite one value and return the ID of its row."""
        sample_id = self.ids(split)[row]
        self.change(split, lambda t: t.assign(**{column: t[column].where(t["ID"] != sample_id, value)}))
        return sample_id

    def frame(self, row):
        return self.path / "images" / self.ids("train")[row] / "image_t-0.5.png"

    def lights(self, row):
        return self.path / "traffic_lights" / f"{self.ids('train')[row]}.json"


@pytest.fixture
def folder(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "drives")
    return Folder(tmp_path / "drives")


def untouched(store):
    """All that a refused step must leave as it is: versions, aliases, whole cache entries, files of earlier runs."""
    registry = {
        step: ([v.version for v in versions(step)], MlflowClient().get_registered_model(f"atma18-{step}").aliases)
        for step in STEPS
    }
    files = [*(store / "cache").rglob("*"), *(store / "mlruns").rglob("*")]
    kept = {
        str(p): (p.stat().st_size, p.stat().st_mtime_ns, p.stat().st_ino)
        for p in files
        if p.is_file() and p.suffix != ".lock" and ".held" not in p.parts
    }
    return registry, kept


def assert_refused_and_nothing_else(there, command, words, said, *, opened_a_run=True):
    """Call a step that must be refused with a message that says all this; return the message."""
    (registry, files), runs = untouched(there.store), all_runs()

    message = refused(call(command, *words))

    assert [words for words in said if words not in message] == [], message
    assert message.count("Error: ") == 1
    registry_after, files_after = untouched(there.store)
    assert registry_after == registry
    assert files.items() <= files_after.items()
    assert Cache.open().leftovers() == []
    added = all_runs()[len(runs) :]
    assert [run.info.status for run in added] == ["FAILED"] * opened_a_run
    for run in added:
        assert run.data.tags["atma18.error"] in message
        assert run.data.tags["atma18.error"] in run.data.tags["mlflow.note.content"]
        assert "ValueError" in (artifacts(run) / "traceback.txt").read_text()
        assert not (artifacts(run) / "manifest.json").exists()
    return message


# --- What is wrong with the data: each function does the damage and returns what must be said


def missing_column(folder):
    folder.change("test", lambda table: table.drop(columns="vEgo"))
    return ["test_features.csv: expected the columns vEgo", "found ID", "add them"]


def column_missing_in_one_file(folder):
    folder.change("test", lambda table: table.drop(columns="gas"))
    return ["test_features.csv: expected the column gas", "found none", "add it, or take it from both"]


def missing_target_column(folder):
    folder.change("train", lambda table: table.drop(columns=["x_3", "z_5"]))
    return ["train_features.csv: expected the columns x_3, z_5", "found ID", "add them"]


def repeated_id(folder):
    again = folder.ids("train")[2]
    folder.change("train", lambda table: pd.concat([table, table[table["ID"] == again]]))
    return ["train_features.csv: expected each ID once", f"found repeated: {again}", "keep one row of each"]


def id_without_a_time(folder):
    folder.put("train", 0, "ID", "monday")
    return ["train_features.csv: expected IDs like <scene>_<decisecond>", "found 'monday'", "rename"]


def id_that_leaves_the_folder(folder):
    folder.put("test", 0, "ID", "../../elsewhere_20")
    return ["test_features.csv: expected IDs like <scene>_<decisecond>", "found '../../elsewhere_20'", "rename"]


def hole_in_a_column(folder):
    holes = [folder.put("train", row, "steeringAngleDeg", "") for row in (1, 4)]
    return ["train_features.csv: expected a value of steeringAngleDeg", f"holes at {', '.join(holes)}", "fill them"]


def refused_number(folder, column, value):
    found = folder.put("train", 3, column, value)
    expected = f"train_features.csv: expected a finite number within ±1e+06 in {column}"
    return [expected, f"found {found} = '{value}'", "mend or drop these rows"]


def missing_target(folder):
    return refused_number(folder, "y_2", "")


def infinite_target(folder):
    return refused_number(folder, "x_0", "inf")


def missing_frame(folder):
    folder.frame(5).unlink()
    return ["images: expected", f"missing: {folder.ids('train')[5]}/image_t-0.5.png", "add them"]


def truncated_frame(folder):
    whole = folder.frame(5).read_bytes()
    folder.frame(5).write_bytes(whole[: len(whole) // 2])
    return [f"{folder.frame(5)}: expected a whole PNG image", "found something else", "replace these files"]


def frame_of_another_size(folder):
    Image.fromarray(np.zeros((128, 256, 3), np.uint8)).save(folder.frame(5))
    return [f"{folder.frame(5)}: expected a frame of 128 x 64 px", "found 256 x 128", "replace these files"]


def frame_that_is_no_image(folder):
    folder.frame(5).write_text("a thousand words")
    return [f"{folder.frame(5)}: expected a whole PNG image", "found none", "replace these files"]


def malformed_lights(folder):
    folder.lights(5).write_text('[{"class": "red"')
    return [f"{folder.lights(5)}: expected a JSON list", 'found \'[{"class": "red"\'', "mend these files"]


def missing_lights(folder):
    folder.lights(5).unlink()
    return ["traffic_lights: expected a file for every sample", f"missing: {folder.ids('train')[5]}", "add them"]


def scene_in_both_files(folder):
    scene = folder.ids("train")[0].rsplit("_", 1)[0]
    folder.put("test", 0, "ID", f"{scene}_9990")
    return [
        "expected each scene in train_features.csv or in test_features.csv",
        f"found 1 in both: {scene}",
        "keep each",
    ]


def empty_test_file(folder):
    folder.change("test", lambda table: table[:0])
    return ["test_features.csv: expected at least one sample", "found none", "add drives"]


def no_folder(folder):
    shutil.rmtree(folder.path)
    return [f"{folder.path}: expected a dataset folder, found none", "or demo"]


def empty_folder(folder):
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    return ["test_features.csv: expected this file in the dataset folder", "found none", "or demo"]


def repeated_column(folder):
    for split in ("train", "test"):
        path = folder.path / f"{split}_features.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([f"{lines[0]},aEgo", *(f"{line},0.5" for line in lines[1:])]))
    return ["test_features.csv: expected each column once", "found repeated: aEgo", "keep one of each"]


def table_without_a_byte(folder):
    (folder.path / "test_features.csv").write_bytes(b"")
    return ["test_features.csv: expected a CSV table in UTF-8, found something else"]


def table_in_another_encoding(folder):
    path = folder.path / "train_features.csv"
    path.write_bytes(path.read_text().encode("utf-16"))
    return ["train_features.csv: expected a CSV table in UTF-8, found something else"]


def rows_longer_than_the_header(folder):
    path = folder.path / "test_features.csv"
    header, *lines = path.read_text().splitlines()
    path.write_text("\n".join([header, *(f"{line}," for line in lines)]))
    return ["test_features.csv: expected a CSV table in UTF-8, found something else"]


def impossible_number(folder):
    return refused_number(folder, "vEgo", "1e308")


def id_that_is_too_long(folder):
    folder.put("test", 0, "ID", f"{'a' * 300}_20")
    return ["test_features.csv: expected IDs like <scene>_<decisecond>", "found 'aaa", "rename"]


def file_for_the_folder_of_frames(folder):
    shutil.rmtree(folder.path / "images")
    (folder.path / "images").touch()
    return ["images: expected", "frames, missing: ", "add them"]


def file_for_the_folder_of_lights(folder):
    shutil.rmtree(folder.path / "traffic_lights")
    (folder.path / "traffic_lights").touch()
    return ["traffic_lights: expected a folder or nothing", "found something else", "remove it"]


def dead_link_for_the_camera(folder):
    (folder.path / "camera.json").symlink_to(folder.path / "nowhere")
    return ["camera.json: expected a file or nothing", "found something else", "remove it"]


def broken_camera(folder):
    (folder.path / "camera.json").write_text(json.dumps({"image_size_px": [128, 64]}))
    return ["camera.json: expected", "found no intrinsics_px, position_m, height_above_road_m"]


DAMAGES = [
    missing_column,
    column_missing_in_one_file,
    missing_target_column,
    repeated_id,
    id_without_a_time,
    id_that_leaves_the_folder,
    hole_in_a_column,
    missing_target,
    infinite_target,
    missing_frame,
    truncated_frame,
    frame_of_another_size,
    frame_that_is_no_image,
    malformed_lights,
    missing_lights,
    scene_in_both_files,
    empty_test_file,
    no_folder,
    empty_folder,
    repeated_column,
    table_without_a_byte,
    table_in_another_encoding,
    rows_longer_than_the_header,
    impossible_number,
    id_that_is_too_long,
    file_for_the_folder_of_frames,
    file_for_the_folder_of_lights,
    dead_link_for_the_camera,
    broken_camera,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.replace("_", " "))
def test_data_that_break_the_contract_are_refused(there, folder, damage):
    said = damage(folder)

    assert_refused_and_nothing_else(there, embed, [f"--data={folder.path}"], said)


def test_main_refuses_them_too_before_any_step(there, folder):
    said = hole_in_a_column(folder)

    assert_refused_and_nothing_else(there, main, [f"--data={folder.path}", *SHORT], said)


def test_an_unknown_light_is_warned_of_once_and_read_as_other(there, folder):
    for row in (5, 6):
        folder.lights(row).write_text('[{"class": "blue", "bbox": [1, 2, 3, 4]}]')

    with pytest.warns(UserWarning, match="unknown classes are counted as other: blue") as warned:
        ran(call(embed, f"--data={folder.path}"))

    assert len([w for w in warned if "unknown classes" in str(w.message)]) == 1


# --- What is wrong with the parameters


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        pytest.param(embed, ["--folds=13"], ["13 folds and 12 scenes", "ask for 2 to 12 folds"], id="folds > scenes"),
        pytest.param(embed, ["--folds=1"], ["at least 2 folds", "found 1 folds"], id="one fold"),
        pytest.param(embed, ["--folds=many"], ["expected a count, or the run", "found 'many'"], id="folds by no name"),
        pytest.param(
            embed,
            ["--backbone=resnet18"],
            ["expected a backbone among lite0", "found 'resnet18'", "torchvision:resnet18"],
            id="unknown backbone",
        ),
        pytest.param(
            embed,
            ["--backbone=torchvision:resnet"],
            ["expected a classification model of torchvision", "found 'resnet'"],
            id="unknown model of torchvision",
        ),
        pytest.param(main, ["--backbone=resnet18"], ["expected a backbone among", "found 'resnet18'"], id="in main"),
        pytest.param(
            gbdt, ["--engine=both", "--bags=1"], ["at least 2 bags with engine both, found 1"], id="two rules at once"
        ),
        pytest.param(blend, ["--inputs=nn1,,nn2"], ["separated by single commas, found 'nn1,,nn2'"], id="empty input"),
        pytest.param(nn1, ["--stage=second"], ["expected init with stage=second", "--stage first"], id="no init"),
        pytest.param(nn1, ["--init=nn1"], ["found stage=whole and init=nn1"], id="init without its stage"),
    ],
)
def test_parameters_that_cannot_be_are_refused(there, command, words, said):
    assert_refused_and_nothing_else(there, command, [there.data, *words], said)


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        pytest.param(
            embed, ["--preset=fast"], ["'fast' is not one of 'best', 'quick', 'seed', 'seed-small'"], id="preset"
        ),
        pytest.param(
            gbdt,
            ["--engine=lightgbm"],
            ["'lightgbm' is not one of 'xgboost', 'catboost', 'both'"],
            id="engine",
        ),
        pytest.param(embed, ["--svd_components=0"], ["'--svd_components': 0 is not in", "x>=1"], id="no component"),
        pytest.param(nn1, ["--num_epochs=0"], ["'--num_epochs': 0 is not in", "x>=1"], id="no epoch"),
        pytest.param(nn1, ["--learning_rate=-1"], ["'--learning_rate': -1.0 is not in", "x>0"], id="negative rate"),
        pytest.param(nn1, ["--num_epochs=few"], ["'few' is not a valid integer"], id="no number"),
        pytest.param(nn1, ["--stage=third"], ["'third' is not one of 'first', 'second', 'both'"], id="stage"),
        pytest.param(nn2, ["--causal=maybe"], ["'maybe' is not a valid boolean"], id="neither true nor false"),
        pytest.param(
            nn1, ["--epochs=3"], ["No such option '--epochs'. Did you mean '--num_epochs'?"], id="unknown parameter"
        ),
        pytest.param(
            blend, ["--groups=2+"], ["groups of scene sizes from 1", "found ((2, None),)"], id="a size left out"
        ),
        pytest.param(gbdt, ["--learning_rate=nan"], ["--learning_rate", "a finite number, found nan"], id="no rate"),
        pytest.param(blend, ["--groups=few"], ["groups of scene sizes like 1-2,3+", "found 'few'"], id="no groups"),
        pytest.param(blend, ["--method=best"], ["'best' is not one of 'shrunk', 'exact', 'nelder-mead'"], id="method"),
        pytest.param(blend, ["--out=."], ["'.' is a directory"], id="folder for a file"),
        pytest.param(blend, ["--out=main.csv/x.csv"], ["a place where a file can be written"], id="file for a folder"),
    ],
)
def test_words_that_an_option_does_not_know_are_refused_before_a_run_is_opened(there, command, words, said):
    assert_refused_and_nothing_else(there, command, [there.data, *words], said, opened_a_run=False)


# --- What is wrong with an upstream


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param("0" * 32, [f"run {'0' * 32}: expected a run of this ID", "found none", "check the ID"], id="run"),
        pytest.param("models:/atma18-nn1/99", ["models:/atma18-nn1/99: expected a registered version"], id="version"),
        pytest.param("models:/atma18-nn9/1", ["models:/atma18-nn9/1: expected a registered version"], id="model"),
        pytest.param("models:/atma18-nn1@best", ["models:/atma18-nn1@best: expected a registered version"], id="alias"),
        pytest.param("models:/atma18-nn1/latest", ["models:/NAME/VERSION", "nn1/latest'"], id="latest"),
        pytest.param("nn3", ["expected a run ID, models:/NAME/VERSION", "found 'nn3'"], id="name"),
        pytest.param("nn1,models:/atma18-nn1/1,nn1", ["expected each run once"], id="twice"),
    ],
)
def test_an_upstream_that_is_not_there_is_refused(there, given, said):
    assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={given}"], said)


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED", "SCHEDULED"])
def test_an_upstream_that_is_not_finished_is_refused(there, status):
    run_id = MlflowClient().create_run(first("nn1").info.experiment_id).info.run_id
    MlflowClient().update_run(run_id, status=status)

    said = [f"run {run_id}: expected a finished run", f"found status {status}", "name another"]
    assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run_id}"], said)


def test_a_deleted_upstream_is_refused(there):
    run_id = first("nn2").info.run_id
    MlflowClient().delete_run(run_id)
    try:
        said = [f"run {run_id}: expected a finished run", "a deleted one", f"mlflow runs restore --run-id {run_id}"]
        assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run_id}"], said)
    finally:
        MlflowClient().restore_run(run_id)


def test_an_upstream_of_other_data_is_refused(there, folder):
    folder.put("train", 0, "aEgo", "0.123")
    run = first("nn1")

    said = [
        "expected the data of this experiment",
        f"found {run.data.tags['atma18.data_sha256'][:12]}",
        "This makes one",
    ]
    words = [f"--data={folder.path}", f"--folds={run.info.run_id}", f"--inputs={run.info.run_id}"]
    assert_refused_and_nothing_else(there, blend, words, said)


def test_an_upstream_of_other_folds_is_refused(there):
    run = first("nn1")

    said = [
        "expected the folds of this experiment",
        f"found {run.data.tags['atma18.folds_sha256'][:12]}",
        "--fold_seed 1",
    ]
    assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run.info.run_id}", "--fold_seed=1"], said)


def test_an_upstream_of_another_step_is_refused(there):
    run_id = first("nn2").info.run_id

    said = [f"(run {run_id}): expected a run of nn1", "found one of nn2", "name another"]
    assert_refused_and_nothing_else(there, gbdt, [there.data, f"--nn1={run_id}"], said)


def model_file(run):
    model_id = json.loads((artifacts(run) / "manifest.json").read_text())["model_id"]
    return next(Path(MlflowClient().get_logged_model(model_id).artifact_location).rglob("bundle.json"))


@pytest.mark.parametrize(
    "find",
    [
        pytest.param(lambda run: artifacts(run) / "predictions" / "oof.parquet", id="predictions"),
        pytest.param(lambda run: artifacts(run) / "folds.parquet", id="folds"),
        pytest.param(model_file, id="model"),
    ],
)
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_an_upstream_whose_files_were_touched_afterwards_is_refused(there, find, damage):
    run = first("nn1")
    path = find(run)
    with put_back(path):
        whole = path.read_bytes()
        path.unlink()
        if damage == "changed":
            path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        said = [f"run {run.info.run_id}: expected the files", f"{path} ({damage})", "run nn1 again"]
        assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run.info.run_id}"], said)


def test_an_upstream_whose_manifest_was_rewritten_is_refused(there):
    run = first("gbdt")
    path = artifacts(run) / "manifest.json"
    with put_back(path):
        whole = path.read_text()
        path.write_text(whole.replace(json.loads(whole)["artifacts"]["config.json"], "0" * 64))
        said = [f"run {run.info.run_id}: expected the manifest that the run was finished with"]
        assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run.info.run_id}"], said)


def forge(run, change):
    """Change a run's out-of-fold table and make the manifest agree, as somebody would who knows how."""
    path = artifacts(run) / "predictions" / "oof.parquet"
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    manifest = Manifest.read(artifacts(run) / "manifest.json")
    forged = replace(manifest, artifacts=manifest.artifacts | {"predictions/oof.parquet": file_sha256(path)})
    forged.write(artifacts(run) / "manifest.json")
    MlflowClient().set_tag(run.info.run_id, "atma18.manifest_sha256", forged.sha256)


@pytest.fixture
def forgeable(there):
    """A run whose predictions and manifest are put back afterwards."""
    run = first("nn1")
    with put_back(artifacts(run) / "predictions" / "oof.parquet", artifacts(run) / "manifest.json"):
        yield run
    MlflowClient().set_tag(run.info.run_id, "atma18.manifest_sha256", run.data.tags["atma18.manifest_sha256"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(lambda table: table[1:], "missing: ", id="missing"),
        pytest.param(lambda table: pd.concat([table, table[:1]]), "repeated: ", id="repeated"),
        pytest.param(lambda table: table.assign(ID=[f"{'0' * 32}_20", *table["ID"][1:]]), "extra: ", id="strange"),
    ],
)
def test_an_upstream_without_the_right_ids_is_refused_even_if_its_manifest_agrees(there, forgeable, change, problem):
    forge(forgeable, change)

    said = [problem, f"{forgeable.info.run_id}"] if problem != "repeated: " else ["repeated: "]
    assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={forgeable.info.run_id}"], said)


@pytest.mark.parametrize("name", ["data_sha256", "folds_sha256", "input.nn1", "git"])
def test_an_upstream_whose_tags_were_changed_is_refused(there, name):
    """A tag says what a run was made of; the run's own record, under its manifest, knows better."""
    run, tag = first("gbdt"), f"atma18.{name}"
    MlflowClient().set_tag(run.info.run_id, tag, "f" * 32)
    try:
        said = [f"run {run.info.run_id}: expected the tags that config.json has recorded", f"{tag} = {'f' * 32}"]
        assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run.info.run_id}"], said)
    finally:
        MlflowClient().set_tag(run.info.run_id, tag, run.data.tags[tag])


def test_a_version_that_was_pointed_at_another_folder_is_refused(there, tmp_path):
    run = first("nn1")
    forged = MlflowClient().create_model_version("atma18-nn1", source=str(tmp_path), run_id=run.info.run_id)
    name = f"models:/atma18-nn1/{forged.version}"
    try:
        said = [f"{name}: expected the model of its run {run.info.run_id}", f"points at {tmp_path}"]
        assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={name}"], said)
    finally:
        MlflowClient().delete_model_version("atma18-nn1", forged.version)


def test_an_upstream_whose_model_was_removed_is_refused(there):
    run = first("gbdt")
    path = artifacts(run) / "manifest.json"
    manifest = Manifest.read(path)
    gone = replace(manifest, model_id=f"m-{'0' * 32}")
    with put_back(path):
        gone.write(path)
        MlflowClient().set_tag(run.info.run_id, "atma18.manifest_sha256", gone.sha256)
        said = [f"run {run.info.run_id}: expected the model m-0000", "run gbdt again"]
        assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run.info.run_id}"], said)
    MlflowClient().set_tag(run.info.run_id, "atma18.manifest_sha256", manifest.sha256)


def test_a_version_without_a_run_is_refused(there, tmp_path):
    MlflowClient().create_registered_model("somebody-elses")
    MlflowClient().create_model_version("somebody-elses", source=str(tmp_path))

    said = ["models:/somebody-elses/1: expected a version that was made by a run"]
    assert_refused_and_nothing_else(there, blend, [there.data, "--inputs=models:/somebody-elses/1"], said)


def test_a_run_that_somebody_else_made_is_refused(there):
    run_id = MlflowClient().create_run(first("nn1").info.experiment_id).info.run_id
    MlflowClient().set_terminated(run_id)

    said = [f"run {run_id}: expected a run of motion, embed, nn1, nn2, gbdt, blend, found one of something else"]
    assert_refused_and_nothing_else(there, blend, [there.data, f"--inputs={run_id}"], said)


@pytest.mark.parametrize("step", ["nn1", None], ids=["finished", "not there"])
def test_an_inherited_run_that_is_not_fresh_is_refused_and_left_alone(there, monkeypatch, step):
    """A variable that somebody exported long ago must not make this command's end that run's."""
    run_id = first(step).info.run_id if step else "0" * 32
    before = [(run.info.status, run.data.tags) for run in all_runs()]
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)

    said = ["MLFLOW_RUN_ID: expected a run that mlflow run has", run_id, "unset it"]
    assert_refused_and_nothing_else(there, embed, [there.data], said, opened_a_run=False)

    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert [(run.info.status, run.data.tags) for run in all_runs()] == before


def test_a_url_is_no_dataset_folder(there, folder):
    said = ["expected a dataset folder of this machine, or demo", f"found file://{folder.path}"]
    assert_refused_and_nothing_else(there, embed, [f"--data=file://{folder.path}"], said)


def test_a_missing_upstream_is_refused_with_the_command_that_makes_it(there):
    said = [
        "expected a version of atma18-embed with these data and folds",
        f"-m steps.embed {there.data.replace('=', ' ')} --folds 4",
    ]
    assert_refused_and_nothing_else(there, gbdt, [there.data, "--folds=4"], said)


def test_the_second_stage_does_not_start_from_a_whole_net(there):
    said = ["expected init to be a run of nn1 with stage=first", "found nn1, whole"]
    words = [there.data, "--stage=second", f"--init={first('nn1').info.run_id}"]
    assert_refused_and_nothing_else(there, nn1, words, said)


def test_a_bare_name_of_init_wants_a_first_stage_and_says_how_to_make_one(there):
    said = ["expected a version of atma18-nn2", "--folds 4 --stage first"]
    assert_refused_and_nothing_else(there, nn2, [there.data, "--folds=4", "--stage=second", "--init=nn2"], said)
