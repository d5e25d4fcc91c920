"""A dataset folder is read correctly, refused with a clear message if broken, and identified by its content alone."""

import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atma18 import simulate
from atma18.data.dataset import Dataset, demo_folder
from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.schema import CAN_SIGNALS, FRAME_FILES, TARGETS

TRAIN_IDS = ["b_20", "a_120", "a_20", "a_220"]  # as files have them: in no order
TEST_IDS = ["d_20", "c_120", "c_20"]
CAMERA = {
    "intrinsics_px": [[100, 0, 64], [0, 100, 10], [0, 0, 1]],
    "image_size_px": [128, 64],
    "position_m": [0, 0, 1.5],
    "height_above_road_m": 1.5,
}


def table_of(ids, first):
    """Row i of a table: vEgo is first + i, aEgo a tenth of it, and so on; all of it can be seen in the tests below."""
    n = np.arange(len(ids)) + first
    return pd.DataFrame(
        {
            "ID": ids,
            "vEgo": n.astype(float),
            "aEgo": n / 10,
            "steeringAngleDeg": -n.astype(float),
            "steeringTorque": n * 100,
            "brake": 0.0,
            "brakePressed": n % 2 == 0,
            "gas": n / 1000,
            "gasPressed": n % 2 == 1,
            "gearShifter": np.array(["drive", "park", "neutral", "reverse"])[n % 4],
            "leftBlinker": False,
            "rightBlinker": True,
        }
    )


@dataclass
class Folder:
    """A dataset folder that tests may break."""

    path: Path

    def table(self, split):
        return pd.read_csv(self.path / f"{split}_features.csv", dtype=str, keep_default_na=False)

    def change(self, split, change):
        """Write the table that `change` makes of the one that is there."""
        change(self.table(split)).to_csv(self.path / f"{split}_features.csv", index=False)

    def set(self, split, sample_id, column, text):
        self.change(
            split, lambda table: table.assign(**{column: table[column].mask(table["ID"] == sample_id, str(text))})
        )

    def lights(self, sample_id):
        return self.path / "traffic_lights" / f"{sample_id}.json"

    def frame(self, sample_id, name=FRAME_FILES[0]):
        return self.path / "images" / sample_id / name


def level(row, column):
    """The grey level of a sample's frame."""
    return 10 * row + column


@pytest.fixture
def folder(tmp_path):
    """Two scenes for training and two for testing; every value follows from its place."""
    folder = Folder(tmp_path / "drives")
    folder.path.mkdir()
    train = table_of(TRAIN_IDS, first=1)
    targets = np.arange(4)[:, None] * 100.0 + np.arange(18)
    pd.concat([train, pd.DataFrame(targets, columns=TARGETS)], axis=1).to_csv(
        folder.path / "train_features.csv", index=False
    )
    table_of(TEST_IDS, first=5).to_csv(folder.path / "test_features.csv", index=False)
    (folder.path / "traffic_lights").mkdir()
    for row, sample_id in enumerate(TRAIN_IDS + TEST_IDS):
        folder.lights(sample_id).write_text("[]")
        folder.frame(sample_id).parent.mkdir(parents=True)
        for column, name in enumerate(FRAME_FILES):
            grey = np.full((64, 128, 3), level(row, column), np.uint8)
            Image.fromarray(grey).save(folder.frame(sample_id, name))
    boxes = [
        {"index": 0, "class": "red", "bbox": [1, 2, 3, 4]},
        {"index": 1, "class": "left", "bbox": [-0.06, 5.5, 128.14, 6]},
    ]
    folder.lights("a_20").write_text(json.dumps(boxes))
    folder.lights("d_20").write_text(json.dumps([{"index": 0, "class": "green", "bbox": [7, 8, 9, 10]}]))
    return folder


@pytest.fixture
def read(folder, tiny_cache):
    """Read the folder as it is now."""
    return lambda **options: Dataset.open(str(folder.path), tiny_cache, **options)


def test_samples_stand_in_order_of_scene_and_time(read):
    data = read()
    assert data.train.ids.tolist() == ["a_20", "a_120", "a_220", "b_20"]
    assert data.test.ids.tolist() == ["c_20", "c_120", "d_20"]


