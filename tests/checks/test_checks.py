"""Spoilt drives are named for what is wrong with them, and sound ones raise no alarm."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atma18 import checks, simulate
from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.run_context import cached_folds
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, TARGETS, FrameRows
from steps import check, embed, main
from tests.e2e.test_real_drives import CLIPS
from tests.fixtures import enter
from tests.store import SHORT, SMALL, STEPS, all_runs, call, ran


@pytest.fixture(scope="session")
def sound_folder(made_once):
    """As many simulated drives as the demo has."""
    return made_once("sound", lambda folder: simulate.write_drives(folder, simulate.DEMO, workers=2))


@pytest.fixture(scope="module")
def sound(sound_folder, tmp_path_factory):
    return Dataset.open(str(sound_folder), Cache.open(tmp_path_factory.mktemp("cache")))


def names(dataset):
    return [found.name for found in checks.check(dataset)]


def with_samples(dataset, change):
    return replace(dataset, train=change(dataset.train), test=change(dataset.test))


def with_signal(name, change):
    """Change a column of both files."""
    return lambda dataset: with_samples(
        dataset,
        lambda samples: replace(samples, signals=samples.signals.assign(**{name: change(samples.signals[name])})),
    )


def with_frames(change):
    """Change the (N, 3, 64, 128, 3) frames of both splits."""

    def changed(samples):
        frames = FrameRows.of(np.ascontiguousarray(change(samples.frames[:])), samples.frames.camera)
        return replace(samples, frames=frames)

    return lambda dataset: with_samples(dataset, changed)


def with_targets(axis, factor):
    columns = [TARGETS.index(name) for name in TARGETS if name.startswith(axis)]

    def change(dataset):
        targets_m = dataset.targets_m.copy()
        targets_m[:, columns] *= factor
        return replace(dataset, targets_m=targets_m)

    return change


def exchanged(*order):
    return with_frames(lambda frames: frames[:, list(order)])


def cropped(box):
    """What another camera's window of the same scene would show."""
    size = FRAME_WIDTH_PX, FRAME_HEIGHT_PX

    def of(frame):
        return np.asarray(Image.fromarray(frame).crop(box).resize(size, Image.Resampling.BILINEAR))

    return with_frames(lambda frames: np.stack([[of(frame) for frame in of_sample] for of_sample in frames]))


def test_sound_drives_raise_no_alarm(sound):
    assert checks.check(sound) == []


def test_a_camera_that_sees_no_road_is_no_reason_to_stop(sound):
    intrinsics_px = sound.camera.intrinsics_px.copy()
    intrinsics_px[1, 2] = 100.0  # the horizon is below the frame
    dataset = replace(sound, camera=replace(sound.camera, intrinsics_px=intrinsics_px))

    assert checks.check(dataset) == []
    assert checks.draw(dataset).axes


def test_few_drives_raise_no_alarm(tiny):
    assert checks.check(tiny) == []


if CLIPS.is_dir():

    def test_real_drives_raise_no_alarm(tmp_path):
        assert checks.check(Dataset.open(str(CLIPS), Cache.open(tmp_path))) == []

    @pytest.mark.parametrize(
        ("spoil", "name", "said"),
        [
            pytest.param(with_signal("vEgo", lambda v: v * 3.6), "unit of vEgo", "km/h", id="km/h"),
            pytest.param(exchanged(1, 0, 2), "order of frames", "image_t and image_t-0.5", id="two frames"),
            pytest.param(exchanged(2, 1, 0), "order of frames", "image_t and image_t-1.0", id="backwards"),
            pytest.param(exchanged(1, 2, 2), "delayed frames", "image_t-0.5 and image_t-1.0", id="delayed"),
            pytest.param(cropped((0, 0, 102, 51)), "camera", "camera.json", id="another camera"),
        ],
    )
    def test_spoilt_real_drives_are_named(tmp_path, spoil, name, said):
        found = checks.check(spoil(Dataset.open(str(CLIPS), Cache.open(tmp_path))))
        assert found[0].name == name
        assert said in str(found[0])


