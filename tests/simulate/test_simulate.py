"""Scenes must have the published counts and layout, and be byte-identical for the same seed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atma18 import simulate
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.schema import LIGHT_CLASSES
from atma18.simulate import Plan, writing
from atma18.simulate.driving import STEP_S, STEPS, step_of
from atma18.simulate.rendering import render
from atma18.simulate.scenes import _announced, _restless, _swinging, draw_scene, scene_sizes
from tests.drives import contents

SIGNAL_COLUMNS = [
    *["vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "brakePressed"],
    *["gas", "gasPressed", "gearShifter", "leftBlinker", "rightBlinker"],
]
TARGET_COLUMNS = [f"{axis}_{k}" for k in range(6) for axis in "xyz"]


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    out = tmp_path_factory.mktemp("drives") / "new" / "out"
    simulate.write_drives(out, Plan(3, 2, seed=5))
    return out


# Scenes


@pytest.fixture(scope="module")
def drawn():
    return [draw_scene(3, "train", index, 6) for index in range(150)]


def test_drawn_scenes_follow_the_published_statistics(drawn):
    samples = [sample for scene in drawn for sample in scene.samples]
    signals = pd.DataFrame([sample.signals for sample in samples])

    assert signals["vEgo"].mean() == pytest.approx(9.17, abs=1.5)
    assert signals["vEgo"].std() == pytest.approx(7.23, abs=1.0)
    assert (signals["vEgo"].abs() < 0.14).mean() == pytest.approx(0.14, abs=0.06)
    assert signals["aEgo"].std() == pytest.approx(0.63, abs=0.15)
    assert signals["brakePressed"].mean() == pytest.approx(0.31, abs=0.08)
    assert signals["steeringAngleDeg"].std() == pytest.approx(65, abs=20)
    assert not (signals["leftBlinker"] & signals["rightBlinker"]).any()
    assert np.mean([sample.targets_m[15] for sample in samples]) == pytest.approx(26.8, abs=4)


def test_samples_lie_ten_seconds_apart_on_the_published_grid(drawn):
    for scene in drawn[:20]:
        deciseconds = [int(sample.sample_id.split("_")[1]) for sample in scene.samples]
        assert deciseconds == [20, 120, 220, 320, 420, 520]
        assert [sample.step for sample in scene.samples] == [step_of(d / 10) for d in deciseconds]
    short = [draw_scene(3, "train", index, 2) for index in range(60)]
    gaps = [np.diff([sample.step for sample in scene.samples])[0] * STEP_S for scene in short]
    assert 0.85 < np.mean(np.isclose(gaps, 10.0)) < 1.0
    assert set(np.round(gaps)) <= {10, 20, 30, 40, 50}


def test_sceneries_are_by_day_and_by_night(drawn):
    daylight = np.array([scene.daylight for scene in drawn])

    assert np.mean(daylight > 0.7) == pytest.approx(0.65, abs=0.12)
    assert np.mean(daylight < 0.25) == pytest.approx(0.15, abs=0.1)


@pytest.mark.parametrize(
    ("draw", "after_s", "alike"),
    [
        pytest.param(lambda rng: _restless(rng, 0.5, 4.0), 4.0, np.exp(-1), id="restless"),
        pytest.param(lambda rng: _swinging(rng, 0.5, 10.0, 8.0), 5.0, -np.exp(-5 / 8), id="half-a-swing"),
        pytest.param(lambda rng: _swinging(rng, 0.5, 10.0, 8.0), 10.0, np.exp(-10 / 8), id="a-whole-swing"),
    ],
)
def test_moods_have_their_size_and_memory(draw, after_s, alike):
    rng = np.random.default_rng(0)
    values = np.array([draw(rng) for _ in range(400)])
    steps = round(after_s / STEP_S)

    assert values.shape == (400, STEPS)
    assert values[:, 0].std() == pytest.approx(0.5, rel=0.1)
    assert values[:, -1].std() == pytest.approx(0.5, rel=0.1)
    correlation = (values[:, :-steps] * values[:, steps:]).mean() / values.var()
    assert correlation == pytest.approx(alike, abs=0.06)


def test_lane_change_is_announced_three_seconds_before():
    changing = np.zeros(200, dtype=int)
    changing[100:180] = -1

    assert np.flatnonzero(_announced(changing)).tolist() == list(range(40, 180))
    assert (_announced(changing) <= 0).all()


@pytest.mark.parametrize(
    ("split", "published"),
    [
        pytest.param("train", [533, 650, 851, 951, 1227, 4841], id="train"),
        pytest.param("test", [157, 22, 23, 46, 47, 173], id="test"),
    ],
)
def test_as_many_scenes_as_published_have_the_published_sizes(split, published):
    sizes = scene_sizes(split, sum(published), seed=0)

    assert np.abs(np.bincount(sizes, minlength=7) - [0, *published]).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_few_scenes_keep_close_to_the_published_mean(seed):
    samples = scene_sizes("train", simulate.DEMO.train_scenes, seed).sum()

    assert abs(samples - simulate.DEMO.train_scenes * 43371 / 9053) < 5  # at most 1 scene off at each of 5 borders
    assert samples >= 650


def test_scene_depends_on_its_place_alone():
    first, again, other = draw_scene(1, "train", 4, 3), draw_scene(1, "train", 4, 3), draw_scene(1, "test", 4, 3)

    assert [s.sample_id for s in first.samples] == [s.sample_id for s in again.samples]
    np.testing.assert_array_equal(render(first), render(again))
    assert first.samples[0].sample_id != other.samples[0].sample_id


# The folder


def test_tables_have_the_published_columns_in_lexical_order(drives):
    train, test, withheld = (
        pd.read_csv(drives / f"{name}.csv") for name in ("train_features", "test_features", "test_targets")
    )

    assert list(train) == ["ID", *SIGNAL_COLUMNS, *TARGET_COLUMNS]
    assert list(test) == ["ID", *SIGNAL_COLUMNS]
    assert list(withheld) == ["ID", *TARGET_COLUMNS]
    assert withheld["ID"].tolist() == test["ID"].tolist()
    for table in (train, test):
        assert table["ID"].tolist() == sorted(table["ID"])
        assert table["ID"].str.fullmatch(r"[0-9a-f]{32}_(20|120|220|320|420|520)").all()
    assert train["ID"].str[:32].nunique() == 3 and test["ID"].str[:32].nunique() == 2
    assert np.isfinite(train[TARGET_COLUMNS]).all(axis=None)


def test_signals_have_the_published_steps(drives):
    table = pd.concat([pd.read_csv(drives / f"{split}_features.csv") for split in ("train", "test")])

    assert (table["brake"] == 0).all()
    assert (table["steeringTorque"] % 1 == 0).all()
    np.testing.assert_allclose(table["gas"] * 200, (table["gas"] * 200).round(), atol=1e-9)
    assert not (table["leftBlinker"] & table["rightBlinker"]).any()
    assert all(table[flag].dtype == bool for flag in ("brakePressed", "gasPressed", "leftBlinker", "rightBlinker"))


def test_each_sample_has_three_frames_and_its_lights(drives):
    ids = {i for split in ("train", "test") for i in pd.read_csv(drives / f"{split}_features.csv")["ID"]}

    assert {folder.name for folder in (drives / "images").iterdir()} == ids
    assert {file.stem for file in (drives / "traffic_lights").iterdir()} == ids
    for sample_id in ids:
        files = list((drives / "images" / sample_id).iterdir())
        assert {file.name for file in files} == {"image_t.png", "image_t-0.5.png", "image_t-1.0.png"}
        for file in files:
            with Image.open(file) as frame:
                assert (frame.size, frame.mode) == ((128, 64), "RGB")
        for index, light in enumerate(json.loads((drives / "traffic_lights" / f"{sample_id}.json").read_text())):
            x1, y1, x2, y2 = light["bbox"]
            assert light["index"] == index and light["class"] in LIGHT_CLASSES
            assert -0.1 < x1 < x2 < 128.2 and -0.1 < y1 < y2 < 64.2


def test_same_seed_writes_the_same_bytes_and_another_seed_others(drives, tmp_path):
    simulate.write_drives(tmp_path / "again", Plan(3, 2, seed=5))
    simulate.write_drives(tmp_path / "other", Plan(3, 2, seed=6))

    assert contents(tmp_path / "again") == contents(drives)
    assert contents(tmp_path / "other") != contents(drives)


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_makes_no_difference(drives, tmp_path, workers):
    simulate.write_drives(tmp_path / "again", Plan(3, 2, seed=5), workers)

    assert contents(tmp_path / "again") == contents(drives)


def test_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()

    with pytest.raises(ValueError, match=r"mine: expected nothing there, found a folder: name another"):
        simulate.write_drives(tmp_path / "mine", Plan(1, 1, seed=0))
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def interrupt_in_scene(number, monkeypatch):
    """Let the work end when the scene of this number is rendered."""
    rendered = []

    def counted(scene):
        rendered.append(scene)
        if len(rendered) == number:
            raise KeyboardInterrupt
        return render(scene)

    monkeypatch.setattr(writing, "render", counted)
    return rendered


def test_interrupted_work_is_not_mistaken_for_drives_and_is_gone_on_from(drives, tmp_path, monkeypatch):
    interrupt_in_scene(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=5))
    assert not (tmp_path / "out").exists()

    rendered = interrupt_in_scene(99, monkeypatch)
    simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=5))

    assert len(rendered) == 3  # two of five scenes were there
    assert contents(tmp_path / "out") == contents(drives)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_interrupted_work_of_another_plan_is_dropped(drives, tmp_path, monkeypatch):
    interrupt_in_scene(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=6))
    monkeypatch.undo()

    simulate.write_drives(tmp_path / "out", Plan(3, 2, seed=5))

    assert contents(tmp_path / "out") == contents(drives)


def test_split_without_scenes_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1 scene per split, found 2 and 0"):
        Plan(2, 0, seed=0)


def test_any_number_of_workers_gives_the_same_digest(tmp_path):
    digests = set()
    for workers in (1, 2):
        simulate.write_drives(tmp_path / str(workers), Plan(20, 4, seed=2), workers)
        digests.add(Dataset.open(str(tmp_path / str(workers)), Cache.open(tmp_path / f"cache{workers}")).sha256)

    assert len(digests) == 1


def test_what_is_cut_off_in_the_middle_of_a_file_is_written_again(tmp_path, monkeypatch):
    write_text, plan = Path.write_text, Plan(2, 1, seed=5)
    simulate.write_drives(tmp_path / "whole", plan)

    def cut_off(path, text, **how):
        if path.parent.name == "traffic_lights" and path.stem == doomed:
            path.touch()
            raise KeyboardInterrupt
        return write_text(path, text, **how)

    for doomed in [file.stem for file in (tmp_path / "whole" / "traffic_lights").iterdir()]:
        out = tmp_path / doomed
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "write_text", cut_off)
            simulate.write_drives(out, plan)
        simulate.write_drives(out, plan)
        assert contents(out) == contents(tmp_path / "whole")
