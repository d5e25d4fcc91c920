"""Hostile dataset folders are refused with one line, in bounded memory, and reveal no other file."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from atma18.cache import Cache
from atma18.data import frames, lights
from atma18.data.dataset import Dataset
from atma18.data.frames import decode
from atma18.data.lights import parse_lights
from atma18.geometry.camera import Camera
from atma18.schema import one_line, shown
from atma18.storage import csv_tables, strict_json
from tests.fuzzing import damaged, helpful, often, refusal
from tests.watching import outside, watched

# --- Texts in messages


@often(300)
@given(st.text() | st.sampled_from(["a" * 10_000_000, "\n" * 9999, "\x1b[2J", "\udcff", "\u2028"]))
def test_a_text_in_a_message_stays_on_its_line_and_is_cut(text):
    for said in (shown(text), one_line(text), shown([text])):
        assert said.isprintable()
    assert len(shown(text)) < 640
    assert len(one_line(text, 50)) <= 50 * len("\\U000e0001") + 1


def test_a_short_text_is_quoted_whole_and_a_long_one_says_how_long_it_is():
    assert shown("a'b\n") == '"a\'b\\n"'
    assert shown(10**5000) == "a strange int"
    assert shown("x" * 1000) == f"'{'x' * 60}'… (1,000 characters)"


# --- PNG

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width=128, height=64, bits=8, colours=2, interlaced=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlaced))


PIXELS = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
RAW = b"".join(b"\0" + row.tobytes() for row in PIXELS)
IDAT, IEND = chunk(b"IDAT", zlib.compress(RAW)), chunk(b"IEND", b"")
WHOLE = SIGNATURE + header() + IDAT + IEND
ZEROS = zlib.compress(bytes(2**27))  # 128 kB for 128 MB


def saved(mode, **options):
    stream = BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(stream, "PNG", **options)
    return stream.getvalue()


def animated():
    stream = BytesIO()
    other = [Image.fromarray(PIXELS[::-1]), Image.fromarray(PIXELS[:, ::-1])]
    Image.fromarray(PIXELS).save(stream, "PNG", save_all=True, append_images=other, duration=100)
    return stream.getvalue()


def in_parts(packed, length):
    return b"".join(chunk(b"IDAT", packed[i : i + length]) for i in range(0, len(packed), length))


def with_chunks(*chunks):
    return SIGNATURE + header() + b"".join(chunks) + IDAT + IEND


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(with_chunks(chunk(b"zTXt", b"bomb\0\0" + ZEROS)), id="text that unpacks to 128 MB"),
        pytest.param(with_chunks(chunk(b"iCCP", b"bomb\0\0" + ZEROS)), id="profile that unpacks to 128 MB"),
        pytest.param(with_chunks(chunk(b"iTXt", b"bomb\0\1\0\0\0" + ZEROS)), id="international text"),
        pytest.param(with_chunks(chunk(b"eXIf", b"II*\0" + b"\xff" * 99)), id="broken EXIF"),
        pytest.param(with_chunks(chunk(b"acTL", struct.pack(">II", 2**31, 0))), id="endless animation"),
        pytest.param(with_chunks(chunk(b"acTL", b"")), id="broken animation"),
        pytest.param(with_chunks(chunk(b"tRNS", b"\0")), id="broken transparency"),
        pytest.param(with_chunks(chunk(b"gAMA", struct.pack(">I", 1)), chunk(b"pHYs", b"")), id="gamma"),
        pytest.param(with_chunks(chunk(b"vpAg", bytes(200_000))), id="unknown part"),
        pytest.param(WHOLE + bytes(50_000), id="more behind the end"),
        pytest.param(SIGNATURE + header() + in_parts(zlib.compress(RAW), 7) + IEND, id="many parts"),
        pytest.param(animated(), id="animation"),
        pytest.param(SIGNATURE + header() + chunk(b"IDAT", zlib.compress(RAW + bytes(2**26))) + IEND, id="more pixels"),
    ],
)  # fmt: skip
def test_what_else_is_in_a_png_neither_changes_the_picture_nor_is_unpacked(content):
    np.testing.assert_array_equal(decode(content, "here"), PIXELS)


def test_a_palette_with_transparent_colours_is_read_without_a_warning():
    palette = Image.fromarray(PIXELS).quantize(16)
    stream = BytesIO()
    palette.save(stream, "PNG", transparency=bytes(range(16)))

    np.testing.assert_array_equal(decode(stream.getvalue(), "here"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(
            SIGNATURE + header(100_000, 100_000) + IDAT + IEND, "128 x 64 px, found 100000 x 100000", id="giant"
        ),
        pytest.param(
            SIGNATURE + header(2**31 - 1, 2**31 - 1) + IDAT + IEND, "found 2147483647 x 2147483647", id="largest"
        ),
        pytest.param(
            SIGNATURE + header(11_000, 11_000) + IDAT + IEND, "found 11000 x 11000", id="one that is warned of"
        ),
        pytest.param(SIGNATURE + header(0, 0) + IDAT + IEND, "found 0 x 0", id="empty"),
        pytest.param(SIGNATURE + header(bits=16) + IDAT + IEND, "8 bits per channel, found 16", id="16 bits"),
        pytest.param(
            SIGNATURE + header(colours=3) + IDAT + IEND,
            "whole PNG image, found something else (no palette)",
            id="palette",
        ),
        pytest.param(
            SIGNATURE + header() + IDAT + chunk(b"PLTE", bytes(3)) + IEND, "parts missing or out of order", id="order"
        ),
        pytest.param(SIGNATURE + header() + header(1, 1) + IDAT + IEND, "no header, or several", id="two headers"),
        pytest.param(SIGNATURE + header() + IEND, "parts missing", id="no pixels"),
        pytest.param(SIGNATURE + IEND, "no header", id="no header"),
        pytest.param(SIGNATURE + header() + IDAT, "cut short", id="no end"),
        pytest.param(WHOLE[:-6], "cut short", id="cut in the end"),
        pytest.param(SIGNATURE + struct.pack(">I", 2**32 - 1) + b"IHDR" + bytes(99), "cut short", id="endless header"),
        pytest.param(WHOLE.replace(b"IDAT", b"IDAt"), "cut short or changed", id="another kind"),
        pytest.param(SIGNATURE + header(bits=7) + IDAT + IEND, "whole PNG image, found something else", id="7 bits"),
        pytest.param(SIGNATURE + header(colours=5) + IDAT + IEND, "whole PNG image, found something", id="colours"),
        pytest.param(
            SIGNATURE + header() + chunk(b"IDAT", b"no zlib") + IEND, "whole PNG image, found something", id="no zlib"
        ),
        pytest.param(
            SIGNATURE + header() + chunk(b"IDAT", zlib.compress(RAW[:999])) + IEND,
            "whole PNG image, found something else",
            id="few pixels",
        ),
        pytest.param(with_chunks(chunk(b"vpAg", bytes(2**18))), "at most 262,144 bytes, found", id="large"),
    ],
)
def test_a_png_that_is_no_frame_is_refused(content, said):
    message = refusal(decode, content, "here")

    assert message is not None
    assert message.startswith("here: expected ")
    assert said in message


kinds = st.sampled_from([b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"zTXt", b"acTL", b"fdAT", b"eXIf"])
parts = st.sampled_from(
    [header(), header(bits=1, colours=0), header(colours=3), header(interlaced=1), header(colours=6), IDAT, IEND]
    + [chunk(b"PLTE", bytes(n)) for n in (0, 1, 3, 768, 771, 9999)]
) | st.builds(chunk, kinds | st.binary(min_size=4, max_size=4), st.binary(max_size=40) | st.just(zlib.compress(RAW)))


@often(600)
@given(damaged(WHOLE) | damaged(saved("P")) | damaged(saved("LA")) | st.lists(parts, max_size=6).map(b"".join))
def test_a_png_is_a_frame_or_is_refused(content):
    for whole in (content, SIGNATURE + header() + content, SIGNATURE + content + IEND):
        refusal(lambda png: check_frame(decode(png, "here")), whole)


def check_frame(frame):
    assert (frame.shape, frame.dtype) == ((64, 128, 3), np.uint8)


@often(300)
@given(
    st.sampled_from([1, 2, 4, 8, 16]) | st.integers(0, 255),
    st.sampled_from([0, 2, 3, 4, 6]) | st.integers(0, 255),
    st.sampled_from([0, 1]) | st.integers(0, 255),
    st.binary(max_size=60),
)
def test_whatever_a_header_says_a_png_is_a_frame_or_is_refused(bits, colours, interlaced, palette):
    pixels = chunk(b"IDAT", zlib.compress(bytes(50_000)))
    for plte in (b"", chunk(b"PLTE", palette)):
        content = SIGNATURE + header(bits=bits, colours=colours, interlaced=interlaced) + plte + pixels + IEND
        refusal(lambda png: check_frame(decode(png, "here")), content)


# --- JSON

LIGHT = {"class": "red", "bbox": [1, 2, 3, 4]}
DEEP = '{"a":' * 900 + "1" + "}" * 900


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[" * 60_000, "expected a JSON list", id="deep"),
        pytest.param(DEEP, "expected a JSON list", id="deep object"),
        pytest.param("[" * 30 + "]" * 30, "expected a JSON list", id="30 levels"),
        pytest.param('{"class": "red", "bbox": [1, 2, 3, 4]}', "expected a JSON list", id="no list"),
        pytest.param('[{"class": "red", "class": "green", "bbox": [1, 2, 3, 4]}]', "expected a JSON list", id="twice"),
        pytest.param(json.dumps([LIGHT | {"bbox": [1, 2, 3, "4"]}]), "expected a JSON list", id="number as text"),
        pytest.param(json.dumps([LIGHT | {"bbox": [1, 2, 3, True]}]), "expected a JSON list", id="truth as a number"),
        pytest.param(json.dumps([LIGHT | {"bbox": "1234"}]), "expected a JSON list", id="text for a box"),
        pytest.param(json.dumps([LIGHT | {"bbox": [1, 2, 3, 10**400]}]), "expected a JSON list", id="huge"),
        pytest.param(f'[{{"class": "red", "bbox": [1, 2, 3, {"9" * 5000}]}}]', "expected a JSON list", id="endless"),
        pytest.param(json.dumps([LIGHT | {"bbox": [1, 2, 3, 1e300]}]), "boxes within ±1e+06 px", id="far away"),
        pytest.param(json.dumps([LIGHT | {"bbox": [1, 2, 3, float("nan")]}]), "finite boxes", id="NaN"),
        pytest.param(json.dumps([LIGHT] * 101), "at most 100 traffic lights in a frame, found 101", id="many"),
        pytest.param(json.dumps([LIGHT] * 10**6), "at most 65,536 bytes", id="a million"),
        pytest.param(json.dumps([LIGHT]).encode("utf-16"), "expected a JSON list", id="UTF-16"),
        pytest.param(b'[{"class": "\xff", "bbox": [1, 2, 3, 4]}]', "expected a JSON list", id="no UTF-8"),
        pytest.param(b"\xef\xbb\xbf[]", "expected a JSON list", id="BOM"),
        pytest.param("\x1b[2J\n\0", r"'\x1b[2J\n\x00'", id="control characters"),
        pytest.param(None, "expected a JSON list", id="nothing"),
        pytest.param(3.5, "expected a JSON list", id="a number"),
        pytest.param(["[]"], "expected a JSON list", id="a list"),
    ],
)
def test_traffic_lights_that_are_none_are_refused(text, said):
    assert said in refusal(parse_lights, text, "here")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["class", "bbox", "a"]), inner),
    max_leaves=12,
)


@often(600)
@given(json_values.map(json.dumps) | damaged(json.dumps([LIGHT] * 2).encode()) | st.text() | st.binary())
def test_whatever_json_is_there_it_is_traffic_lights_or_is_refused(text):
    refusal(lambda: lights.light_table({"a_20": parse_lights(text, "here")}))


@often(200)
@given(st.lists(st.tuples(st.text(max_size=9), st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4)), max_size=9))
def test_lights_that_can_be_are_read_as_they_are(boxes):
    text = json.dumps([{"class": name, "bbox": box} for name, box in boxes])

    assert parse_lights(text, "here") == [(name, tuple(box)) for name, box in boxes]


@often(200)
@given(json_values)
def test_json_of_few_levels_is_read_as_python_reads_it(value):
    text = json.dumps(value)
    assert json.dumps(strict_json.loads(text)) == json.dumps(strict_json.loads(text.encode())) == text


CAMERA = {
    "intrinsics_px": [[200, 0, 64], [0, 200, 32], [0, 0, 1]],
    "image_size_px": [128, 64],
    "position_m": [0, 0, 1],
    "height_above_road_m": 1,
}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(json.dumps(CAMERA | {"a": [[]] * 30_000}), "at most 65,536 bytes", id="large"),
        pytest.param(DEEP, "at most 20 levels, found more", id="deep"),
        pytest.param("[" * 60_000, "at most 20 levels, found more", id="deeper"),
        pytest.param(json.dumps(CAMERA | {"position_m": "x" * 9999}), "position_m: expected finite", id="long text"),
        pytest.param(json.dumps(CAMERA | {"position_m": ["\n"] * 3}), r"['\n'", id="newline"),
        pytest.param(json.dumps(CAMERA | {"position_m": [10**400, 0, 1]}), "position_m: expected finite", id="huge"),
        pytest.param(json.dumps(CAMERA | {"position_m": [{}, [[]], None]}), "position_m: expected", id="mixed"),
        pytest.param(
            json.dumps(CAMERA)[:-1] + ', "position_m": [0, 0, 9]}', "a key of an object is repeated", id="twice"
        ),
    ],
)
def test_a_camera_that_is_none_is_refused(tmp_path, text, said):
    (tmp_path / "camera.json").write_text(text)

    assert said in refusal(Camera.read, tmp_path / "camera.json")


@often(200)
@given(st.sampled_from(sorted(CAMERA)), json_values | st.just("x" * 60_000), st.binary(max_size=30))
def test_whatever_a_camera_says_it_is_read_or_refused(tmp_path, key, value, other):
    for content in (json.dumps(CAMERA | {key: value}).encode(), other):
        (tmp_path / "camera.json").write_bytes(content)
        refusal(Camera.read, tmp_path / "camera.json")


# --- CSV


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "CSV table in UTF-8, found something else (no columns)", id="empty"),
        pytest.param(b"\n\n\n", "CSV table in UTF-8, found something else (no columns)", id="empty lines"),
        pytest.param(
            b",".join([b"a"] * 100_000), "found something else (100000 columns, more than 1000)", id="100,000 columns"
        ),
        pytest.param(b"a,a\n1,2", "each column once, found repeated: a:", id="twice"),
        pytest.param(
            b"a,b\n1,2\n3\n4,5,6",
            "found something else (2 columns, and other cells in row 2: 1, row 3: 3)",
            id="ragged",
        ),
        pytest.param(b"a,b\n1,\0", "found something else (a NUL)", id="NUL"),
        pytest.param(b'a,b\n1,"2\n3,4', "found something else (unexpected end of data)", id="quote not closed"),
        pytest.param(b'a,b\n1,"2"3\n', "found something else", id="quote inside"),
        pytest.param("a,b\n1,2".encode("utf-16"), "CSV table in UTF-8, found something else", id="UTF-16"),
        pytest.param(b"a,b\n1,\xff", "CSV table in UTF-8, found something else", id="Latin-1"),
        pytest.param(b"a,b\n1," + b"x" * 10**7, "found something else (field larger than", id="10 MB"),
        pytest.param(b"a,b\n1," + b"x" * 10**4, "at most 1000 characters, found longer ones in row 1", id="10 kB"),
        pytest.param(b"x" * 10**7, "found something else (field larger than", id="10 MB of a name"),
        pytest.param(b"a\x1b[2J\n,a\x1b[2J\n\n1,2", "found", id="control characters"),
    ],
)
def test_a_table_that_is_none_is_refused(content, said):
    assert said in (refusal(csv_tables.parse, content, "here") or "found nothing to refuse")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_table_is_read_whatever_ends_its_lines(mark, end):
    table = csv_tables.parse(mark + end.join([b"ID,b", b'a_20,"x,""y"', b"", b"b_20,"]), "here")

    assert table.to_dict("list") == {"ID": ["a_20", "b_20"], "b": ['x,"y', ""]}


@often(300)
@given(damaged(b'ID,vEgo,"gas"\na_20,1.5,0\nb_20,"2",1\n') | st.binary() | st.text().map(str.encode))
def test_whatever_a_table_says_it_is_read_whole_or_refused(content):
    def read():
        table = csv_tables.parse(content, "here")
        assert all(isinstance(cell, str) for cell in table.to_numpy().ravel().tolist())

    refusal(read)


@often(100)
@given(st.lists(st.lists(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\ufeff"), max_size=5),
                         min_size=2, max_size=2), max_size=5))  # fmt: skip
def test_a_table_is_read_as_it_was_written(rows):
    stream = StringIO(newline="")
    table = pd.DataFrame(rows, columns=["a", "b"], dtype=str)
    table.to_csv(stream, index=False, lineterminator="\n", quoting=1)

    assert csv_tables.parse(stream.getvalue().encode(), "here").to_numpy().tolist() == rows


# --- Folders


@pytest.fixture
def drives(tiny_folder, tmp_path):
    """A dataset folder that this test may break."""
    shutil.copytree(tiny_folder, tmp_path / "drives")
    return tmp_path / "drives"


def open_watched(folder, tmp_path):
    """Open a folder; return what it was refused with, None if it was read. Nothing else may be touched."""
    cache = Cache.open(tmp_path / "cache")
    with watched() as seen:
        said = refusal(Dataset.open, str(folder), cache)
    assert outside(seen, folder, tmp_path / "cache") == []
    return said


def first_id(folder):
    return pd.read_csv(folder / "train_features.csv", usecols=["ID"])["ID"][0]


def place_of(folder, name):
    return folder / name.format(id=first_id(folder))


PLACES = pytest.mark.parametrize(
    "name",
    [
        *("train_features.csv", "test_features.csv", "camera.json", "traffic_lights", "traffic_lights/{id}.json"),
        *("images", "images/{id}", "images/{id}/image_t-0.5.png"),
    ],
)


@PLACES
def test_a_link_that_leaves_the_folder_is_refused_by_name_and_shows_nothing(drives, tmp_path, name):
    place = place_of(drives, name)
    if name == "camera.json":
        place.write_text(json.dumps(CAMERA))
    elsewhere = tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)

    said = open_watched(drives, tmp_path)

    assert f"{place}: expected a file or folder inside {drives}, found a link to {elsewhere}: copy" in said


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/self/environ", "/dev/zero", "../secret"])
@PLACES
def test_a_strangers_file_is_never_quoted(drives, tmp_path, name, target):
    (tmp_path / "secret").write_text("a password")
    place = place_of(drives, name)
    if place.exists():
        place.rename(drives / "aside")
    place.symlink_to(target if target.startswith("/") else os.path.relpath(tmp_path / "secret", place.parent))

    said = open_watched(drives, tmp_path)

    assert "found a link to" in said
    assert "password" not in said
    assert "root:" not in said


def test_links_inside_the_folder_and_a_folder_that_is_a_link_are_read(drives, tmp_path, tiny):
    (drives / "kept").mkdir()
    for number, name in enumerate(("test_features.csv", "images/{id}", "traffic_lights/{id}.json", "images")):
        place = place_of(drives, name)
        place.rename(drives / "kept" / str(number))
        place.symlink_to(drives / "kept" / str(number))
    (tmp_path / "linked").symlink_to(drives)

    assert Dataset.open(str(tmp_path / "linked"), Cache.open(tmp_path / "cache")).sha256 == tiny.sha256


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
@PLACES
def test_something_that_is_no_file_is_refused_at_once(drives, tmp_path, name, make):
    place = place_of(drives, name)
    if place.exists():
        place.rename(drives / "aside")
    make(place)

    assert open_watched(drives, tmp_path) is not None


def test_a_link_to_itself_is_refused(drives, tmp_path):
    place = place_of(drives, "images/{id}/image_t.png")
    place.unlink()
    place.symlink_to(place)

    assert "missing: " in open_watched(drives, tmp_path)


@pytest.mark.parametrize(
    ("name", "size", "said"),
    [
        ("images/{id}/image_t.png", 2**40, "expected at most 262,144 bytes, found 1,099,511,627,776"),
        ("traffic_lights/{id}.json", 2**40, "expected at most 65,536 bytes"),
        ("camera.json", 2**40, "expected at most 65,536 bytes"),
        ("train_features.csv", 2**40, "expected at most 268,435,456 bytes"),
    ],
)
def test_a_file_of_a_terabyte_is_refused_unread(drives, tmp_path, name, size, said):
    with place_of(drives, name).open("ab") as file:
        try:
            os.truncate(file.fileno(), size)
        except OSError:
            pytest.skip("this file system has no files so large")

    assert said in open_watched(drives, tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        *("../../etc/passwd_20", "/etc/passwd_20", "a/b_20", "a\\b_20", ".._20", "a b_20", "x" * 900 + "_20"),
        *("'; DROP TABLE runs; --_20", "$(id)_20", "a_20\x7f", "a_20 ", "٣_20", "-rf_20", "a_1e3", "a\u202e_20"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_id_that_is_more_than_a_name_is_refused(drives, tmp_path, split, given):
    path = drives / f"{split}_features.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, "ID"] = given
    table.to_csv(path, index=False)

    assert f"{path}: expected IDs like <scene>_<decisecond>" in open_watched(drives, tmp_path)


@often(40)
@given(st.sampled_from(["ID", "vEgo", "gearShifter", "brakePressed", "x_0", "vEgo\n"]), st.data())
def test_whatever_a_cell_says_a_folder_is_read_or_refused(tiny_folder, tmp_path_factory, column, data):
    folder = tmp_path_factory.mktemp("cells")
    for name in ("images", "traffic_lights"):
        shutil.copytree(tiny_folder / name, folder / name, copy_function=os.link)
    table = pd.read_csv(tiny_folder / "train_features.csv", dtype=str, keep_default_na=False)
    shutil.copy(tiny_folder / "test_features.csv", folder)
    table = table.astype(object).rename(columns={"vEgo": column} if column == "vEgo\n" else {})
    text = data.draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.just("9" * 900))
    table.loc[0, column] = text
    table.to_csv(folder / "train_features.csv", index=False)

    refusal(Dataset.open, str(folder), Cache.open(folder.parent / "shared-cells-cache"))


# --- Files that change


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("change", ["touched", "rewritten", "removed", "linked"])
def test_a_frame_that_changes_while_it_is_read_is_noticed(drives, tmp_path, monkeypatch, change, verify):
    victim = place_of(drives, "images/{id}/image_t.png")
    other = place_of(drives, "images/{id}/image_t-0.5.png")
    (tmp_path / "elsewhere.png").write_bytes(other.read_bytes())
    once = []

    def changing(content, where):
        if not once and str(victim.parent) in where:
            once.append(where)
            if change == "touched":
                os.utime(victim, (1, 1))
            else:
                victim.unlink()
            if change == "rewritten":
                victim.write_bytes(other.read_bytes())
            if change == "linked":
                victim.symlink_to(tmp_path / "elsewhere.png")
        return decode(content, where)

    monkeypatch.setattr(frames, "decode", changing)

    said = refusal(Dataset.open, str(drives), Cache.open(tmp_path / "cache"), verify=verify)

    expected = {"removed": "missing: ", "linked": f"found a link to {tmp_path / 'elsewhere.png'}"}
    assert expected.get(change, "changed while they were read: run again") in said
    assert len(list((tmp_path / "cache").glob("frames/[!.]*"))) == 1  # those of the other split


# --- Memory

BOMBS = """
import struct, zlib
from atma18.storage import csv_tables
from atma18.data.frames import decode
from atma18.data.lights import parse_lights
from benchmarks.results import peak_gb

