"""Digests are equal for equal content, and different for different content."""

import hashlib
import json
import struct
from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd
import pytest

from atma18.config import PRESETS
from atma18.schema import CAN_SIGNALS, FRAME_SHAPE, FrameRows, Samples
from atma18.storage.digests import (
    canonical_json,
    code_sha256,
    config_sha256,
    data_sha256,
    file_sha256,
    sha256_of_records,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param([[b"ab", b"c"]], [[b"a", b"bc"]], id="a letter moves to the next field"),
        pytest.param([[b"ab"]], [[b"a", b"b"]], id="a field is cut in two"),
        pytest.param([[b"", b"a"]], [[b"a", b""]], id="an empty field moves"),
        pytest.param([[b"a"]], [[b"a", b""]], id="an empty field more"),
        pytest.param([[]], [[b""]], id="one empty field and none"),
        pytest.param([[b"a", b"b"]], [[b"b", b"a"]], id="another order"),
        pytest.param([[b"a" * 8 + b"\x01" + b"\0" * 7 + b"b"]], [[b"a" * 8, b"b"]], id="a field that holds a length"),
    ],
)
def test_different_fields_have_different_digests(one, other):
    assert sha256_of_records(one) != sha256_of_records(other)


def test_records_are_digested_with_the_length_of_each_field_before_it():
    by_hand = b"\x02\0\0\0\0\0\0\0ab" + b"\0\0\0\0\0\0\0\0" + b"\x01\0\0\0\0\0\0\0c"
    assert sha256_of_records([[b"ab", b""], [b"c"]]) == hashlib.sha256(by_hand).hexdigest()