@pytest.mark.parametrize(
    ("spoil", "name", "said"),
    [
        pytest.param(with_signal("vEgo", lambda v: v * 3.6), "unit of vEgo", "divide vEgo by 3.6", id="km/h"),
        pytest.param(with_signal("vEgo", lambda v: v * 2.23694), "unit of vEgo", "miles per hour", id="mph"),
        pytest.param(with_targets("x", -1), "sign of x", "x is forward", id="x sign"),
        pytest.param(
            with_signal("steeringAngleDeg", np.negative), "sign of steeringAngleDeg", "left", id="steering sign"
        ),
        pytest.param(with_targets("y", -1), "sign of y", "frames turn as the steering says", id="y sign"),
        pytest.param(with_frames(lambda f: f[:, :, :, ::-1]), "mirrored frames", "mirror", id="mirrored frames"),
        pytest.param(with_signal("steeringAngleDeg", np.deg2rad), "unit of steeringAngleDeg", "radians", id="radians"),
        pytest.param(exchanged(1, 0, 2), "order of frames", "image_t and image_t-0.5 look", id="t and t-0.5"),
        pytest.param(exchanged(0, 2, 1), "order of frames", "image_t-0.5 and image_t-1.0 look", id="t-0.5 and t-1.0"),
        pytest.param(exchanged(2, 1, 0), "order of frames", "image_t and image_t-1.0 look", id="t and t-1.0"),
        pytest.param(exchanged(1, 2, 2), "delayed frames", "image_t-0.5 and image_t-1.0 are the same", id="delayed"),
        pytest.param(cropped((16, 8, 112, 56)), "camera", "camera.json", id="a narrower camera"),
        pytest.param(cropped((0, 10, 128, 64)), "camera", "camera.json", id="a camera that looks down"),
    ],
)
def test_spoilt_drives_are_named_first_for_what_is_wrong(sound, spoil, name, said):
    found = checks.check(spoil(sound))
    assert found[0].name == name
    assert said in str(found[0])
    assert len(found) == 1


@pytest.fixture
def folder(sound_folder, tmp_path):
    shutil.copytree(sound_folder, tmp_path / "drives")
    return tmp_path / "drives"


def opened(folder):
    return Dataset.open(str(folder), Cache.open(folder.parent / "cache"))


def duplicate(folder, split, into, scenes):
    """Write some scenes of a split a second time, under new names."""
    table, target = (pd.read_csv(folder / f"{name}_features.csv", dtype=str) for name in (split, into))
    copied = table[table["ID"].str.rsplit("_", n=1).str[0].isin(scenes)]
    new = "twin" + copied["ID"]
    for old_id, new_id in zip(copied["ID"], new, strict=True):
        shutil.copytree(folder / "images" / old_id, folder / "images" / new_id)
        shutil.copy(folder / "traffic_lights" / f"{old_id}.json", folder / "traffic_lights" / f"{new_id}.json")
    both = pd.concat([target, copied.assign(ID=new)])[target.columns]
    both.to_csv(folder / f"{into}_features.csv", index=False)


def test_a_drive_under_two_names_is_named_and_stays_in_one_fold(folder):
    scenes = sorted(set(opened(folder).train.scenes.tolist()))[:30]
    duplicate(folder, "train", "train", scenes)
    dataset = opened(folder)

    assert names(dataset) == ["duplicated scenes"]
    assert dataset.twins == {f"twin{scene}": scene for scene in scenes}
    folds = cached_folds(dataset, 3, 0, Cache.open(folder.parent / "cache"))
    fold_of = dict(zip(dataset.train.scenes.tolist(), folds.of(dataset.train.ids).tolist(), strict=True))
    assert [fold_of[scene] for scene in scenes] == [fold_of[f"twin{scene}"] for scene in scenes]
    assert len(set(fold_of.values())) == 3


def test_a_training_drive_among_the_test_drives_is_named(folder):
    [scene] = sorted(set(opened(folder).train.scenes.tolist()))[:1]
    duplicate(folder, "train", "test", [scene])

    [found] = checks.check(opened(folder))

    assert found.name == "duplicated scenes"
    assert f"in training and in test: twin{scene} and {scene}" in found.found


