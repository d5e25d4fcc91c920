"""openpilot's logs and videos, with every trap that real ones have set."""

import math
import random

import av
import numpy as np
import pytest

from atma18.recordings import openpilot, sampling
from atma18.recordings.signals import RecordingError
from tests.recordings import writers
from tests.recordings.writers import SPEED_MPS, START_S, YAW_RATE_RADPS

MOMENTS_S = np.array([START_S + 2, START_S + 4])
WRAP = 2**33


def recorded(folder, events=None, form="zst", log="qlog", **video):
    segment = writers.write_segment(
        folder / "route--0", writers.openpilot_events() if events is None else events, form, log
    )
    writers.write_video(segment / "qcamera.ts", writers.frame_times_s(), form="mpegts", **video)
    (route,) = openpilot.find(folder)
    return openpilot.read(route)


def newer(time_s, noise):
    """An event that cannot be compressed."""
    return writers.event(
        time_s, newerThanAnyReader={name: noise.random() for name in ("x", "y", "z", "xs", "ys", "zs")}
    )


def yaw_rate_radps(recording):
    """The yaw rate of its poses 3 s after the start."""
    at_s = np.array([START_S + 3, START_S + 3.1])
    _, axes = recording.poses.at(at_s, 0.0)
    return float((axes[0].inv() * axes[1]).as_rotvec()[2] / 0.1)


def shown(recording, times_s):
    """The numbers of the pictures at some moments."""
    rows = np.searchsorted(recording.frames.times_s, np.asarray(times_s) - 0.001)
    return [writers.number_of(image) for _, image in recording.frames.read(rows)]


@pytest.mark.parametrize("form", ["", "bz2", "zst"])
@pytest.mark.parametrize("log", ["qlog", "rlog"])
def test_logs_of_every_form_are_read(form, log, tmp_path):
    recording = recorded(tmp_path, form=form, log=log)

    assert len(recording.signals["vEgo"]) == 80
    assert recording.facts["problems"] == {}
    assert recording.facts["openpilot"] == ["0.9.7"]


def test_a_full_log_comes_before_its_summary(tmp_path):
    full = [*writers.openpilot_events(), writers.car_state(START_S + 0.01)]
    writers.write_segment(tmp_path / "0", writers.openpilot_events())
    (tmp_path / "0" / "rlog.bz2").write_bytes(writers.packed(full, "bz2"))

    (route,) = openpilot.find(tmp_path)

    assert len(openpilot.read(route).signals["vEgo"]) == 81


def test_a_log_need_not_be_sorted(tmp_path):
    """The speed rises with time, so messages in another order would interpolate to other speeds."""
    events = [message for message in writers.openpilot_events() if message.which() != "carState"]
    events += [writers.car_state(START_S + k / 10, vEgo=10 + k / 10) for k in range(80)]
    random.Random(0).shuffle(events)

    found = sampling.sample(recorded(tmp_path, events), MOMENTS_S, ["vEgo"], 0.0)

    np.testing.assert_allclose(found.signals["vEgo"], [12.0, 14.0], atol=1e-5)


@pytest.mark.parametrize("form", ["", "bz2", "zst"])
def test_a_log_that_is_cut_off_tells_what_comes_before(form, tmp_path):
    noise = random.Random(0)
    events = [
        message
        for number, first in enumerate(writers.openpilot_events())
        for message in (first, *(newer(START_S + number / 70, noise) for _ in range(20)))
    ]
    segment = writers.write_segment(tmp_path / "0", events, form)
    (path,) = segment.iterdir()
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 3])

    (route,) = openpilot.find(tmp_path)
    recording = openpilot.read(route)

    assert set(recording.facts["problems"]) & {"logs that end inside an event", "logs whose compression is cut off"}
    assert 0 < len(recording.signals["vEgo"]) < 80
    np.testing.assert_allclose(recording.signals["vEgo"].values, SPEED_MPS, atol=1e-5)