def test_canonical_json_has_one_text_per_value():
    assert canonical_json({"b": [1, 2.5], "a": {"d": None, "c": "é"}}) == b'{"a":{"c":"\\u00e9","d":null},"b":[1,2.5]}'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_canonical_json_refuses_what_json_cannot_say(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([value])


@pytest.mark.parametrize(
    ("content", "sha256"),
    [
        pytest.param(b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", id="empty"),
        pytest.param(b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", id="published vector"),
    ],
)
def test_a_file_has_the_published_sha256_of_its_bytes(tmp_path, content, sha256):
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == sha256


PRESET = PRESETS["quick"]
QUICK = replace(  # where by_speed, target and view can change
    PRESET,
    embed=replace(PRESET.embed, view="frame"),
    nn1=replace(PRESET.nn1, bent_paths=0),
    nn2=replace(PRESET.nn2, bent_paths=0),
)
CONFIGS = [pytest.param(getattr(QUICK, name), id=name) for name in ("embed", "nn1", "nn2", "gbdt", "blend")]


def changed(value):
    """Some other value of the same kind."""
    if value is None:
        return (32, 64)
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value / 3 + 0.01
    if isinstance(value, int):
        return value * 2 + 1
    if isinstance(value, str):
        pairs = {"both": "first", "absolute": "residual", "residual": "absolute", "squared": "huber"}
        words = pairs | {"xgboost": "catboost", "exact": "equal", "motion": "residual", "all": "frames"}
        words |= {
            "lstm": "attention",
            "normalised": "unit",
            "path": "frame",
            "frame": "path",
            "whole": "first",
            "stacked": "motion",
        }
        words |= {"auto": "float32", "shrunk": "exact"}
        return words.get(value, "x")
    if isinstance(value, tuple):
        return ((1, None),) if isinstance(value[0], tuple) else value[::-1]
    return replace(value, num_epochs=value.num_epochs + 1)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_of_a_configuration_is_in_its_digest(config):
    others = {
        field.name: replace(config, **{field.name: changed(getattr(config, field.name))}) for field in fields(config)
    }

    digests = {name: config_sha256(other) for name, other in others.items()}

    assert config_sha256(config) not in digests.values()
    assert len(set(digests.values())) == len(digests)


@pytest.mark.parametrize("config", CONFIGS)
def test_an_equal_configuration_has_an_equal_digest(config):
    assert config_sha256(replace(config)) == config_sha256(config)


@dataclass(frozen=True)
class One:
    first: int = 1
    second: int = 2


def test_the_order_of_fields_does_not_enter_but_the_kind_of_configuration_does():
    @dataclass(frozen=True)
    class Same:
        second: int = 2
        first: int = 1

    Same.__name__ = "One"

    @dataclass(frozen=True)
    class Two:
        first: int = 1
        second: int = 2

    assert config_sha256(Same()) == config_sha256(One())
    assert config_sha256(Two()) != config_sha256(One())


@pytest.fixture
def project(tmp_path):
    files = {
        "atma18/nets.py": "a = 1\n",
        "atma18/tracking/runs.py": "b = 2\n",
        "steps/main.py": "c = 3\n",
        "conda.yaml": "d: 4\n",
        "README.md": "e\n",
        "MLproject": "f\n",
        "atma18/notes.txt": "g\n",
        "tests/test_nets.py": "h = 8\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("name", ["atma18/nets.py", "atma18/tracking/runs.py", "steps/main.py", "conda.yaml"])
def test_one_line_of_code_changes_the_code_digest(project, name):
    before = code_sha256(project)
    (project / name).write_text((project / name).read_text() + "\n")
    assert code_sha256(project) != before


@pytest.mark.parametrize("name", ["README.md", "MLproject", "atma18/notes.txt", "tests/test_nets.py", "new.py"])
def test_what_cannot_change_a_prediction_does_not_change_the_code_digest(project, name):
    before = code_sha256(project)
    (project / name).write_text("something else\n")
    assert code_sha256(project) == before


def test_a_file_of_code_that_comes_goes_or_is_renamed_changes_the_code_digest(project):
    before = code_sha256(project)
    (project / "steps" / "new.py").write_text("")
    with_new = code_sha256(project)
    (project / "steps" / "new.py").rename(project / "steps" / "newer.py")
    renamed = code_sha256(project)
    (project / "steps" / "newer.py").unlink()

    assert len({before, with_new, renamed}) == 3
    assert code_sha256(project) == before


def test_the_place_of_the_project_does_not_enter_the_code_digest(project):
    before = code_sha256(project)
    moved = project.rename(project.with_name("elsewhere"))
    assert code_sha256(moved) == before


IDS = {"train": ["a_20", "a_120"], "test": ["b_20"]}


def content(**changes):
    """The arguments of `data_sha256` for three samples that can be written down."""
    rows = {"train": 2, "test": 1}
    base = {
        "splits": {
            split: Samples(
                ids=np.array(ids),
                signals=pd.DataFrame({name: np.full(len(ids), float(k)) for k, name in enumerate(CAN_SIGNALS)}),
                gear=np.array(["drive"] * len(ids)),
                traffic_lights=None,
                frames=FrameRows.of(np.zeros((len(ids), *FRAME_SHAPE), np.uint8)),
            )
            for split, ids in IDS.items()
        },
        "frame_sha256": {split: np.arange(n * 96, dtype=np.uint8).reshape(n, 3, 32) for split, n in rows.items()},
        "targets_m": np.arange(36.0).reshape(2, 18),
        "lights": {"a_20": [("red", (1.0, 2.0, 3.0, 4.0))], "a_120": [], "b_20": []},
        "camera_json": None,
    }
    return base | changes


def field(value):
    return struct.pack("<Q", len(value)) + value


def test_the_data_digest_is_the_one_that_the_contract_describes():
    def record(split, sample_id, targets, frames, lights):
        signals = [struct.pack("<d", k) for k in range(10)]
        return [split, sample_id, *signals, b"drive", struct.pack(f"<{len(targets)}d", *targets), *frames, lights]

    def frames(start):
        return [bytes(range(start + 32 * k, start + 32 * (k + 1))) for k in range(3)]

    records = [  # test before train and a_120 before a_20: byte order
        record(b"test", b"b_20", [], frames(0), b"[]"),
        record(b"train", b"a_120", range(18, 36), frames(96), b"[]"),
        record(b"train", b"a_20", range(18), frames(0), b'[["red",[1.0,2.0,3.0,4.0]]]'),
        [json.dumps({"height": 1}, separators=(",", ":")).encode()],
    ]
    expected = hashlib.sha256(b"".join(field(value) for one in records for value in one)).hexdigest()

    assert data_sha256(**content(camera_json={"height": 1})) == expected


def with_signal(value):
    given = content()
    train = given["splits"]["train"]
    signals = train.signals.assign(steeringAngleDeg=[value, 1.0])
    return given | {"splits": given["splits"] | {"train": replace(train, signals=signals)}}


def with_target(value):
    targets = content()["targets_m"].copy()
    targets[1, 17] = value
    return content(targets_m=targets)


@pytest.mark.parametrize("with_value", [with_signal, with_target])
def test_zero_has_no_sign(with_value):
    assert data_sha256(**with_value(-0.0)) == data_sha256(**with_value(0.0))
    assert data_sha256(**with_value(5e-324)) != data_sha256(**with_value(0.0))


def test_digesting_changes_no_argument():
    given = with_target(-0.0)
    data_sha256(**given)
    assert np.signbit(given["targets_m"][1, 17])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"lights": None}, id="no traffic lights"),
        pytest.param({"camera_json": {}}, id="a camera"),
        pytest.param({"targets_m": np.arange(36.0).reshape(2, 18)[::-1]}, id="targets of the other sample"),
        pytest.param(
            {"frame_sha256": {split: v[:, ::-1] for split, v in content()["frame_sha256"].items()}},
            id="frames in another order",
        ),
    ],
)
def test_a_change_of_content_changes_the_data_digest(change):
    assert data_sha256(**content(**change)) != data_sha256(**content())


def test_an_absent_sensor_is_not_a_sensor_that_says_zero():
    given = content()

    def without(sensor):
        return given | {
            "splits": {
                split: replace(samples, gear=None)
                if sensor == "gear"
                else replace(samples, signals=samples.signals.drop(columns=sensor))
                for split, samples in given["splits"].items()
            }
        }

    digests = [data_sha256(**without(sensor)) for sensor in ("vEgo", "aEgo", "gear")] + [data_sha256(**given)]
    assert len(set(digests)) == 4  # vEgo is 0 in all three samples


def test_drives_that_show_no_light_are_not_drives_without_the_sensor():
    none_in_view = {sample_id: [] for ids in IDS.values() for sample_id in ids}
    assert data_sha256(**content(lights=None)) != data_sha256(**content(lights=none_in_view))
