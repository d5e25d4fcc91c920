"""Traffic lights are read correctly; a file that is no list of them is refused with a message that names it."""

import pytest

from atma18.data.lights import light_table, parse_lights, read_lights

RED = '[{"class": "red", "bbox": [1, 2, 3, 4.5]}]'


@pytest.mark.parametrize("text", [RED, RED.encode()], ids=["text", "bytes"])
def test_a_light_has_a_class_and_a_box(text):
    assert parse_lights(text, "here") == [("red", (1.0, 2.0, 3.0, 4.5))]


@pytest.mark.parametrize(
    "text",
    [
        "[{}]",
        "3",
        '["red"]',
        "[null]",
        "",
        "[" * 60_000,
        RED.replace('"red"', "null"),
        RED.replace('"red"', "7"),
        RED.replace("4.5", "null"),
        RED.replace(", 4.5", ""),
    ],
)
def test_text_that_is_no_list_of_lights_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r'^request 7: expected a JSON list of {"class", "bbox"}, found '):
        parse_lights(text, "request 7")


@pytest.mark.parametrize("edge", ["NaN", "Infinity", "1e999"])
def test_a_box_without_an_edge_is_refused(edge):
    with pytest.raises(ValueError, match=r"^here: expected finite boxes, found "):
        parse_lights(RED.replace("4.5", edge), "here")


def test_all_missing_and_all_malformed_files_are_looked_for_before_the_first_are_named(tmp_path):
    for name in ("a_20", "b_20", "c_20", "d_20", "e_20"):
        (tmp_path / f"{name}.json").write_text("{")

    with pytest.raises(ValueError, match=r"expected a file for every sample, missing: x_20, y_20: add them"):
        read_lights(tmp_path, ["a_20", "x_20", "y_20"])
    with pytest.raises(ValueError, match=r"a_20\.json: .*c_20\.json: .* and 2 more: mend these files$"):
        read_lights(tmp_path, ["a_20", "b_20", "c_20", "d_20", "e_20"])


def test_a_table_has_a_row_per_light_and_other_for_what_it_does_not_know():
    table = light_table({"b_20": [("red", (1, 2, 3, 4)), ("blue", (5, 6, 7, 8))], "a_20": []})

    assert table.columns.tolist() == ["ID", "class", "x1_px", "y1_px", "x2_px", "y2_px"]
    assert table.to_numpy().tolist() == [["b_20", "red", 1, 2, 3, 4], ["b_20", "other", 5, 6, 7, 8]]
