"""Any run predicts any drives: equal to its stored predictions, in the order of the file, completely or not at all."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from atma18 import checks, simulate
from atma18.bundle import forecast, servable
from atma18.cache import Cache
from atma18.checks import Suspicion
from atma18.data import submission
from atma18.data.dataset import Dataset
from atma18.schema import TARGETS
from atma18.tracking import named_run
from steps import embed, predict
from tests.store import all_runs, artifacts, call, first, newest, ran, refused, version_of

SENSORS = "expected the sensors that the models were trained with, missing"


def stored(step):
    """What the first `main` predicted for the test samples."""
    return pd.read_parquet(artifacts(first(step)) / "predictions" / "test.parquet").set_index("ID")[list(TARGETS)]


def order_of(folder):
    return pd.read_csv(Path(folder) / "test_features.csv", dtype={"ID": str})["ID"].tolist()


def change(folder, change):
    path = folder / "test_features.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """The tiny drives, to be changed."""
    shutil.copytree(tiny_folder, tmp_path / "drives")
    return tmp_path / "drives"


@pytest.fixture
def new_drives(folder):
    """The test samples of the tiny drives, without any training sample."""
    train = pd.read_csv(folder / "train_features.csv")["ID"]
    (folder / "train_features.csv").unlink()
    for sample_id in train:
        shutil.rmtree(folder / "images" / sample_id)
    return folder


def name_of(way, step):
    run = first(step)
    if way == "run":
        return run.info.run_id
    number = version_of(step, run)
    if way == "version":
        return f"models:/atma18-{step}/{number}"
    MlflowClient().set_registered_model_alias(f"atma18-{step}", "of-predict", number)
    return f"models:/atma18-{step}@of-predict"


def predicted(tmp_path, *words):
    """Call the step, and return what it wrote: the predictions by ID, and the submission."""
    out = tmp_path / "out" / "mine"
    ran(call(predict, *words, f"--out={out}"))
    assert sorted(path.name for path in out.iterdir()) == ["predictions.parquet", "submission.csv"]
    table = pd.read_parquet(out / "predictions.parquet")
    assert list(table.columns) == ["ID", *TARGETS, "outside_training_range"]
    assert set(table[list(TARGETS)].dtypes) == {np.dtype(np.float64)}
    return table.set_index("ID")[list(TARGETS)], pd.read_csv(out / "submission.csv")


def assert_same(found, expected):
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("way", "step"), [("run", "blend"), ("version", "gbdt"), ("alias", "embed")])
def test_the_drives_of_a_run_get_its_stored_predictions(there, tmp_path, way, step):
    table, submitted = predicted(tmp_path, f"--model={name_of(way, step)}", there.data)

    assert sorted(table.index) == sorted(stored(step).index)
    assert_same(table.loc[stored(step).index], stored(step))
    assert list(submitted.columns) == list(TARGETS)
    assert_same(submitted, stored(step).loc[order_of(there.data.removeprefix("--data="))])


def test_rows_in_another_order_are_submitted_in_that_order(there, folder, tmp_path):
    before = order_of(folder)
    change(folder, lambda table: table.sample(frac=1, random_state=3))
    assert order_of(folder) != before

    table, submitted = predicted(tmp_path, f"--model={first('nn2').info.run_id}", f"--data={folder}")

    assert_same(submitted, stored("nn2").loc[order_of(folder)])
    assert_same(table.loc[before], stored("nn2").loc[before])


def test_a_folder_with_test_samples_alone_is_enough(there, new_drives, tmp_path):
    table, _ = predicted(tmp_path, f"--model={first('gbdt').info.run_id}", f"--data={new_drives}")

    assert_same(table.loc[stored("gbdt").index], stored("gbdt"))
    message = refused(call(embed, f"--data={new_drives}"))
    assert "train_features.csv: expected this file in the dataset folder, found none" in message


def test_what_looks_wrong_about_the_drives_is_told(there, new_drives, tmp_path, monkeypatch):
    delayed = Suspicion("delayed frames", "two frames are the same", "give each time its own")
    monkeypatch.setattr(checks, "check", lambda dataset: [delayed] if not len(dataset.train) else [])
    change(new_drives, lambda table: table.assign(aEgo="0.125"))  # other drives than those that were looked at before

    said = ran(call(predict, f"--model={first('nn1').info.run_id}", f"--data={new_drives}", f"--out={tmp_path / 'p'}"))

    assert f"{new_drives}: {delayed}" in said


def test_samples_outside_the_trained_range_are_told(there, new_drives, tmp_path):
    ids = order_of(new_drives)
    change(new_drives, lambda table: table.assign(vEgo=table["vEgo"].mask(table["ID"] == ids[0], 99.0)))

    said = ran(call(predict, f"--model={first('nn1').info.run_id}", f"--data={new_drives}", f"--out={tmp_path / 'p'}"))

    table = pd.read_parquet(tmp_path / "p" / "predictions.parquet").set_index("ID")["outside_training_range"]
    assert "vEgo" in table[ids[0]].split(", ")
    far = int((table != "").sum())
    assert f"predict: {far} samples lie outside the range of the training drives" in said


def test_scenes_may_come_in_part(there, new_drives, tmp_path):
    """nn1 looks at a sample alone, so what is missing of a scene changes nothing for it; a blend just answers."""
    change(new_drives, lambda table: table.groupby(table["ID"].str.rsplit("_", n=1).str[0]).nth(-1))
    kept = order_of(new_drives)
    assert 0 < len(kept) < len(stored("nn1"))

    alone, _ = predicted(tmp_path, f"--model={first('nn1').info.run_id}", f"--data={new_drives}")
    blended, submitted = predicted(tmp_path, f"--model={first('blend').info.run_id}", f"--data={new_drives}")

    assert_same(alone.loc[kept], stored("nn1").loc[kept])
    assert sorted(blended.index) == sorted(kept)
    assert len(submitted) == len(kept)


def test_other_drives_are_predicted_and_the_run_says_by_whom(there, tmp_path):
    other = tmp_path / "other"
    simulate.write_drives(other, simulate.Plan(train_scenes=2, test_scenes=3, seed=9))
    run_id = first("nn1").info.run_id

    table, submitted = predicted(
        tmp_path, f"--model=models:/atma18-nn1/{version_of('nn1', first('nn1'))}", f"--data={other}"
    )

    assert sorted(table.index) == sorted(order_of(other))
    assert_same(submitted, table.loc[order_of(other)])
    run = MlflowClient().get_run(newest("predict").info.run_id)  # a search leaves out the model inputs
    assert run.data.tags["atma18.input.nn1"] == run_id
    assert run.data.tags["atma18.data_sha256"] == Dataset.open(str(other), Cache.open(tmp_path / "cache")).sha256
    assert run.data.params["cfg.data"] == str(other)
    assert [found.dataset.name for found in run.inputs.dataset_inputs] == ["other-testing"]
    assert [found.model_id for found in run.inputs.model_inputs] == [first("nn1").outputs.model_outputs[0].model_id]
    assert {"predict/seconds", "predict/samples_per_s", "predict/peak_memory_gb"} <= set(run.data.metrics)
    for name in ("predictions.parquet", "submission.csv"):
        assert (artifacts(run) / name).read_bytes() == (tmp_path / "out" / "mine" / name).read_bytes()


def test_a_row_does_not_depend_on_how_many_scenes_are_predicted_at_a_time(there, tiny, tmp_path):
    blend = servable.load(named_run(first("blend").info.run_id, Cache.open(tmp_path / "cache")).bundle, "cpu")

    one_by_one, all_at_once = (forecast.predict(blend, tiny.test, at_a_time=n) for n in (1, len(tiny.test)))

    np.testing.assert_array_equal(one_by_one, all_at_once)
    assert_same(pd.DataFrame(one_by_one), stored("blend").loc[tiny.test.ids])


@pytest.mark.parametrize(
    ("scenes", "at_a_time", "sizes"),
    [
        pytest.param("aabbbc", 4, [2, 4], id="what fits"),
        pytest.param("aabbbc", 5, [5, 1], id="exactly"),
        pytest.param("aabbbc", 6, [6], id="all"),
        pytest.param("aabbbc", 1, [2, 3, 1], id="a scene is never cut"),
        pytest.param("abbbbc", 2, [1, 4, 1], id="a large one comes alone"),
        pytest.param("a", 512, [1], id="one"),
        pytest.param("", 512, [], id="none"),
    ],
)
def test_whole_scenes_are_taken_at_a_time(scenes, at_a_time, sizes):
    chunks = list(forecast.whole_scenes(np.array(list(scenes), dtype=np.str_), at_a_time))

    assert [len(rows) for rows in chunks] == sizes
    assert [int(row) for rows in chunks for row in rows] == list(range(len(scenes)))


class NoNumber:
    """A model that has lost its way."""

    def predict(self, samples):
        return np.where(np.arange(len(samples))[:, None] == 1, np.nan, np.zeros((len(samples), len(TARGETS))))


def test_what_is_not_finite_is_refused_by_its_id(tiny):
    with pytest.raises(ValueError, match=rf"expected finite predictions, found others for {tiny.test.ids[1]}$"):
        forecast.predict(NoNumber(), tiny.test)


# --- What is refused: one message, a failed run, and nothing in the folder


def assert_refused(there, out, words, *said):
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} if out.is_dir() else None
    runs = len(all_runs())

    message = refused(call(predict, *words, f"--out={out}"))

    assert [part for part in said if part not in message] == [], message
    assert message.count("Error: ") == 1
    [run] = all_runs()[runs:]
    assert run.info.status == "FAILED"
    assert run.data.tags["atma18.error"] in message
    assert not (artifacts(run) / "predictions.parquet").exists()
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} if out.is_dir() else None
    assert after == before


def test_without_a_champion_the_message_says_what_to_do(there, tmp_path):
    said = ["models:/atma18-nn1@champion: expected a registered version, found none"]
    advice = "promote one, or name models:/atma18-nn1@candidate"

    assert_refused(there, tmp_path / "out", ["--model=models:/atma18-nn1@champion", there.data], *said, advice)


def test_another_alias_that_is_not_there_brings_no_advice_on_champions(there, tmp_path):
    message = refused(call(predict, "--model=models:/atma18-nn1@best", there.data, f"--out={tmp_path / 'out'}"))

    assert "promote" not in message
    assert "its versions are 1" in message


def test_a_model_that_is_not_there_brings_the_names_of_those_that_are(there, tmp_path):
    message = refused(call(predict, "--model=models:/atma18-blnd@champion", there.data, f"--out={tmp_path / 'out'}"))

    names = "atma18-blend, atma18-embed, atma18-gbdt, atma18-motion, atma18-nn1, atma18-nn2"
    assert f"no model has this name; there are {names}" in message


@pytest.mark.parametrize(
    ("lose", "missing"),
    [
        pytest.param(lambda folder: change(folder, lambda table: table.drop(columns="gas")), "gas", id="signal"),
        pytest.param(
            lambda folder: change(folder, lambda table: table.assign(gearShifter="")), "gearShifter", id="gear"
        ),
        pytest.param(lambda folder: shutil.rmtree(folder / "traffic_lights"), "traffic_lights", id="lights"),
    ],
)
def test_a_sensor_that_the_model_reads_and_the_drives_lack_is_named(there, new_drives, tmp_path, lose, missing):
    lose(new_drives)
    words = [f"--model={first('nn1').info.run_id}", f"--data={new_drives}"]

    assert_refused(there, tmp_path / "out", words, f"{SENSORS}: {missing}")


def test_earlier_results_stay_when_later_ones_are_refused_and_go_when_they_are_whole(there, new_drives, tmp_path):
    model, out = f"--model={first('nn1').info.run_id}", tmp_path / "out" / "mine"
    everything, _ = predicted(tmp_path, model, f"--data={new_drives}")
    change(new_drives, lambda table: table[:2])
    part, _ = predicted(tmp_path, model, f"--data={new_drives}")
    change(new_drives, lambda table: table.drop(columns="gas"))

    assert len(part) == 2 < len(everything)
    assert_refused(there, out, [model, f"--data={new_drives}"], SENSORS)


def in_the_way(place, kind):
    """Put something where a folder or a file of results should be."""
    if kind == "file":
        place.touch()
        return place, place
    if kind == "file above":
        place.touch()
        return place / "deeper", place
    if kind == "dead link":
        place.symlink_to(place / "nowhere")
        return place, place
    (place / "submission.csv").mkdir(parents=True)
    return place, place / "submission.csv"


@pytest.mark.parametrize("kind", ["file", "file above", "dead link", "folder for a file"])
def test_what_is_in_the_way_is_refused_before_any_work(there, tmp_path, kind):
    out, way = in_the_way(tmp_path / "out", kind)
    words = [f"--model={first('nn1').info.run_id}", "--data=nowhere"]  # it is not even looked at

    assert_refused(there, out, words, f"{out}: expected", f"found {way} in the way: name another")


def test_a_sample_submission_of_another_length_is_refused(there, folder, tmp_path):
    sample = folder / submission.SAMPLE_SUBMISSION
    pd.DataFrame(0.0, index=range(3), columns=list(TARGETS)).to_csv(sample, index=False)
    words = [f"--model={first('nn1').info.run_id}", f"--data={folder}"]

    assert_refused(there, tmp_path / "out", words, f"{sample}: expected {len(order_of(folder))} rows", "found 3 rows")


def test_a_run_that_is_no_result_is_refused(there, tmp_path):
    main_run = first("main").info.run_id

    assert_refused(there, tmp_path / "out", [f"--model={main_run}", there.data], "expected the manifest")


def test_a_delivery_that_breaks_down_leaves_what_was_there(tmp_path):
    source, target = tmp_path / "new", tmp_path / "out" / "result.csv"
    source.write_text("new")
    target.parent.mkdir()
    target.write_text("old")

    with pytest.raises(FileNotFoundError):
        submission.deliver({target: source, target.with_name("other.csv"): tmp_path / "nowhere"})

    assert [(path.name, path.read_text()) for path in target.parent.iterdir()] == [("result.csv", "old")]


def test_only_the_test_samples_are_those_of_a_folder_without_training(new_drives, tiny, tmp_path):
    found = Dataset.open(str(new_drives), Cache.open(tmp_path / "cache"), test_alone=True)

    assert (len(found.train), found.targets_m.shape) == (0, (0, len(TARGETS)))
    assert found.test.ids.tolist() == tiny.test.ids.tolist()
    assert found.absent == tiny.absent
    assert found.sha256 != tiny.sha256
    (new_drives / "train_features.csv").mkdir()
    with pytest.raises(ValueError, match=r"train_features\.csv: expected a file or nothing"):
        Dataset.open(str(new_drives), Cache.open(tmp_path / "cache"), test_alone=True)
