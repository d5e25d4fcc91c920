"""A request gives the same samples as files, with rows in any order; the answer has the same order."""

import base64
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from atma18.bundle.servable import Sensors
from atma18.schema import CAN_SIGNALS, FLAG_SIGNALS, FRAME_FILES, TARGETS
from atma18.serving import request_rows

ALL = Sensors(CAN_SIGNALS, gear=True, lights=True)


@pytest.fixture(scope="module")
def request_of(tiny_folder):
    """What a client would send for these samples: the row of the table and the bytes of the files."""
    table = pd.concat([pd.read_csv(tiny_folder / f"{split}_features.csv") for split in ("train", "test")])
    table = table.drop(columns=list(TARGETS)).set_index("ID")

    def build(ids):
        rows = table.loc[list(ids)].reset_index()
        rows["traffic_lights"] = [(tiny_folder / "traffic_lights" / f"{i}.json").read_text() for i in ids]
        for name in FRAME_FILES:
            frames = [(tiny_folder / "images" / i / name).read_bytes() for i in ids]
            rows[name.removesuffix(".png")] = pd.Series(frames, dtype=object)
        return rows

    return build


def assert_same(found, expected):
    np.testing.assert_array_equal(found.ids, expected.ids)
    pd.testing.assert_frame_equal(found.signals, expected.signals, check_exact=True)
    np.testing.assert_array_equal(found.gear, expected.gear)
    pd.testing.assert_frame_equal(
        found.traffic_lights.reset_index(drop=True), expected.traffic_lights.reset_index(drop=True), check_exact=True
    )
    np.testing.assert_array_equal(found.frames[:], expected.frames[:])


def reversed_rows(table):
    return table[::-1]


def shuffled_rows(table):
    return table.sample(frac=1, random_state=5)


def order_as_text(table):
    return table.sort_values("ID")


def shuffled_columns(table):
    return table.sample(frac=1, axis=1, random_state=5)


def more_columns(table):
    return table.assign(weather="rain", x_0=1.0)


@pytest.mark.parametrize(
    "change",
    [lambda table: table, reversed_rows, shuffled_rows, order_as_text, shuffled_columns, more_columns],
    ids=["as filed", "rows reversed", "rows shuffled", "order as text", "columns shuffled", "more columns"],
)
def test_a_request_is_read_like_the_dataset_folder(tiny, request_of, change):
    request = change(request_of(tiny.test.ids))
    assert_same(request_rows.parse(request, ALL), tiny.test)


def test_every_scene_is_read_alone_as_with_all_others(tiny, request_of):
    for scene in np.unique(tiny.train.scenes):
        rows = np.flatnonzero(tiny.train.scenes == scene)
        request = request_of(tiny.train.ids[rows][::-1])
        assert_same(request_rows.parse(request, Sensors.of(tiny.train)), tiny.train.take(rows))


def test_a_single_sample_is_a_request(tiny, request_of):
    assert_same(request_rows.parse(request_of(tiny.test.ids[3:4]), ALL), tiny.test.take(np.array([3])))


def test_each_sample_keeps_its_own_gear(tiny, request_of):
    ids = tiny.test.ids[:4]
    request = request_of(ids).assign(gearShifter=["drive", "park", "neutral", "reverse"])

    samples = request_rows.parse(request.iloc[[3, 1, 0, 2]], ALL)

    assert samples.ids.tolist() == ids.tolist()
    assert samples.gear.tolist() == ["drive", "park", "neutral", "reverse"]


def test_reading_a_request_does_not_change_it(tiny, request_of):
    request = shuffled_rows(request_of(tiny.test.ids))
    before = request.copy(deep=True)
    request_rows.parse(request, ALL)
    pd.testing.assert_frame_equal(request, before)


def test_the_columns_of_a_request_are_those_of_the_sensors():
    assert request_rows.columns(ALL) == [
        *("ID", "vEgo", "aEgo", "steeringAngleDeg", "steeringTorque", "brake", "gas"),
        *("brakePressed", "gasPressed", "leftBlinker", "rightBlinker", "gearShifter", "traffic_lights"),
        *("image_t", "image_t-0.5", "image_t-1.0"),
    ]
    few = Sensors(("vEgo", "gas"), gear=False, lights=False)
    assert request_rows.columns(few) == ["ID", "vEgo", "gas", "image_t", "image_t-0.5", "image_t-1.0"]