def test_what_is_newer_than_the_reader_does_no_harm(tmp_path):
    events = writers.openpilot_events()
    events.insert(5, writers.event(START_S, newerThanAnyReader={"x": 1.0}))
    events += [writers.car_state(START_S + 2.0, gearShifter="newer")]

    recording = recorded(tmp_path, events)

    assert recording.facts["problems"] == {
        "events newer than this reader": 1,
        "gears newer than this reader, taken as unknown": 1,
    }
    assert recording.signals["gearShifter"].held(MOMENTS_S)[0].tolist() == ["unknown", "drive"]


def test_messages_that_are_not_valid_are_not_used(tmp_path):
    events = [*writers.openpilot_events(), writers.event(START_S + 2.0, valid=False, carState={"vEgo": 99.0})]

    recording = recorded(tmp_path, events)

    assert recording.signals["vEgo"].values.max() == pytest.approx(SPEED_MPS)
    assert recording.facts["problems"] == {"carState messages that are not valid": 1}


@pytest.mark.parametrize("source", ["livePose", "liveLocationKalman"])
def test_the_yaw_rate_is_positive_to_the_left_whatever_tells_it(source, tmp_path):
    recording = recorded(tmp_path, writers.openpilot_events(rate_from=source))

    assert yaw_rate_radps(recording) == pytest.approx(YAW_RATE_RADPS, abs=1e-4)
    assert recording.poses.origin == f"carState.vEgo and {source}.angularVelocityDevice"


def test_a_field_that_is_not_valid_itself_is_not_used(tmp_path):
    """The event is valid, its angular velocity is not; livePose tells the truth."""
    wrong = {"value": [0.0, 0.0, 3.0], "valid": False}
    events = writers.openpilot_events()
    events += [writers.event(START_S + k, liveLocationKalman={"angularVelocityDevice": wrong}) for k in range(8)]

    assert yaw_rate_radps(recorded(tmp_path, events)) == pytest.approx(YAW_RATE_RADPS, abs=1e-4)


def test_a_device_that_hangs_askew_is_turned_by_its_calibration(tmp_path):
    """The device looks 30° down, so a turn of the car to the left is partly a roll of the device to the left."""
    pitch = math.radians(30)
    rate = {"x": -YAW_RATE_RADPS * math.sin(pitch), "z": -YAW_RATE_RADPS * math.cos(pitch), "valid": True}
    events = [m for m in writers.openpilot_events() if m.which() not in ("livePose", "liveCalibration")]
    events += [writers.event(START_S + k / 5, livePose={"angularVelocityDevice": rate}) for k in range(40)]
    events += [writers.event(START_S, liveCalibration={"rpyCalib": [0.0, pitch, 0.0], "height": [1.3]})]

    recording = recorded(tmp_path, events)

    assert yaw_rate_radps(recording) == pytest.approx(YAW_RATE_RADPS, abs=1e-4)
    assert (
        recording.lens.ahead_px[1] < writers.SIZE_PX[1] / 2
    )  # it looks up, so ahead lies... below the middle is wrong


def test_without_any_pose_the_cars_own_yaw_rate_counts(tmp_path):
    events = writers.openpilot_events(rate_from="", yawRate=YAW_RATE_RADPS)

    assert yaw_rate_radps(recorded(tmp_path, events)) == pytest.approx(YAW_RATE_RADPS, abs=1e-4)


def test_without_any_yaw_rate_there_are_no_poses(tmp_path):
    recording = recorded(tmp_path, writers.openpilot_events(rate_from=""))

    found = sampling.sample(recording, MOMENTS_S, ["vEgo"], 0.0)

    assert dict(found.left_out) == {"poses: missing, too old or with a gap": 2}


def test_pedals_that_the_car_does_not_tell_are_left_out(tmp_path):
    recording = recorded(tmp_path, writers.openpilot_events(gasPressed=True))

    assert "gas" not in recording.signals
    assert recording.signals["brake"].values.max() == pytest.approx(0.3)
    assert any(remark.startswith("gas is 0 although gasPressed") for remark in recording.remarks)


@pytest.mark.parametrize("told", [-SPEED_MPS, SPEED_MPS])
def test_a_car_in_reverse_goes_back_whatever_sign_its_speed_has(told, tmp_path):
    recording = recorded(tmp_path, writers.openpilot_events(gearShifter="reverse", vEgo=told))

    found = sampling.sample(recording, MOMENTS_S, ["vEgo"], 0.0)

    np.testing.assert_allclose(found.signals["vEgo"], -SPEED_MPS, atol=1e-5)
    assert (found.waypoints_m[:, 0] < -4).all()