def test_submission_ids_stand_in_the_order_of_the_file(read):
    assert read().submission_ids.tolist() == TEST_IDS


def test_every_value_is_read_into_the_row_of_its_sample(read):
    data = read()

    assert tuple(data.train.signals.columns) == CAN_SIGNALS
    assert (data.train.signals.dtypes == np.float64).all()
    # a_20 is row 2 of its file, which starts counting at 1; c_20 is row 2 of one that starts at 5.
    assert data.train.signals.iloc[0].tolist() == [3, 0.3, -3, 300, 0, 0.003, 0, 1, 0, 1]
    assert data.test.signals.iloc[0].tolist() == [7, 0.7, -7, 700, 0, 0.007, 0, 1, 0, 1]
    assert data.train.gear.tolist() == ["reverse", "neutral", "drive", "park"]
    assert data.test.gear.tolist() == ["reverse", "neutral", "park"]
    assert data.targets_m.shape == (4, 18)
    assert data.targets_m[:, 0].tolist() == [200, 100, 300, 0]
    assert data.targets_m[3].tolist() == list(range(18))


def test_every_sample_has_its_three_frames(read):
    data = read()

    found = data.train.frames[:][:, :, 63, 127, 2].tolist()
    assert found == [[level(row, column) for column in range(3)] for row in (2, 1, 3, 0)]
    assert data.test.frames[:][:, :, 0, 0, 0].tolist() == [
        [level(row, column) for column in range(3)] for row in (6, 5, 4)
    ]


def test_traffic_lights_are_read_with_their_boxes_and_in_the_order_of_their_file(read):
    data = read()
    assert data.train.traffic_lights.to_numpy().tolist() == [
        ["a_20", "red", 1, 2, 3, 4],
        ["a_20", "left", -0.06, 5.5, 128.14, 6],
    ]
    assert data.test.traffic_lights.to_numpy().tolist() == [["d_20", "green", 7, 8, 9, 10]]


def test_drives_without_any_light_in_view_still_have_the_sensor(read, folder):
    for sample_id in ("a_20", "d_20"):
        folder.lights(sample_id).write_text("[]")
    data = read()
    assert len(data.train.traffic_lights) == len(data.test.traffic_lights) == 0
    assert "traffic_lights" not in data.absent


def test_the_camera_is_the_competitions_unless_the_folder_brings_one(read, folder):
    assert read().camera is COMPETITION_CAMERA
    (folder.path / "camera.json").write_text(json.dumps(CAMERA))
    assert read().camera.height_above_road_m == 1.5


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(("True", "False"), id="pandas"),
        pytest.param(("true", "false"), id="JSON"),
        pytest.param(("1", "0"), id="whole number"),
        pytest.param(("1.0", "0.0"), id="float"),
        pytest.param(("TRUE", "FALSE"), id="spreadsheet"),
        pytest.param(("tRuE ", " fAlSe"), id="by hand"),
    ],
)
def test_flags_are_0_or_1_however_they_are_spelled(read, folder, spelling):
    before = read()
    for split in ("train", "test"):
        folder.change(split, lambda table: table.replace(dict(zip(("True", "False"), spelling, strict=True))))
    after = read()

    assert after.train.signals["gasPressed"].tolist() == [1, 0, 0, 1]  # vEgo 3, 2, 4, 1: pressed where odd
    assert after.sha256 == before.sha256


# --- What is form, and what is content


def shuffle_rows(folder, split="train"):
    folder.change(split, lambda table: table.sample(frac=1, random_state=3))


def shuffle_columns(folder):
    for split in ("train", "test"):
        folder.change(split, lambda table: table.sample(frac=1, axis=1, random_state=3))


def add_columns(folder):
    for split in ("train", "test"):
        folder.change(split, lambda table: table.assign(weather="rain", x_6="nonsense"))


def write_numbers_in_another_way(folder):
    for split in ("train", "test"):
        folder.change(split, lambda table: table.assign(vEgo=[f"{float(v):+.20e}" for v in table["vEgo"]]))


def write_frames_again(folder):
    for path in folder.path.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
        image.save(path, compress_level=3)


def write_lights_again(folder):
    for path in (folder.path / "traffic_lights").iterdir():
        boxes = [{"bbox": b["bbox"], "score": 1, "class": b["class"]} for b in json.loads(path.read_text())]
        path.write_text(json.dumps(boxes, indent=4))


