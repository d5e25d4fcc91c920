"""Mirroring exchanges left and right everywhere, and mirroring twice changes nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd

from atma18.geometry import mirror
from atma18.schema import TARGETS, FrameRows


def test_what_points_to_the_left_points_to_the_right():
    table = pd.DataFrame(
        {
            "vEgo": [5.0],
            "steeringAngleDeg": [-3.0],
            "steeringTorque": [7.0],
            "leftBlinker": [1.0],
            "rightBlinker": [0.0],
        }
    )

    [found] = mirror.signals(table).to_dict("records")

    expected = {"vEgo": 5.0, "steeringAngleDeg": 3.0, "steeringTorque": -7.0, "leftBlinker": 0.0, "rightBlinker": 1.0}
    assert found == expected


def test_sensors_that_are_absent_stay_absent():
    table = pd.DataFrame({"vEgo": [5.0], "leftBlinker": [1.0]})

    pd.testing.assert_frame_equal(mirror.signals(table), table)


def test_waypoints_change_sides():
    found_m = mirror.waypoints(np.arange(1.0, 19.0)[None])

    assert found_m[0].tolist() == [
        -v if name.startswith("y") else v for name, v in zip(TARGETS, range(1, 19), strict=True)
    ]


def test_frames_are_flipped_when_they_are_read_however_they_are_taken(tiny):
    given = tiny.train.take(np.arange(4))
    frames = np.array(given.frames[:])

    found = mirror.samples(given)

    np.testing.assert_array_equal(found.frames[:], frames[:, :, :, ::-1])
    np.testing.assert_array_equal(found.take(np.array([1, 3])).frames[:], frames[[1, 3]][:, :, :, ::-1])
    np.testing.assert_array_equal(found.frames.take(np.array([2]))[np.array([0])], frames[[2]][:, :, :, ::-1])
    assert found.frames.shape == given.frames.shape


def test_lights_change_sides(tiny):
    boxes = [("a_20", "left", 10.0, 4.0, 14.0, 12.0), ("a_20", "red", 100.0, 1.0, 128.0, 2.0)]
    lights = pd.DataFrame(boxes, columns=["ID", "class", "x1_px", "y1_px", "x2_px", "y2_px"])
    one = replace(tiny.train.take(np.arange(1)), ids=np.array(["a_20"]), traffic_lights=lights)

    found = mirror.samples(one).traffic_lights

    assert found.to_numpy().tolist() == [
        ["a_20", "right", 114.0, 4.0, 118.0, 12.0],
        ["a_20", "red", 0.0, 1.0, 28.0, 2.0],
    ]


def test_a_mirror_in_a_mirror_shows_the_drive_as_it_is(tiny):
    twice = mirror.samples(mirror.samples(tiny.train))

    pd.testing.assert_frame_equal(twice.signals, tiny.train.signals)
    pd.testing.assert_frame_equal(twice.traffic_lights, tiny.train.traffic_lights)
    np.testing.assert_array_equal(twice.frames[:3], tiny.train.frames[:3])
    np.testing.assert_array_equal(mirror.waypoints(mirror.waypoints(tiny.targets_m)), tiny.targets_m)
    assert isinstance(twice.frames, FrameRows) and not twice.frames.mirrored