def test_a_filtered_speed_that_falls_below_0_at_a_stop_has_no_sign_yet(tmp_path):
    """In reverse at +10 m/s, speeding up; a moment before it stood in drive at -0.003 m/s."""
    events = writers.openpilot_events(gearShifter="reverse", vEgo=SPEED_MPS, aEgo=0.5)
    events.append(writers.car_state(START_S - 0.1, gearShifter="drive", vEgo=-0.003, aEgo=0.0))

    recording = recorded(tmp_path, events)

    found = sampling.sample(recording, MOMENTS_S, ["vEgo", "aEgo"], 0.0)
    np.testing.assert_allclose(found.signals["vEgo"], -SPEED_MPS, atol=1e-5)
    np.testing.assert_allclose(found.signals["aEgo"], -0.5, atol=1e-5)
    assert (found.waypoints_m[:, 0] < -4).all()
    assert any(remark.startswith("vEgo has no sign in this car") for remark in recording.remarks)


@pytest.mark.parametrize("names", [("drive1", "drive2"), ("2024-05-01", "2024-05-02"), ("20240501", "20240502")])
def test_folders_that_are_no_numbered_segments_are_drives_of_their_own(names, tmp_path):
    for name in names:
        writers.write_segment(tmp_path / name, writers.openpilot_events())

    assert [len(route.segments) for route in openpilot.find(tmp_path)] == [1, 1]


def test_segments_of_two_drives_are_not_taken_for_one(tmp_path):
    for number in (0, 1):
        writers.write_segment(tmp_path / str(number), writers.openpilot_events(segment=number))
    (route,) = openpilot.find(tmp_path)

    with pytest.raises(RecordingError, match="found segment 1 that begins 8 s before the one before it ends: give"):
        openpilot.read(route)


@pytest.mark.parametrize("fix", [{"hasFix": True}, {"flags": 1}])
def test_the_scale_of_the_speed_is_told_from_gps(fix, tmp_path):
    events = writers.openpilot_events()
    events += [writers.event(START_S + 0.5 * k, gpsLocationExternal={"speed": 9.8, **fix}) for k in range(16)]
    events += [
        writers.event(START_S + 0.5 * k, gpsLocationExternal={"speed": 70.0}) for k in range(16)
    ]  # without a fix

    assert "GPS is 2.0% slower than vEgo; vEgo is kept as it is" in recorded(tmp_path, events).remarks


def test_several_segments_are_one_drive(tmp_path):
    """0.5 s into segment 1, the frame of 1 s ago lies in segment 0."""
    times_s = writers.frame_times_s()
    for number in range(2):
        mine_s = times_s + number * writers.DURATION_S
        segment = writers.write_segment(
            tmp_path / f"a--{number}", writers.openpilot_events(segment=number, times_s=mine_s)
        )
        writers.write_video(segment / "qcamera.ts", mine_s, [k + 80 * number for k in range(160)], form="mpegts")
    (route,) = openpilot.find(tmp_path)
    recording = openpilot.read(route)
    border_s = START_S + writers.DURATION_S

    found = sampling.sample(recording, np.array([border_s + 0.5]), ["vEgo"], 0.0)

    assert found.left_out == {}
    assert [writers.number_of(image) for _, image in recording.frames.read(np.sort(found.frame_rows[0]))] == [
        150,
        80,
        90,
    ]


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("qlog.zst", "the log of segment 1 is left out: expected zst, found something else"),
        ("qcamera.ts", "the video of segment 1 is left out: the video: expected one, found something else"),
    ],
)
def test_a_broken_segment_leaves_the_others(name, remark, tmp_path):
    for number in range(2):
        mine_s = writers.frame_times_s() + number * writers.DURATION_S
        segment = writers.write_segment(
            tmp_path / f"a--{number}", writers.openpilot_events(segment=number, times_s=mine_s)
        )
        writers.write_video(segment / "qcamera.ts", mine_s, form="mpegts")
    (tmp_path / "a--1" / name).write_bytes(b"nothing that anybody could read")
    (route,) = openpilot.find(tmp_path)

    recording = openpilot.read(route)

    found = sampling.sample(recording, START_S + 0.01 + np.arange(1.0, 12.0), ["vEgo"], 0.0)
    expected = 4 if name == "qlog.zst" else 7  # with the log of segment 1, samples of segment 0 know their future
    assert len(found.times_s) == expected
    assert any(said.startswith(remark) for said in recording.remarks)