def touch(folder):
    for path in folder.path.rglob("*"):
        os.utime(path, (1, 1))


def add_files(folder):
    (folder.path / "images" / "z_20").mkdir()
    (folder.path / "traffic_lights" / "z_20.json").write_text("not even JSON")
    (folder.path / "notes.txt").write_text("nice weather")


def move(folder):
    folder.path = folder.path.rename(folder.path.with_name("elsewhere"))


FORMS = [
    shuffle_rows,
    shuffle_columns,
    add_columns,
    write_numbers_in_another_way,
    write_frames_again,
    write_lights_again,
    touch,
    add_files,
    move,
]


def content_of(data):
    """Everything that is known of each ID."""
    content = {}
    for split, samples in (("train", data.train), ("test", data.test)):
        for row, sample_id in enumerate(samples.ids.tolist()):
            lights = samples.traffic_lights[samples.traffic_lights["ID"] == sample_id]
            content[split, sample_id] = (
                samples.signals.iloc[row].to_dict(),
                samples.gear[row],
                lights.to_numpy().tolist(),
                samples.frames[row : row + 1].tobytes(),
                data.targets_m[row].tolist() if split == "train" else None,
            )
    return content


@pytest.mark.parametrize("change", FORMS, ids=lambda change: change.__name__.replace("_", " "))
def test_a_change_of_form_changes_neither_values_nor_digest(tiny_folder, tiny, tiny_cache, tmp_path, change):
    copy = Folder(Path(shutil.copytree(tiny_folder, tmp_path / "copy")))
    change(copy)

    after = Dataset.open(str(copy.path), tiny_cache)

    assert content_of(after) == content_of(tiny)
    assert after.sha256 == tiny.sha256


def test_a_shuffle_of_the_test_file_shuffles_the_submission_and_nothing_else(read, folder):
    before = read()
    folder.change("test", lambda table: table.iloc[[2, 0, 1]])
    after = read()

    assert after.submission_ids.tolist() == ["c_20", "d_20", "c_120"]
    assert after.sha256 == before.sha256


def test_reading_again_and_verifying_give_the_same(read):
    assert read().sha256 == read().sha256 == read(verify=True).sha256


def test_a_hidden_change_of_a_frame_is_noticed_when_verifying(read, folder):
    before = read().sha256
    path = folder.frame("d_20", FRAME_FILES[2])
    stat, content = path.stat(), path.read_bytes()
    Image.fromarray(np.full((64, 128, 3), 77, np.uint8)).save(path)
    other = path.read_bytes()
    assert len(other) == len(content)  # so that size, time and inode will be the same as before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns)

    assert read(verify=True).sha256 != before


def change_a_pixel(sample_id, name):
    def change(folder):
        with Image.open(folder.frame(sample_id, name)) as image:
            pixels = np.array(image)
        pixels[0, 0, 1] += 1
        Image.fromarray(pixels).save(folder.frame(sample_id, name))

    return change


def swap_two_frames(folder):
    one, other = folder.frame("a_20", FRAME_FILES[0]), folder.frame("a_20", FRAME_FILES[1])
    one_bytes, other_bytes = one.read_bytes(), other.read_bytes()
    one.write_bytes(other_bytes)
    other.write_bytes(one_bytes)


def change_lights(sample_id, boxes):
    return lambda folder: folder.lights(sample_id).write_text(json.dumps(boxes))


def set_value(split, sample_id, column, text):
    return lambda folder: folder.set(split, sample_id, column, text)


def swap_signals_of_two_samples(folder):
    ids = {"a_20": "a_120", "a_120": "a_20"}
    folder.change("train", lambda table: table.assign(ID=table["ID"].replace(ids)))


def give_the_camera_of(height_m):
    return lambda folder: (folder.path / "camera.json").write_text(
        json.dumps(CAMERA | {"height_above_road_m": height_m})
    )


def rename_a_sample(folder):
    folder.change("train", lambda table: table.assign(ID=table["ID"].replace("a_220", "a_320")))
    folder.frame("a_220").parent.rename(folder.path / "images" / "a_320")
    folder.lights("a_220").rename(folder.lights("a_320"))


