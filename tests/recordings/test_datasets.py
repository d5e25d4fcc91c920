"""nuScenes, comma2k19 and KITTI: what their files may lack, and what each lack does."""

import json
import shutil

import numpy as np
import pytest

from atma18.recordings import comma2k19, kitti, nuscenes
from atma18.recordings.signals import RecordingError
from tests.recordings import writers
from tests.recordings.writers import DURATION_S, START_S


def read(module, folder):
    (drive,) = module.find(folder)
    return module.read(drive)


def edit(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


# --- nuScenes ---


@pytest.mark.parametrize("scene", ["scene-0161", "scene-0176", "scene-0309"])
def test_scenes_with_a_wrong_can_bus_are_left_out(scene, tmp_path):
    assert nuscenes.find(writers.nuscenes(tmp_path, scene)) == []


def test_a_scene_without_vehicle_monitor_has_no_pedals(tmp_path):
    writers.nuscenes(tmp_path)
    (tmp_path / "can_bus" / "scene-0103_vehicle_monitor.json").unlink()

    recording = read(nuscenes, tmp_path)

    assert sorted(recording.signals) == ["aEgo", "steeringAngleDeg", "vEgo"]
    assert "no vehicle_monitor: pedals, gear and blinkers are missing" in recording.remarks


def test_a_gear_that_is_not_documented_is_missing(tmp_path):
    writers.nuscenes(tmp_path)
    edit(
        tmp_path / "can_bus" / "scene-0103_vehicle_monitor.json",
        lambda rows: [rows[0] | {"gear_position": 5}, *rows[1:]],
    )

    recording = read(nuscenes, tmp_path)

    assert len(recording.signals["gearShifter"]) == len(recording.signals["brake"]) - 1


def test_the_camera_of_the_scenes_own_log_is_taken_if_it_is_named(tmp_path):
    writers.nuscenes(tmp_path)
    tables = tmp_path / "v1.0-mini"
    edit(
        tables / "calibrated_sensor.json",
        lambda rows: [*rows, rows[0] | {"token": "d", "translation": [1.5, 0.1, 1.4]}],
    )
    scene = {"name": "scene-0103", "first_sample_token": "f"}
    (tables / "scene.json").write_text(json.dumps([scene]))
    data = {"sample_token": "f", "calibrated_sensor_token": "d"}
    (tables / "sample_data.json").write_text(json.dumps([data]))

    recording = read(nuscenes, tmp_path)

    assert (recording.lens.forward_m, recording.lens.left_m, recording.lens.height_m) == (1.5, 0.1, 1.4)
    assert recording.remarks == ()


def test_of_several_versions_the_one_with_the_scene_is_taken(tmp_path):
    writers.nuscenes(tmp_path)
    shutil.copytree(tmp_path / "v1.0-mini", tmp_path / "v1.0-trainval")
    tables = tmp_path / "v1.0-trainval"
    edit(tables / "calibrated_sensor.json", lambda rows: [rows[0] | {"translation": [1.5, 0.1, 1.4]}])
    (tables / "scene.json").write_text(json.dumps([{"name": "scene-0103", "first_sample_token": "f"}]))
    (tables / "sample_data.json").write_text(json.dumps([{"sample_token": "f", "calibrated_sensor_token": "c"}]))

    recording = read(nuscenes, tmp_path)

    assert recording.lens.forward_m == 1.5
    assert recording.remarks == ()


def test_pictures_of_other_scenes_are_not_taken(tmp_path):
    writers.nuscenes(tmp_path)
    folder = tmp_path / "samples" / "CAM_FRONT"
    (folder / f"n008__CAM_FRONT__{writers.micro(START_S + 60)}.jpg").write_bytes(next(folder.iterdir()).read_bytes())

    assert len(read(nuscenes, tmp_path).frames.times_s) == DURATION_S * 2


@pytest.mark.parametrize(
    ("table", "content", "message"),
    [
        ("pose", "{}", "can_bus pose: expected a list of messages"),
        ("pose", '[{"utime": 1}]', "expected numbers vel in every message"),
        ("pose", '[{"utime": 1', "can_bus, pose: expected JSON"),
        ("steeranglefeedback", "[]", "can_bus steeranglefeedback: expected a list of messages"),
    ],
)
def test_tables_of_another_form_are_refused_in_a_line(table, content, message, tmp_path):
    writers.nuscenes(tmp_path)
    (tmp_path / "can_bus" / f"scene-0103_{table}.json").write_text(content)

    with pytest.raises(RecordingError, match=message):
        read(nuscenes, tmp_path)


# --- comma2k19 ---


def segment_of(folder):
    (found,) = folder.rglob("global_pose")
    return found.parent


def test_a_video_with_another_number_of_frames_is_refused(tmp_path):
    writers.comma2k19(tmp_path)
    times_s = writers.frame_times_s()[:100]
    path = segment_of(tmp_path) / "video.hevc"
    path.unlink()
    writers.write_video(path, times_s - START_S, codec="libx265", form="hevc", options=writers.X265)

    with pytest.raises(RecordingError, match="expected 160 frames, as many as frame_times, found 100"):
        read(comma2k19, tmp_path)


def test_a_device_that_hangs_askew_is_straightened(tmp_path):
    """All orientations are turned 3° to the right: the path does not change."""
    writers.comma2k19(tmp_path)
    before = read(comma2k19, tmp_path).poses.waypoints(np.array([START_S + 3]), 0.0)
    path = segment_of(tmp_path) / "global_pose" / "frame_orientations"
    half = np.deg2rad(3) / 2
    w, x, y, z = np.load(path).T
    turned = [w * np.cos(half) - z * np.sin(half), x * np.cos(half) + y * np.sin(half)]
    turned += [y * np.cos(half) - x * np.sin(half), z * np.cos(half) + w * np.sin(half)]  # q times a turn about down
    writers.save(path, np.stack(turned, axis=1))

    recording = read(comma2k19, tmp_path)

    np.testing.assert_allclose(recording.poses.waypoints(np.array([START_S + 3]), 0.0), before, atol=2e-3)
    assert recording.lens.ahead_px[0] < writers.SIZE_PX[0] / 2  # it looks to the right, so ahead is left of the middle


def test_a_segment_without_its_video_has_no_frames(tmp_path):
    writers.comma2k19(tmp_path)
    (segment_of(tmp_path) / "video.hevc").unlink()

    assert read(comma2k19, tmp_path).frames is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((10, 3)), r"expected 160 numbers, found \(10, 3\) of float64"),
        (np.array([["a"]] * 160), "expected 160 numbers, found"),
    ],
)
def test_tables_that_do_not_belong_to_the_frames_are_refused(table, message, tmp_path):
    writers.comma2k19(tmp_path)
    writers.save(segment_of(tmp_path) / "global_pose" / "frame_positions", table)

    with pytest.raises(RecordingError, match=message):
        read(comma2k19, tmp_path)