def chunk(kind, data):
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))

def png(width, height, *chunks):
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\\x89PNG\\r\\n\\x1a\\n" + ihdr + b"".join(chunks) + chunk(b"IEND", b"")

ready = peak_gb()
packer = zlib.compressobj(9)
zeros = b"".join(packer.compress(bytes(2**20)) for _ in range(200)) + packer.flush()  # 200 MB
idat = chunk(b"IDAT", zeros)
bombs = [
    lambda: decode(png(100_000, 100_000, idat), "x"),
    lambda: decode(png(128, 64, idat), "x"),
    lambda: decode(png(128, 64, chunk(b"zTXt", b"a\\0\\0" + zeros), chunk(b"iCCP", b"a\\0\\0" + zeros), idat), "x"),
    lambda: parse_lights("[" * 60_000, "x"),
    lambda: parse_lights('[{"class":"","bbox":[1,2,3,4]},' * 2000, "x"),
    lambda: csv_tables.parse(b"," * 10_000_000, "x"),
    lambda: csv_tables.parse(b'a\\n"' + b"x" * 10_000_000, "x"),
]
for bomb in bombs:
    try:
        bomb()
    except ValueError:
        pass
print(peak_gb() - ready)
"""


def test_bombs_take_little_memory():
    child = subprocess.run([sys.executable, "-W", "error", "-c", BOMBS], capture_output=True, text=True, check=True)

    assert child.stderr == ""
    assert float(child.stdout) < 0.2  # GB; the 10 MB of commas are the most of it


def test_a_message_helps():
    with pytest.raises(AssertionError):
        helpful("expected\nfound")
    assert re.match("expected", helpful("expected one, found two"))