def test_sensors_that_the_model_does_not_have_are_neither_needed_nor_read(tiny, request_of):
    request = request_of(tiny.test.ids[:2]).drop(columns=["aEgo", "gearShifter"])
    request["traffic_lights"] = "not even JSON"

    samples = request_rows.parse(request, Sensors(("vEgo", "gas"), gear=False, lights=False))

    assert list(samples.signals) == ["vEgo", "gas"]
    assert samples.gear is None
    assert samples.traffic_lights is None


def test_lights_are_read_with_unknown_classes_as_other(tiny, request_of):
    request = request_of(tiny.test.ids[:1])
    request["traffic_lights"] = json.dumps([{"class": c, "bbox": [1, 2.5, 3, 4]} for c in ("purple", "red")])

    lights = request_rows.parse(request, ALL).traffic_lights

    assert lights.to_numpy().tolist() == [[tiny.test.ids[0], c, 1, 2.5, 3, 4] for c in ("other", "red")]


def as_types_of_a_csv_file(table):
    return table.astype(dict.fromkeys(FLAG_SIGNALS, "int64"))


def as_a_spreadsheet_writes(table):
    return table.assign(**{name: [str(flag).upper() for flag in table[name]] for name in FLAG_SIGNALS})


def as_whole_numbers_of_text(table):
    return table.assign(**{name: [f"{int(flag)}.0" for flag in table[name]] for name in FLAG_SIGNALS})


def as_base64(table):
    names = ["image_t", "image_t-0.5", "image_t-1.0"]
    return table.assign(**{n: [base64.encodebytes(png).decode() for png in table[n]] for n in names})


def as_objects(table):
    return table.astype(object)


def as_categories(table):
    return table.astype({"gearShifter": "category", **dict.fromkeys(FLAG_SIGNALS, "category")})


def as_numbers_of_text(table):
    return table.assign(vEgo=[repr(speed) for speed in table["vEgo"]])


@pytest.mark.parametrize(
    "change",
    [
        *(as_types_of_a_csv_file, as_a_spreadsheet_writes, as_whole_numbers_of_text, as_base64, as_objects),
        *(as_categories, as_numbers_of_text),
    ],
)
def test_a_value_means_the_same_in_every_type(tiny, request_of, change):
    request = request_of(tiny.test.ids)
    assert request[list(FLAG_SIGNALS)].nunique().max() == 2
    assert_same(request_rows.parse(change(request), ALL), tiny.test)


def test_whole_numbers_are_signals(tiny, request_of):
    request = request_of(tiny.test.ids).assign(vEgo=12)
    assert request["vEgo"].dtype == np.int64
    assert request_rows.parse(request, ALL).signals["vEgo"].tolist() == [12.0] * len(request)


def drop(*names):
    return lambda table: table.drop(columns=list(names))


def put(column, value):
    """Put a value into the second row."""

    def change(table):
        table = table.astype({column: object})
        table.iat[1, table.columns.get_loc(column)] = value
        return table

    return change


@pytest.fixture(scope="module")
def wide_png(tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "wide.png"
    Image.fromarray(np.zeros((64, 256, 3), np.uint8)).save(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(drop("vEgo", "image_t-0.5"), "missing: vEgo, image_t-0.5$", id="missing columns"),
        pytest.param(drop("ID"), "missing: ID$", id="no IDs"),
        pytest.param(drop("traffic_lights", "gearShifter"), "missing: gearShifter, traffic_lights$", id="no lights"),
        pytest.param(lambda table: table[:0], "expected at least one row .* repeated: none$", id="no row"),
        pytest.param(lambda table: pd.concat([table, table[1:2]]), "each ID once, repeated: {id}$", id="repeated ID"),
        pytest.param(put("ID", "../a_20"), "expected an ID like .* found '../a_20'", id="ID of another form"),
        pytest.param(put("gas", float("nan")), "expected a finite number .* in gas, found {id} = nan$", id="no signal"),
        pytest.param(
            put("aEgo", float("-inf")), "expected a finite number .* in aEgo, found {id} = -inf$", id="endless signal"
        ),
        pytest.param(put("image_t-0.5", b"no"), "^{id}/image_t-0.5: expected a whole PNG image", id="not an image"),
        pytest.param(put("image_t", b""), "^{id}/image_t: expected a whole PNG image", id="no bytes"),
        pytest.param(
            put("image_t", "text?"),
            "^{id}/image_t: expected the base64 text of a PNG file, found 'text\\?'$",
            id="no base64",
        ),
        pytest.param(put("gas", "much"), "expected a finite number .* in gas, found {id} = 'much'$", id="a word"),
        pytest.param(
            put("gearShifter", "sixth"),
            "expected one of drive, .* in gearShifter, found {id} = 'sixth'$",
            id="another gear",
        ),
        pytest.param(put("traffic_lights", None), "^{id}: traffic_lights: expected a JSON list", id="no JSON"),
        pytest.param(put("traffic_lights", "{}"), "^{id}: traffic_lights: expected a JSON list", id="no list"),
        pytest.param(put("traffic_lights", "[{"), "^{id}: traffic_lights: expected a JSON list", id="broken JSON"),
    ],
)
def test_a_broken_request_is_refused_naming_column_and_sample(tiny, request_of, change, message):
    request = request_of(tiny.test.ids[:3])
    with pytest.raises(ValueError, match=message.format(id=tiny.test.ids[1])):
        request_rows.parse(change(request), ALL)


