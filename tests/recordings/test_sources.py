"""One invented drive, in the format of every source, becomes the same samples."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from atma18.cache import Cache
from atma18.data.dataset import Dataset
from atma18.recordings import SOURCES, sampling
from atma18.schema import FRAME_FILES, TARGETS, WAYPOINT_TIMES_S
from steps import ingest
from tests.recordings import writers
from tests.recordings.writers import CAMERA_FORWARD_M, IDENTIFIERS, SPEED_MPS, START_S, WHEEL_DEG, YAW_RATE_RADPS

of_each_source = pytest.mark.parametrize("source", sorted(SOURCES))
STEERS = {"can", "comma2k19", "nuscenes", "openpilot"}
BRAKES = {"can", "nuscenes", "openpilot"}
GOES_ON = {"can", "nuscenes"}
"""Their signals go on after the last frame, so one more sample has its future."""


def recorded(source, folder):
    writers.WRITERS[source](folder)
    (drive,) = SOURCES[source].find(folder)
    return SOURCES[source].read(drive)


def circle_m(forward_m):
    """Where a point in front of the rear axle goes, on paper: it turns about the centre of the circle."""
    turned = YAW_RATE_RADPS * WAYPOINT_TIMES_S
    radius_m = SPEED_MPS / YAW_RATE_RADPS
    x_m = radius_m * np.sin(turned) + forward_m * (np.cos(turned) - 1)
    y_m = radius_m * (1 - np.cos(turned)) + forward_m * np.sin(turned)
    return np.stack([x_m, y_m, 0 * turned], axis=-1)


@of_each_source
@pytest.mark.parametrize("point", [0.0, CAMERA_FORWARD_M])
def test_every_source_tells_the_same_drive(source, point, tmp_path):
    recording = recorded(source, tmp_path)
    zero_s = recording.frames.times_s[0]
    moments_s = zero_s + np.array([1.5, 3.0, 4.5])

    found = sampling.sample(recording, moments_s, list(recording.signals), point)

    assert found.left_out == {}
    np.testing.assert_allclose(found.waypoints_m.reshape(3, 6, 3), np.tile(circle_m(point), (3, 1, 1)), atol=0.01)
    np.testing.assert_allclose(found.signals["vEgo"], SPEED_MPS, atol=1e-6)
    if source in STEERS:
        np.testing.assert_allclose(found.signals["steeringAngleDeg"], WHEEL_DEG, atol=1e-4)
    if source in BRAKES:
        assert found.signals["brakePressed"].tolist() == [0, 0, 1]
        assert found.signals["gearShifter"].tolist() == ["drive"] * 3
    shown = [
        [writers.number_of(image) for _, image in recording.frames.read(np.sort(rows))] for rows in found.frame_rows
    ]
    assert shown == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]


@pytest.mark.parametrize(("begin_s", "end_s"), [(-0.9, -0.2), (1.0, 2.0)])
def test_a_gap_of_a_signal_that_is_interpolated_crosses_no_window(begin_s, end_s, tmp_path):
    """The poses have no gap; a flag, which is held, may have one away from t."""
    recording = recorded("openpilot", tmp_path)
    moment_s = recording.frames.times_s[60]

    def with_gap(name):
        signal = recording.signals[name]
        kept = (signal.times_s < moment_s + begin_s) | (signal.times_s > moment_s + end_s)
        holed = replace(signal, times_s=signal.times_s[kept], values=signal.values[kept])
        return replace(recording, signals={**recording.signals, name: holed})

    def left_out(name):
        return dict(sampling.sample(with_gap(name), np.array([moment_s]), list(recording.signals), 0.0).left_out)

    assert left_out("steeringAngleDeg") == {"steeringAngleDeg: missing, too old or with a gap": 1}
    assert left_out("leftBlinker") == {}


@of_each_source
def test_ingest_writes_a_dataset_folder(source, tmp_path):
    out = tmp_path / "out"
    writers.WRITERS[source](tmp_path / "in")

    said = run(source, tmp_path / "in", out, every_s=1, split=1, crop="whole")

    assert said.exit_code == 0, said.output
    dataset = Dataset.open(str(out), Cache.open(tmp_path / "cache"), test_alone=True)
    last = 5 if source in GOES_ON else 4
    assert [i.rpartition("_")[2] for i in dataset.test.ids] == [f"{k}0" for k in range(1, last + 1)]
    assert [writers.number_of(dataset.test.frames[np.array([0])][0, k]) for k in range(3)] == [20, 10, 0]
    targets = pd.read_csv(out / "test_targets.csv")[list(TARGETS)].to_numpy().reshape(-1, 6, 3)
    np.testing.assert_allclose(targets, np.tile(circle_m(0.0), (len(targets), 1, 1)), atol=0.01)
    assert dataset.camera.position_m[0] == pytest.approx(CAMERA_FORWARD_M)


@of_each_source
def test_nothing_written_tells_who_drove_when(source, tmp_path):
    out = tmp_path / "out"
    writers.WRITERS[source](tmp_path / "in")

    said = run(source, tmp_path / "in", out, split=1)

    for path in out.rglob("*"):
        assert not IDENTIFIERS.search(path.relative_to(out).as_posix())
        if path.is_file() and path.suffix != ".png":
            assert not IDENTIFIERS.search(path.read_text())
    assert said.exit_code == 0
    assert not IDENTIFIERS.search(said.output)


@of_each_source
def test_the_same_recording_gives_the_same_data_wherever_it_lies(source, tmp_path):
    writers.WRITERS[source](tmp_path / "here")
    (tmp_path / "there").mkdir()

    first = digest_of(source, tmp_path / "here", tmp_path / "first")
    (tmp_path / "here").rename(tmp_path / "there" / "renamed")

    assert digest_of(source, tmp_path / "there" / "renamed", tmp_path / "second") == first


def test_the_command_offers_every_source():
    assert list(ingest.SOURCES) == sorted(SOURCES)


@of_each_source
def test_recordings_are_found_through_links_and_a_link_that_leads_back_does_no_harm(source, tmp_path):
    writers.WRITERS[source](tmp_path / "disk" / "drives")
    (tmp_path / "disk" / "drives" / "back").symlink_to(tmp_path / "disk")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "disk")

    assert len(SOURCES[source].find(tmp_path / "here")) == 1


def test_an_interrupted_ingest_goes_on(tmp_path, monkeypatch):
    writers.openpilot(tmp_path / "in")
    whole, out = tmp_path / "whole", tmp_path / "out"
    run("openpilot", tmp_path / "in", whole, every_s=0.5, split=1)
    monkeypatch.setattr("atma18.storage.dataset_files.write_frames", failing_after(3))
    assert run("openpilot", tmp_path / "in", out, every_s=0.5, split=1).exit_code == 1
    monkeypatch.undo()
    (left,) = tmp_path.glob(".out.partial")
    before = {path.name: (path / FRAME_FILES[0]).stat().st_mtime_ns for path in (left / "images").iterdir()}

    assert run("openpilot", tmp_path / "in", out, every_s=0.5, split=1).exit_code == 0

    assert len(before) == 3
    after = {path.name: (path / FRAME_FILES[0]).stat().st_mtime_ns for path in (out / "images").iterdir()}
    assert before.items() <= after.items()
    assert contents(out) == contents(whole)
    assert not left.exists()


def test_a_drive_that_cannot_be_read_is_left_out_and_said(tmp_path):
    writers.openpilot(tmp_path / "in")
    broken = tmp_path / "in" / "c0ffee00c0ffee00_2021-03-04--09-09-09--0"
    broken.mkdir()
    (broken / "qlog").write_bytes(b"no log at all")

    said = run("openpilot", tmp_path / "in", tmp_path / "out", every_s=1, split=1)

    assert said.exit_code == 0
    assert (
        "drive 2 is left out: the log of segment 0 is left out: expected a log of openpilot, found no event in it"
        in said.output
    )
    summary = (tmp_path / "out" / "ingest.json").read_text()
    assert "found no event" in json.loads(summary)["drives"][1]["left_out"]
    assert not IDENTIFIERS.search(said.output + summary)


@pytest.mark.parametrize(
    ("first_log", "said_of"),
    [
        pytest.param(None, "drive 2 is left out: it has pictures of drive 1", id="both logs are whole"),
        pytest.param(b"no log", "drive 1 is left out: the log of segment 0", id="the first log is broken"),
    ],
)
def test_the_same_pictures_are_taken_once(first_log, said_of, tmp_path):
    """A route was fetched with its full log, and again with the summary of it: neither split may know the other's."""
    writers.openpilot(tmp_path / "in" / "qlog")
    (segment,) = (tmp_path / "in" / "qlog").iterdir()
    again = tmp_path / "in" / "rlog" / segment.name
    again.mkdir(parents=True)
    (again / "rlog.bz2").write_bytes(writers.packed(writers.openpilot_events(), "bz2"))
    shutil.copyfile(segment / "qcamera.ts", again / "qcamera.ts")
    if first_log is not None:
        (segment / "qlog.zst").write_bytes(first_log)

    said = run("openpilot", tmp_path / "in", tmp_path / "out", every_s=1, split=1)

    assert said.exit_code == 0, said.output
    assert said.output.count("is left out") == (1 if first_log is None else 2)
    assert said_of in said.output
    assert len(pd.read_csv(tmp_path / "out" / "test_features.csv")) == 4