def test_a_missing_segment_is_a_gap(tmp_path):
    times_s = writers.frame_times_s()
    for number in (0, 2):
        mine_s = times_s + number * writers.DURATION_S
        segment = writers.write_segment(
            tmp_path / str(number), writers.openpilot_events(segment=number, times_s=mine_s)
        )
        writers.write_video(segment / "qcamera.ts", mine_s, form="mpegts")
    (route,) = openpilot.find(tmp_path)
    recording = openpilot.read(route)

    found = sampling.sample(recording, START_S + 0.01 + np.arange(1.0, 23.0), ["vEgo"], 0.0)

    assert (found.times_s - START_S - 0.01).tolist() == pytest.approx([1, 2, 3, 4, 17, 18, 19, 20])


@pytest.mark.parametrize("ticks", [WRAP - 3 * 90_000, 5 * WRAP], ids=["inside the segment", "before it"])
def test_the_counter_of_mpeg_ts_begins_again(ticks, tmp_path):
    """After 26.5 h the time stamps start from 0; the log's clock does not."""
    since_s = writers.frame_times_s() - START_S
    boot_s = ticks / 90_000 + since_s
    segment = writers.write_segment(tmp_path / "0", writers.openpilot_events(times_s=boot_s))
    writers.write_video(segment / "whole.ts", since_s, form="mpegts", ticks_from=90_000)
    move_time_stamps(segment / "whole.ts", segment / "qcamera.ts", ticks - 90_000)
    (route,) = openpilot.find(tmp_path)
    recording = openpilot.read(route)

    assert len(recording.frames.times_s) == 160
    assert shown(recording, boot_s[[10, 100, 150]]) == [10, 100, 150]


def move_time_stamps(source, target, by):
    """Add to every time stamp of an MPEG transport stream, modulo the counter's range (ISO/IEC 13818-1, 2.4.3.7)."""
    content = bytearray(source.read_bytes())
    for start in range(0, len(content), 188):
        begins, adaptation = content[start + 1] & 0x40, content[start + 3] & 0x20
        pes = start + 4 + (content[start + 4] + 1 if adaptation else 0)
        if begins and content[pes : pes + 4] == b"\x00\x00\x01\xe0":
            for number in range((content[pes + 7] >> 6) - 1):  # the time of showing, and that of decoding
                move_one(content, pes + 9 + 5 * number, by)
    target.write_bytes(content)