def test_a_frame_of_another_size_is_refused_by_name(tiny, request_of, wide_png):
    request = put("image_t-1.0", wide_png)(request_of(tiny.test.ids[:3]))
    with pytest.raises(ValueError, match=f"^{tiny.test.ids[1]}/image_t-1.0: .* found 256 x 64"):
        request_rows.parse(request, ALL)


def test_the_answer_stands_in_the_order_of_the_request(tiny, request_of):
    ids = tiny.test.ids[:4]
    request = request_of(ids[[2, 0, 3, 1]])
    predicted_m = np.arange(4)[:, None] * 100.0 + np.arange(18)  # row i of the samples, in canonical order

    answered = request_rows.answer(
        request, request_rows.parse(request, ALL), predicted_m, np.array(["", "vEgo", "gas", "aEgo, gas"])
    )

    assert list(answered) == ["ID", *TARGETS, "outside_training_range"]
    assert answered["outside_training_range"].tolist() == ["gas", "", "aEgo, gas", "vEgo"]
    assert answered["ID"].tolist() == ids[[2, 0, 3, 1]].tolist()
    assert answered["x_0"].tolist() == [200, 0, 300, 100]
    assert answered.loc[3, list(TARGETS)].tolist() == list(range(100, 118))


def test_a_column_of_the_answer_fits_into_the_table_that_was_asked(tiny, request_of):
    asked = request_of(tiny.test.ids)
    asked = asked[asked.index % 2 == 0].sample(frac=1, random_state=2)
    samples = request_rows.parse(asked, ALL)
    x_m = {sample_id: 10.0 * row for row, sample_id in enumerate(samples.ids.tolist())}

    predicted_m = np.arange(len(asked))[:, None] * np.full(18, 10.0)
    asked["x_5"] = request_rows.answer(asked, samples, predicted_m, np.full(len(asked), ""))["x_5"]

    assert len(asked) > 2
    assert asked.index.tolist() != sorted(asked.index)
    assert asked["x_5"].tolist() == [x_m[sample_id] for sample_id in asked["ID"]]


@pytest.mark.parametrize(
    "index",
    [
        pytest.param(lambda table: pd.Index(table["ID"], name="ID"), id="IDs"),
        pytest.param(lambda table: pd.Index([7] * len(table)), id="equal labels"),
        pytest.param(lambda table: pd.MultiIndex.from_product([["a"], range(len(table))]), id="two levels"),
    ],
)
def test_the_answer_has_the_index_of_the_request_whatever_it_is(tiny, request_of, index):
    request = request_of(tiny.test.ids[[2, 0, 1]])
    request.index = index(request)
    samples = request_rows.parse(request, ALL)

    answered = request_rows.answer(request, samples, np.arange(3)[:, None] * np.ones(18), np.full(3, ""))

    pd.testing.assert_index_equal(answered.index, request.index)
    assert answered["x_0"].tolist() == [2, 0, 1]


def test_an_answer_to_another_request_is_refused_by_name(tiny, request_of):
    samples = request_rows.parse(request_of(tiny.test.ids[:2]), ALL)
    with pytest.raises(ValueError, match=f"predictions: .*missing: {tiny.test.ids[2]}; extra: {tiny.test.ids[0]}$"):
        request_rows.answer(request_of(tiny.test.ids[1:3]), samples, np.zeros((2, 18)), np.full(2, ""))