def test_another_toml_beside_the_drives_costs_none(tmp_path):
    writers.write_can(tmp_path / "in")
    (tmp_path / "in" / "pyproject.toml").write_text('[project]\nname = "mine"\n')
    (tmp_path / "in" / "._drive.toml").write_bytes(b"\0\5\x16\7")

    said = run("can", tmp_path / "in", tmp_path / "out", every_s=1, split=1)

    assert said.exit_code == 0, said.output
    assert "drive 2 is left out: the TOML file, log: Field required" in said.output
    assert len(pd.read_csv(tmp_path / "out" / "test_features.csv")) == 5


def test_a_place_that_cannot_be_is_refused_before_any_work(tmp_path):
    writers.openpilot(tmp_path / "in")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")

    below = run("openpilot", tmp_path / "in", tmp_path / "file" / "out", split=1)
    link = run("openpilot", tmp_path / "in", tmp_path / "link", split=1)

    assert (below.exit_code, link.exit_code) == (1, 1)
    assert "expected a place for a folder, found none" in below.output
    assert "expected nothing there, found a link to nothing: name another" in link.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in", "link"]


def test_nothing_to_ingest_ends_with_a_line_and_leaves_no_folder(tmp_path):
    (tmp_path / "in").mkdir()

    said = run("kitti", tmp_path / "in", tmp_path / "out")

    assert said.exit_code == 1
    assert "expected recordings of kitti, found none: check `source` and `path`" in said.output
    assert not (tmp_path / "out").exists()