def move_one(content, place, by):
    a, b, c, d, e = content[place : place + 5]
    ticks = ((a >> 1) & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1
    ticks = (ticks + by) % WRAP
    content[place : place + 5] = bytes(
        [
            a & 0xF1 | (ticks >> 30 & 7) << 1,
            ticks >> 22 & 255,
            (ticks >> 15 & 127) << 1 | 1,
            ticks >> 7 & 255,
            (ticks & 127) << 1 | 1,
        ]
    )


def test_frames_before_the_first_key_frame_do_not_move_the_others(tmp_path):
    """A segment that was cut behind a key frame: the decoder drops what it cannot decode, without a word."""
    segment = writers.write_segment(tmp_path / "0", writers.openpilot_events())
    options = {"preset": "ultrafast", "crf": "12", "g": "40", "keyint_min": "40", "sc_threshold": "0"}
    writers.write_video(segment / "whole.ts", writers.frame_times_s(), form="mpegts", options=options)
    with (
        av.open(str(segment / "whole.ts")) as here,
        av.open(str(segment / "qcamera.ts"), "w", format="mpegts") as there,
    ):
        (stream,) = here.streams.video
        copy = there.add_stream_from_template(stream)
        for number, packet in enumerate(here.demux(stream)):
            if number >= 5 and packet.dts is not None:
                packet.stream = copy
                there.mux(packet)
    (route,) = openpilot.find(tmp_path)
    recording = openpilot.read(route)

    assert shown(recording, [START_S + 0.5, START_S + 2.5, START_S + 5]) == [50, 100]  # 10 cannot be decoded


def test_frames_that_the_index_does_not_have_are_left_out(tmp_path):
    events = [
        message
        for message in writers.openpilot_events()
        if not (message.which() == "qRoadEncodeIdx" and message.qRoadEncodeIdx.segmentId in (30, 31))
    ]

    recording = recorded(tmp_path, events)

    assert len(recording.frames.times_s) == 158
    assert "2 of 160 frames are not in the log's index of frames; they are left out" in recording.remarks
    assert shown(recording, [START_S + 1.45, START_S + 1.6]) == [29, 32]


def test_a_full_video_without_times_is_counted_against_the_index(tmp_path):
    def with_full_index(count):
        index = [
            writers.event(t, roadEncodeIdx={"segmentNum": 0, "segmentId": k, "timestampEof": round(t * 1e9)})
            for k, t in enumerate(writers.frame_times_s()[:count])
        ]
        segment = writers.write_segment(tmp_path / str(count) / "0", writers.openpilot_events() + index)
        writers.write_video(
            segment / "fcamera.hevc", writers.frame_times_s(), codec="libx265", form="hevc", options=writers.X265
        )
        (route,) = openpilot.find(tmp_path / str(count))
        return openpilot.read(route)

    assert shown(with_full_index(160), [START_S + 1, START_S + 5]) == [20, 100]
    assert len(with_full_index(159).frames.times_s) == 0  # which frame is missing?


def test_a_full_video_that_was_cut_in_an_open_group_of_pictures_gives_no_frame(tmp_path):
    """It has as many packets as the index has frames, but the decoder drops some, and nothing tells which."""
    settings = "log-level=none:crf=8:bframes=3:open-gop=1:keyint=40:min-keyint=40:scenecut=0:repeat-headers=1"
    options = {"preset": "ultrafast", "x265-params": settings}
    times_s = writers.frame_times_s()
    writers.write_video(tmp_path / "whole.hevc", times_s, codec="libx265", form="hevc", options=options)
    with av.open(str(tmp_path / "whole.hevc")) as whole:
        packets = [(bytes(packet), packet.is_keyframe) for packet in whole.demux(video=0) if packet.size]
    second = [number for number, (_, is_key) in enumerate(packets) if is_key][1]
    index = [
        writers.event(t, roadEncodeIdx={"segmentNum": 0, "segmentId": k, "timestampEof": round(t * 1e9)})
        for k, t in enumerate(times_s[second:])
    ]
    segment = writers.write_segment(tmp_path / "0", writers.openpilot_events() + index)
    (segment / "fcamera.hevc").write_bytes(b"".join(content for content, _ in packets[second:]))
    (route,) = openpilot.find(tmp_path)

    recording = openpilot.read(route)

    assert len(recording.frames.times_s) == len(times_s) - second
    assert shown(recording, [START_S + 4, START_S + 5]) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("qlog.bz2", b"BZh9 no", "expected bz2, found something else"),
        ("qlog.zst", b"no zst at all", "expected zst, found something else"),
        ("qlog", b"", "expected a log of openpilot, found no event"),
    ],
)
def test_what_is_no_log_is_refused_in_a_line(name, content, message, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / name).write_bytes(content)
    (route,) = openpilot.find(tmp_path)

    with pytest.raises(RecordingError, match=message):
        openpilot.read(route)


def test_a_log_without_a_car_is_refused(tmp_path):
    events = [message for message in writers.openpilot_events() if message.which() != "carState"]

    with pytest.raises(RecordingError, match="expected carState messages in the log, found none that is valid"):
        recorded(tmp_path, events)


def test_downloads_and_numbered_folders_are_found(tmp_path):
    events = writers.packed(writers.openpilot_events(), "bz2")
    for name in ("a|2021--0--qlog.bz2", "a|2021--1--qlog.bz2", "b--10/rlog.bz2", "b--9/rlog.bz2", "c/3/qlog.bz2"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(events)

    routes = openpilot.find(tmp_path)

    assert sorted([segment.number for segment in route.segments] for route in routes) == [[0, 1], [3], [9, 10]]