def move_a_scene_to_the_other_split(folder):
    targets = dict.fromkeys(TARGETS, "0")
    row = folder.table("test").query("ID == 'd_20'").assign(**targets)
    folder.change("train", lambda table: pd.concat([table, row]))
    folder.change("test", lambda table: table[table["ID"] != "d_20"])


def drop_a_sample(folder):
    folder.change("test", lambda table: table[table["ID"] != "c_20"])


def drop_column(name):
    def drop(folder):
        for split in ("train", "test"):
            folder.change(split, lambda table: table.drop(columns=name))

    return drop


def empty_column(name):
    def empty(folder):
        for split in ("train", "test"):
            folder.change(split, lambda table: table.assign(**{name: ""}))

    return empty


def drop_lights(folder):
    shutil.rmtree(folder.path / "traffic_lights")


CONTENTS = [
    *[
        pytest.param(set_value("train", "a_20", name, "0.0421"), id=f"a value of {name}")
        for name in ("vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "gas", "x_0", "y_3", "z_5")
    ],
    pytest.param(set_value("train", "b_20", "vEgo", "1.0000000000000002"), id="the last digit"),
    pytest.param(set_value("test", "d_20", "leftBlinker", "True"), id="a flag of a test sample"),
    pytest.param(set_value("test", "d_20", "gearShifter", "neutral"), id="a gear"),
    pytest.param(swap_signals_of_two_samples, id="rows of two samples swapped"),
    *[pytest.param(change_a_pixel("a_20", name), id=f"a pixel of {name}") for name in FRAME_FILES],
    pytest.param(change_a_pixel("d_20", FRAME_FILES[2]), id="a pixel of a test sample"),
    pytest.param(swap_two_frames, id="two frames swapped"),
    pytest.param(change_lights("d_20", [{"class": "green", "bbox": [7, 8, 9, 10.5]}]), id="an edge of a light"),
    pytest.param(change_lights("d_20", [{"class": "red", "bbox": [7, 8, 9, 10]}]), id="the class of a light"),
    pytest.param(change_lights("d_20", []), id="no light"),
    pytest.param(change_lights("c_20", [{"class": "red", "bbox": [0, 0, 0, 0]}]), id="one light more"),
    pytest.param(drop_lights, id="no traffic lights"),
    pytest.param(give_the_camera_of(1.5), id="a camera"),
    pytest.param(rename_a_sample, id="the ID of a sample"),
    pytest.param(move_a_scene_to_the_other_split, id="a scene in the other split"),
    pytest.param(drop_a_sample, id="a sample less"),
    pytest.param(drop_column("brake"), id="an absent sensor"),
    pytest.param(drop_column("gearShifter"), id="no gear"),
]


@pytest.mark.parametrize("change", CONTENTS)
def test_a_change_of_content_changes_the_digest(read, folder, change):
    before = read().sha256
    change(folder)
    assert read().sha256 != before


def test_another_camera_changes_the_digest_and_the_order_of_its_keys_does_not(read, folder):
    digests = []
    for height_m in (1.5, 1.6):
        give_the_camera_of(height_m)(folder)
        digests.append(read().sha256)
    (folder.path / "camera.json").write_text(json.dumps(dict(reversed(CAMERA.items())), indent=2))

    assert digests[0] != digests[1]
    assert read().sha256 == digests[0]


def test_zero_has_no_sign(read, folder):
    folder.set("train", "a_20", "aEgo", "0.0")
    folder.set("train", "a_20", "y_0", "0.0")
    before = read().sha256
    folder.set("train", "a_20", "aEgo", "-0.0")
    folder.set("train", "a_20", "y_0", "-0.0")
    assert read().sha256 == before


# --- Sensors that the drives do not have


@pytest.mark.parametrize("word", ["NULL", "N/A", "#N/A", "NaN", "none", " "])
def test_a_word_for_nothing_is_an_empty_cell(read, folder, word):
    empty_column("gas")(folder)
    empty = read()
    for split in ("train", "test"):
        folder.change(split, lambda table: table.assign(gas=word))

    assert read().absent == ("gas",)
    assert read().sha256 == empty.sha256


@pytest.mark.parametrize(
    ("sent", "gear"),
    [
        *((name, "drive") for name in ("drive", "sport", "low", "brake", "eco", "manumatic", "D", "Drive")),
        *((name, "park") for name in ("park", "P")),
        *((name, "neutral") for name in ("neutral", "N")),
        *((name, "reverse") for name in ("reverse", "R", "REVERSE ")),
        *((name, "unknown") for name in ("unknown", "Unknown")),
    ],
)
def test_gears_of_other_cars_are_read_as_documented(read, folder, sent, gear):
    folder.set("train", "b_20", "gearShifter", sent)
    data = read()
    assert data.train.gear[data.train.ids.tolist().index("b_20")] == gear


def test_an_unknown_gear_is_not_an_empty_cell(read, folder):
    for split in ("train", "test"):
        folder.change(split, lambda table: table.assign(gearShifter="unknown"))
    assert read().absent == ()
    empty_column("gearShifter")(folder)
    assert read().absent == ("gearShifter",)


def test_drives_with_every_sensor_have_none_absent(read):
    assert read().absent == ()


@pytest.mark.parametrize("name", [name for name in (*CAN_SIGNALS, "gearShifter") if name != "vEgo"])
@pytest.mark.parametrize("absent", [drop_column, empty_column], ids=["missing column", "empty column"])
def test_a_column_that_is_missing_or_wholly_empty_is_an_absent_sensor(read, folder, name, absent):
    absent(name)(folder)
    data = read()

    assert data.absent == (name,)
    assert name not in data.train.signals
    assert (data.train.gear is None) == (data.test.gear is None) == (name == "gearShifter")


def test_a_missing_and_an_empty_column_are_the_same_content(read, folder):
    empty_column("gas")(folder)
    empty_column("gearShifter")(folder)
    empty = read().sha256
    drop_column("gas")(folder)
    drop_column("gearShifter")(folder)
    assert read().sha256 == empty


def test_a_sensor_missing_in_one_split_and_empty_in_the_other_is_absent(read, folder):
    folder.change("train", lambda table: table.drop(columns="gas"))
    folder.change("test", lambda table: table.assign(gas=""))
    assert read().absent == ("gas",)


def test_drives_without_the_folder_have_no_traffic_lights(read, folder):
    drop_lights(folder)
    data = read()

    assert data.absent == ("traffic_lights",)
    assert data.train.traffic_lights is None
    assert data.test.traffic_lights is None


def test_absent_sensors_are_listed_in_the_order_of_the_schema(read, folder):
    for name in ("gearShifter", "leftBlinker", "aEgo"):
        drop_column(name)(folder)
    drop_lights(folder)
    assert read().absent == ("aEgo", "leftBlinker", "gearShifter", "traffic_lights")


# --- What is refused


def remove(name):
    return lambda folder: (folder.path / name).unlink()


def drop_in(split, *names):
    return lambda folder: folder.change(split, lambda table: table.drop(columns=list(names)))


def keep_no_row(folder):
    folder.change("test", lambda table: table[:0])


def repeat_a_row(split):
    return lambda folder: folder.change(split, lambda table: pd.concat([table, table[-1:]]))


def put_a_training_scene_into_test(folder):
    folder.change("test", lambda table: table.assign(ID=table["ID"].replace("d_20", "b_320")))


def remove_lights(*ids):
    def change(folder):
        for sample_id in ids:
            folder.lights(sample_id).unlink()

    return change


def write_lights(text):
    return lambda folder: folder.lights("c_20").write_text(text)


def empty_in_test(name):
    return lambda folder: folder.change("test", lambda table: table.assign(**{name: ""}))


def make_holes_everywhere_but_one(folder):
    folder.change("train", lambda table: table.assign(gas=["0.5", "", "NaN", ""]))


BROKEN = [
    pytest.param(remove("train_features.csv"), r"train_features\.csv: expected this file", id="no train table"),
    pytest.param(remove("test_features.csv"), r"test_features\.csv: expected this file", id="no test table"),
    pytest.param(drop_in("test", "ID"), r"test_features\.csv: expected the columns ID, found vEgo", id="no IDs"),
    pytest.param(drop_column("vEgo"), r"_features\.csv: expected the columns vEgo, found ID", id="no speed"),
    pytest.param(
        drop_in("train", "y_1", "z_5"), r"train_features\.csv: expected the columns y_1, z_5", id="missing targets"
    ),
    pytest.param(keep_no_row, r"test_features\.csv: expected at least one sample", id="no test sample"),
    pytest.param(
        repeat_a_row("train"), r"train_features\.csv: .* once, found repeated: a_220: ", id="repeated train ID"
    ),
    pytest.param(repeat_a_row("test"), r"test_features\.csv: .* once, found repeated: c_20: ", id="repeated test ID"),
    pytest.param(set_value("train", "a_20", "ID", "a_020"), "found 'a_020'", id="ID of another form"),
    pytest.param(set_value("test", "d_20", "ID", "../d_20"), "found '../d_20'", id="ID that leaves the folder"),
    pytest.param(put_a_training_scene_into_test, "found 1 in both: b: ", id="scene in both splits"),
    pytest.param(
        set_value("train", "a_120", "aEgo", ""),
        r"train_features\.csv: expected a value of aEgo in every row, found holes at a_120: ",
        id="hole",
    ),
    pytest.param(
        make_holes_everywhere_but_one,
        r"train_features\.csv: .* of gas .* found holes at a_120, a_20, a_220: ",
        id="one value",
    ),
    pytest.param(
        empty_in_test("gas"), r"test_features\.csv: .* of gas .* found holes at d_20, c_120, c_20: ", id="empty in test"
    ),
    pytest.param(
        drop_in("test", "gas"),
        r"test_features\.csv: expected the column gas, which the other split has",
        id="missing in test",
    ),
    pytest.param(
        set_value("test", "c_20", "gearShifter", ""),
        r"test_features\.csv: .* of gearShifter .* found holes at c_20: ",
        id="hole in the gear",
    ),
    pytest.param(
        set_value("train", "a_20", "vEgo", "fast"),
        r"train_features\.csv: expected a finite number within .* in vEgo, found a_20 = 'fast': ",
        id="text for a number",
    ),
    pytest.param(
        set_value("train", "a_20", "gas", "inf"),
        r"train_features\.csv: expected a finite number within .* in gas, found a_20 = 'inf': ",
        id="infinite signal",
    ),
    pytest.param(
        set_value("test", "c_20", "brakePressed", "maybe"),
        r"test_features\.csv: expected true or false in brakePressed, found c_20 = 'maybe': ",
        id="neither true nor false",
    ),
    pytest.param(
        set_value("test", "c_20", "gasPressed", "0.5"),
        "true or false in gasPressed, found c_20 = '0.5': ",
        id="half true",
    ),
    pytest.param(
        set_value("train", "b_20", "x_5", ""),
        r"train_features\.csv: expected a finite number within .* in x_5, found b_20 = '': ",
        id="missing target",
    ),
    pytest.param(
        set_value("train", "b_20", "z_0", "nan"),
        r"train_features\.csv: expected a finite number within .* in z_0, found b_20 = 'nan': ",
        id="target that is no number",
    ),
    pytest.param(set_value("train", "b_20", "y_2", "-inf"), "in y_2, found b_20 = '-inf': ", id="infinite target"),
    pytest.param(
        set_value("train", "b_20", "gearShifter", "sixth"),
        r"train_features\.csv: expected one of drive, .* in gearShifter, found b_20 = 'sixth': rename them",
        id="unknown gear",
    ),
    pytest.param(
        remove_lights("c_120", "a_220"),
        r"traffic_lights: expected a file for every sample, missing: (c_120, a_220|a_220, c_120): ",
        id="missing lights",
    ),
    *[
        pytest.param(write_lights(text), r"traffic_lights/c_20\.json: expected a JSON list", id=f"lights {name}")
        for name, text in {
            "cut": '[{"class": "red"',
            "null": "null",
            "without class": '[{"bbox": [1, 2, 3, 4]}]',
            "without box": '[{"class": "red"}]',
            "with three edges": '[{"class": "red", "bbox": [1, 2, 3]}]',
            "with text for an edge": '[{"class": "red", "bbox": [1, 2, 3, "far"]}]',
            "in another shape": '{"class": "red", "bbox": [1, 2, 3, 4]}',
        }.items()
    ],
    pytest.param(
        write_lights('[{"class": "red", "bbox": [1, 2, 3, NaN]}]'),
        r"traffic_lights/c_20\.json: expected finite boxes",
        id="light without an edge",
    ),
    pytest.param(
        lambda folder: folder.frame("c_20").unlink(), r"images: .* missing: c_20/image_t\.png: ", id="missing frame"
    ),
    pytest.param(
        lambda folder: folder.frame("c_20").write_bytes(b"no"),
        r"images/c_20/image_t\.png: expected a whole PNG",
        id="broken frame",
    ),
    pytest.param(
        lambda folder: (folder.path / "camera.json").write_text("{}"), r"camera\.json: expected", id="broken camera"
    ),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN)
def test_a_folder_that_breaks_the_contract_is_refused_naming_file_and_samples(read, folder, damage, message):
    damage(folder)
    with pytest.raises(ValueError, match=message):
        read()


def test_a_folder_that_is_not_there_is_refused_by_name(tmp_path, tiny_cache):
    with pytest.raises(ValueError, match=r"nowhere: expected a dataset folder, found none"):
        Dataset.open(str(tmp_path / "nowhere"), tiny_cache)


def test_unknown_classes_of_lights_are_counted_as_other_and_named_once(read, folder):
    for sample_id, name in (("a_20", "purple"), ("b_20", "blue"), ("d_20", "blue")):
        folder.lights(sample_id).write_text(json.dumps([{"class": name, "bbox": [1, 2, 3, 4]}] * 2))

    with pytest.warns(UserWarning) as said:
        data = read()

    assert [str(warning.message).split(": ", 1)[1] for warning in said] == [
        "unknown classes are counted as other: blue, purple"
    ]
    assert str(folder.path / "traffic_lights") in str(said[0].message)
    assert data.train.traffic_lights["class"].tolist() == ["other"] * 4
    assert data.test.traffic_lights["class"].tolist() == ["other"] * 2


def test_known_classes_of_lights_are_read_without_a_word(read, folder):
    names = ["green", "red", "yellow", "empty", "straight", "left", "right", "other"]
    folder.lights("a_20").write_text(json.dumps([{"class": name, "bbox": [1, 2, 3, 4]} for name in names]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read().train.traffic_lights["class"].tolist() == names


def state_of(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in [folder, *folder.rglob("*")]}


def test_reading_writes_nothing_into_the_folder(read, folder):
    before = state_of(folder.path)
    for verify in (False, True):
        read(verify=verify)
    assert state_of(folder.path) == before


def test_the_demo_drives_are_made_once_and_anew_when_the_simulator_changes(monkeypatch, tiny_cache):
    made = []

    def write_folder(path, plan, workers):
        made.append(plan)
        path.mkdir()

    monkeypatch.setattr(simulate, "write_folder", write_folder)
    first, again = (demo_folder(tiny_cache) for _ in range(2))
    monkeypatch.setattr(simulate, "source_sha256", lambda: "0" * 64)
    other = demo_folder(tiny_cache)

    assert first == again != other
    assert made == [simulate.DEMO] * 2


def test_drives_without_speed_are_refused(read, folder):
    for split in ("train", "test"):
        folder.change(split, lambda table: table.assign(vEgo=""))

    with pytest.raises(ValueError, match="expected values of vEgo, found an empty column"):
        read()


@pytest.mark.parametrize("content", [b"{", b"", b"\xff"], ids=["half", "empty", "not UTF-8"])
def test_a_broken_camera_file_is_refused_by_name(read, folder, content):
    (folder.path / "camera.json").write_bytes(content)

    with pytest.raises(ValueError, match=r"camera\.json: expected JSON"):
        read()


def test_an_id_of_another_form_is_refused_naming_the_file(read, folder):
    folder.change("test", lambda table: table.assign(ID=["c_020", *table["ID"][1:]]))

    with pytest.raises(ValueError, match=r"test_features.csv: expected IDs like .* found 'c_020': "):
        read()


def test_a_light_file_that_is_no_text_is_refused_by_name(read, folder):
    folder.lights("a_20").write_bytes(b"\xff\xfe")

    with pytest.raises(ValueError, match=r"a_20\.json: expected a JSON list"):
        read()