def test_one_scene_cannot_be_split(tmp_path):
    writers.openpilot(tmp_path / "in")

    said = run("openpilot", tmp_path / "in", tmp_path / "out", every_s=1)

    assert said.exit_code == 1
    assert "expected a scene for training and one for test, found one minute with samples: add drives" in said.output
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_scenes_do_not_know_each_others_frames(tmp_path):
    """Two minutes of standing: no window of one scene reaches into the other."""
    times_s = START_S + np.arange(0, 121, 1 / writers.FRAME_RATE)
    segment = writers.write_segment(tmp_path / "in" / "0", writers.openpilot_events(times_s=times_s, vEgo=0.0))
    writers.write_video(segment / "qcamera.ts", times_s, numbers=[k % 256 for k in range(len(times_s))], form="mpegts")

    assert run("openpilot", tmp_path / "in", tmp_path / "out", every_s=1, split=0.5).exit_code == 0

    ids = [list(pd.read_csv(tmp_path / "out" / f"{split}_features.csv")["ID"]) for split in ("train", "test")]
    assert [len({i.partition("_")[0] for i in names}) for names in ids] == [1, 1]
    deciseconds = [sorted(int(i.partition("_")[2]) for i in names) for names in ids]
    assert [(min(of), max(of)) for of in deciseconds] == [(10, 570), (10, 570)]


def run(source, path, out, **options):
    words = ["--source", source, "--path", str(path), "--out", str(out)]
    words += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return CliRunner().invoke(ingest.main, words)


def digest_of(source, path, out):
    assert run(source, path, out, every_s=1, split=1).exit_code == 0
    return Dataset.open(str(out), Cache.open(out.parent / "cache"), test_alone=True).sha256


def failing_after(count):
    from atma18.storage.dataset_files import write_frames

    done = []

    def write(*arguments):
        if len(done) == count:
            raise OSError("the disk went away")
        done.append(arguments)
        write_frames(*arguments)

    return write


def contents(folder):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: pixels(folder / name) if name.endswith(".png") else (folder / name).read_bytes() for name in names}


def pixels(path):
    return np.asarray(Image.open(path)).tobytes()