def test_nearly_right_column_names_are_named(folder):
    for split in ("train", "test"):
        path = folder / f"{split}_features.csv"
        renamed = {"steeringAngleDeg": "steering_angle_deg", "gas": "Gas", "brake": "weather"}
        pd.read_csv(path, dtype=str).rename(columns=renamed).to_csv(path, index=False)

    [found] = checks.check(opened(folder))

    assert found.name == "column names"
    assert "steering_angle_deg for steeringAngleDeg, Gas for gas:" in str(found)
    assert "weather" not in str(found)


def test_test_drives_unlike_the_training_drives_are_named(sound):
    faster = replace(sound.test, signals=sound.test.signals.assign(steeringTorque=lambda s: s["steeringTorque"] * 10))

    [found] = checks.check(replace(sound, test=faster))

    assert found.name == "other test drives"
    assert "of steeringTorque (training: " in found.found


def test_a_signal_that_never_changes_is_named(sound):
    [found] = checks.check(with_signal("aEgo", lambda a: 0 * a)(sound))
    assert (found.name, found.found) == ("constant signal", "aEgo is 0 in every training row")


def without_training(dataset):
    return replace(dataset, train=dataset.train.take(np.empty(0, np.int64)), targets_m=dataset.targets_m[:0])


def test_the_frames_of_drives_that_are_to_be_predicted_are_looked_at(sound):
    backwards = with_frames(lambda frames: frames[:, ::-1])

    assert names(without_training(sound)) == []
    assert names(without_training(backwards(sound))) == ["order of frames"]


@pytest.fixture
def few(tiny_folder, tmp_path, no_caller, monkeypatch):
    """A copy of few drives, and a store beside it."""
    shutil.copytree(tiny_folder, tmp_path / "drives")
    enter(tmp_path, monkeypatch)
    return tmp_path / "drives"


def in_km_per_h(folder):
    for split in ("train", "test"):
        path = folder / f"{split}_features.csv"
        table = pd.read_csv(path)
        table.assign(vEgo=table["vEgo"] * 3.6).to_csv(path, index=False)


def test_check_prints_what_it_found_and_draws_one_picture(few, drawn):
    assert "check: nothing looks wrong in " in ran(call(check, f"--data={few}"))
    in_km_per_h(few)

    said = ran(call(check, f"--data={few}", "--out=new/check.png"))

    assert said.startswith("1. unit of vEgo: in the first 0.5 s cars drive 0.2")
    assert "check: 1 thing looks wrong" in said
    with Image.open(few.parent / "new" / "check.png") as picture:
        assert picture.size[0] > 1000
    assert not (few.parent / "mlflow.db").exists()


def test_check_takes_a_folder_without_training_drives(few, drawn):
    (few / "train_features.csv").unlink()

    assert "check: nothing looks wrong in 0 training and " in ran(call(check, f"--data={few}"))
    assert (few.parent / "check.png").is_file()


def test_main_keeps_what_looks_wrong_and_says_it_beside_its_result(few, small_backbone):
    in_km_per_h(few)

    said = ran(call(main, f"--data={few}", "--folds=2", *SHORT, SMALL))

    _, result = said.split("3 s ahead m", 1)
    assert "These drives look wrong: unit of vEgo: in the first 0.5 s" in result
    parent = next(run for run in all_runs() if run.data.tags["atma18.step"] == "main")
    assert parent.data.tags["mlflow.note.content"].startswith("- **These drives look wrong**: unit of vEgo: ")
    steps = [run for run in all_runs() if run.data.tags["atma18.step"] in STEPS]
    assert len(steps) == len(STEPS)
    assert all(run.data.tags["atma18.suspicions"].startswith("unit of vEgo: ") for run in steps)


def test_every_step_says_what_looks_wrong(few, small_backbone):
    in_km_per_h(few)

    for _ in range(2):  # the second time, what was found is read from the cache
        assert f"{few}: unit of vEgo: " in ran(call(embed, f"--data={few}", SMALL))