# --- KITTI ---


def test_files_belong_together_by_number(tmp_path):
    """Picture 20 and packet 30 are missing: all others keep their times."""
    writers.kitti(tmp_path)
    (drive,) = kitti.find(tmp_path)
    (drive.folder / "image_02" / "data" / f"{20:010d}.png").unlink()
    (drive.folder / "oxts" / "data" / f"{30:010d}.txt").unlink()

    recording = kitti.read(drive)

    zero_s = recording.frames.times_s[0]
    after_s = zero_s + 2.1
    row = int(np.argmin(np.abs(recording.frames.times_s - after_s)))
    assert row == 20
    assert [writers.number_of(image) for _, image in recording.frames.read(np.array([row]))] == [42]
    assert zero_s + 3.0 not in recording.poses.times_s
    assert len(recording.poses.times_s) == DURATION_S * 10 - 1


def test_frames_have_the_times_of_their_own_camera(tmp_path):
    writers.kitti(tmp_path)
    (drive,) = kitti.find(tmp_path)
    late = "\n".join(writers.stamp(START_S + 0.03 + k / 10) for k in range(round(DURATION_S * 10)))
    (drive.folder / "image_02" / "timestamps.txt").write_text(late)

    recording = kitti.read(drive)

    assert recording.frames.times_s[0] - recording.poses.times_s[0] == pytest.approx(0.03, abs=1e-6)


def test_a_nose_that_points_down_has_a_positive_pitch(tmp_path):
    """10° down: the car's x axis points below the horizon, so a level path rises in its axes."""
    writers.kitti(tmp_path)
    (drive,) = kitti.find(tmp_path)
    for path in (drive.folder / "oxts" / "data").iterdir():
        numbers = path.read_text().split()
        path.write_text(" ".join([*numbers[:4], str(np.deg2rad(10)), *numbers[5:]]))

    recording = kitti.read(drive)

    waypoints_m = recording.poses.waypoints(recording.poses.times_s[[20]], 0.0)[0]
    assert waypoints_m[0, 2] == pytest.approx(np.tan(np.deg2rad(10)) * waypoints_m[0, 0], abs=1e-2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "oxts/timestamps.txt",
            "2011-09-26 13:02:25.5\n",
            r"expected a time for every packet, found 1 times and the packets 1",
        ),
        ("oxts/timestamps.txt", "yesterday\n", r"times of oxts: expected lines like"),
        ("oxts/data/0000000003.txt", "1 2 3", r"oxts/0000000003.txt: expected 30 numbers, found 3"),
        ("oxts/data/0000000003.txt", "a b", r"oxts/0000000003.txt: expected 30 numbers, found something else"),
        ("../calib_velo_to_cam.txt", "R: 1 0 0 0 1 0 0 0 1\n", r"expected the rows R and T, found no T"),
        ("../calib_cam_to_cam.txt", "R_rect_00: 1 0 0 0 1 0 0 0 1\n", r"P_rect_02 and R_rect_00, found no P_rect_02"),
    ],
)
def test_what_is_wrong_with_a_drive_is_said_in_a_line(name, content, message, tmp_path):
    writers.kitti(tmp_path)
    (drive,) = kitti.find(tmp_path)
    (drive.folder / name).write_text(content)

    with pytest.raises(RecordingError, match=message) as raised:
        kitti.read(drive)

    assert "\n" not in str(raised.value)


def test_a_damaged_picture_costs_no_other(tmp_path):
    writers.kitti(tmp_path)
    (drive,) = kitti.find(tmp_path)
    for number in (0, 5):
        (drive.folder / "image_02" / "data" / f"{number:010d}.png").write_bytes(b"no picture")

    recording = kitti.read(drive)

    assert recording.lens.size_px == writers.SIZE_PX
    found = recording.frames.read(np.array([4, 5, 6]))
    assert [(row, writers.number_of(shot)) for row, shot in found] == [(4, 8), (6, 12)]


def test_a_drive_before_rectification_is_none(tmp_path):
    writers.kitti(tmp_path)
    (drive,) = kitti.find(tmp_path)
    shutil.copytree(drive.folder, drive.folder.with_name(drive.folder.name.replace("_sync", "_extract")))

    assert kitti.find(tmp_path) == [drive]


def test_a_day_without_its_calibration_is_refused(tmp_path):
    writers.kitti(tmp_path)
    next(tmp_path.rglob("calib_imu_to_velo.txt")).unlink()

    with pytest.raises(RecordingError, match="expected the calibration of the day beside its drives, found none"):
        read(kitti, tmp_path)
