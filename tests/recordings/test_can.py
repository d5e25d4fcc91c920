"""CAN logs of every format with a DBC: right values, or one clear line."""

import gc
import gzip
import re
import struct
import time

import can
import numpy as np
import pytest

from atma18.recordings import can as can_logs
from atma18.recordings import sampling
from atma18.recordings.signals import RecordingError
from tests.recordings import writers
from tests.recordings.writers import BUS_S, DBC, SPEED_MPS, TOML, WHEEL_DEG, motion

BEGIN_S = BUS_S + writers.START_S
FORMATS = ("log", "asc", "blf", "trc", "csv", "mf4")


def recorded(folder, **how):
    writers.write_can(folder, **how)
    (drive,) = can_logs.find(folder)
    return can_logs.read(drive)


@pytest.fixture
def zone(monkeypatch):
    """Set the time zone of this process."""

    def set_to(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_to
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_tells_the_same(form, tmp_path):
    recording = recorded(tmp_path, name=f"drive.{form}")
    moments_s = recording.frames.times_s[[40, 90]]

    found = sampling.sample(recording, moments_s, list(recording.signals), 0.0)

    assert found.left_out == {}
    np.testing.assert_allclose(found.signals["vEgo"], SPEED_MPS, atol=1e-6)
    np.testing.assert_allclose(found.signals["steeringAngleDeg"], WHEEL_DEG, atol=1e-6)
    assert found.signals["brakePressed"].tolist() == [0, 1]
    assert found.signals["gearShifter"].tolist() == ["drive", "drive"]
    assert (found.waypoints_m[:, 1] > 0).all()  # y, to the left
    assert recording.facts["problems"] == {}


@pytest.mark.parametrize("form", FORMATS)
def test_the_time_zone_of_the_reader_changes_nothing(form, tmp_path, zone):
    zone("Asia/Tokyo")
    written = recorded(tmp_path, name=f"drive.{form}")
    zone("Asia/Kolkata")
    (drive,) = can_logs.find(tmp_path)

    read = can_logs.read(drive)

    np.testing.assert_allclose(read.signals["vEgo"].times_s, written.signals["vEgo"].times_s, atol=1e-6)


def spoilt(*changed):
    """The drive with other frames at some moments."""
    there = {message.timestamp for message in changed}
    others = [message for message in map(motion, writers.bus_times_s()) if message.timestamp not in there]
    return sorted([*changed, *others], key=lambda one: one.timestamp)


AT = writers.bus_times_s()[125]  # 2 s after the start


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param(motion(AT, length=4), "MOTION: frames shorter than 8 bytes", id="a frame that is too short"),
        pytest.param(motion(AT, speed_code=65535), "MOTION.SPEED: codes that stand for no value", id="not available"),
    ],
)
def test_a_value_that_is_none_is_bridged_by_its_neighbours(changed, problem, tmp_path):
    recording = recorded(tmp_path, messages=spoilt(changed))

    assert recording.facts["problems"] == {problem: 1}
    assert recording.signals["vEgo"].values == pytest.approx(SPEED_MPS)
    assert BUS_S + AT not in recording.signals["vEgo"].times_s


def test_a_gear_that_the_mapping_does_not_name_is_missing_and_the_others_stay(tmp_path):
    recording = recorded(tmp_path, messages=spoilt(motion(AT, gear=9)))

    assert recording.facts["problems"] == {"MOTION.GEAR: codes that stand for no value": 1}
    assert set(recording.signals["gearShifter"].values) == {"drive"}
    assert len(recording.signals["gearShifter"]) == len(writers.bus_times_s()) - 1


def test_pages_of_a_multiplexed_message_are_decoded_one_by_one(tmp_path):
    gas = '[signals.gas]\nsignal = "PEDAL"\nunit = "%"\n\n[yaw_rate]'
    pages = [writers.page(t, number, 80) for t in writers.bus_times_s() for number in (0, 7)]
    messages = sorted([*map(motion, writers.bus_times_s()), *pages], key=lambda one: one.timestamp)

    recording = recorded(tmp_path, messages=messages, toml=TOML.replace("[yaw_rate]", gas))

    assert recording.signals["gas"].values == pytest.approx(0.4)  # 80 times 0.5 %
    assert recording.facts["problems"] == {"PAGES: frames of an unknown page": len(writers.bus_times_s())}


def test_a_signal_that_turns_the_other_way_is_turned(tmp_path):
    recording = recorded(tmp_path, toml=TOML.replace('"WHEEL"', '"WHEEL"\nscale = -1'))

    assert recording.signals["steeringAngleDeg"].values == pytest.approx(-WHEEL_DEG)


def test_a_sample_in_a_gap_of_the_bus_is_not_made(tmp_path):
    """Nothing is sent from BEGIN_S + 3 to BEGIN_S + 4: no window may reach into it."""
    messages = [m for m in map(motion, writers.bus_times_s()) if not BEGIN_S + 3 < m.timestamp < BEGIN_S + 4]
    recording = recorded(tmp_path, messages=messages)

    found = sampling.sample(recording, recording.frames.times_s[20:], ["vEgo"], 0.0)

    assert BEGIN_S + 5 <= found.times_s[0] < BEGIN_S + 5.06  # the first frame, or the next one, of which that is true


def test_a_candump_that_ends_inside_a_line_loses_its_last_frame(tmp_path):
    writers.write_can(tmp_path)
    path = tmp_path / "drive.log"
    path.write_bytes(path.read_bytes()[:-5])  # its last frame has 3 bytes fewer, and is a valid one
    (drive,) = can_logs.find(tmp_path)

    recording = can_logs.read(drive)

    assert recording.facts["problems"] == {"last frames of a log that ends inside a line": 1}
    assert recording.signals["vEgo"].times_s[-1] == pytest.approx(BUS_S + writers.bus_times_s()[-2])


def test_a_dbc_whose_comments_are_refused_is_read_without_them(tmp_path):
    strange = DBC.replace('CM_ SG_ 256 SPEED "Speed over ground";', 'CM_ SG_ 304 "Of no signal;\n over two lines";')

    recording = recorded(tmp_path, dbc=strange)

    assert recording.remarks == ("the DBC is read without its comments, which cantools refuses",)
    assert recording.signals["vEgo"].values == pytest.approx(SPEED_MPS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_a_dbc_may_have_letters_of_any_language(encoding, tmp_path):
    writers.write_can(tmp_path)
    text = DBC.replace("Speed over ground", "Velocidad Á mph" if encoding == "cp1252" else "Velocidad Á, 速度 “km”")
    (tmp_path / "car.dbc").write_bytes(text.encode(encoding))
    toml = tmp_path / "drive.toml"
    toml.write_text(toml.read_text(), encoding="utf-8-sig")
    (drive,) = can_logs.find(tmp_path)

    assert can_logs.read(drive).signals["vEgo"].values == pytest.approx(SPEED_MPS)


def test_a_packed_log_is_read(tmp_path):
    writers.write_can(tmp_path)
    log, toml = tmp_path / "drive.log", tmp_path / "drive.toml"
    (tmp_path / "drive.log.gz").write_bytes(gzip.compress(log.read_bytes()))
    toml.write_text(toml.read_text().replace('"drive.log"', '"drive.log.gz"'))
    (drive,) = can_logs.find(tmp_path)

    recording = can_logs.read(drive)

    assert len(recording.signals["vEgo"]) == len(writers.bus_times_s())
    assert recording.facts["problems"] == {}


def test_a_standard_and_an_extended_frame_of_one_number_are_apart(tmp_path):
    other = can.Message(timestamp=BUS_S + AT + 0.001, arbitration_id=256, is_extended_id=True, data=bytes(8), channel=0)

    recording = recorded(tmp_path, messages=spoilt(other))

    assert recording.signals["vEgo"].values == pytest.approx(SPEED_MPS)


@pytest.mark.parametrize(("form", "bus"), [("log", "can0"), ("asc", "0"), ("blf", "0"), ("trc", "1"), ("mf4", "0")])
def test_of_several_buses_one_must_be_named(form, bus, tmp_path):
    """The second bus has a frame of the same number that says twice the speed."""
    both = list(map(motion, writers.bus_times_s()))
    for time_s in writers.bus_times_s()[1:]:
        other = motion(time_s - 0.01, speed_code=7200)
        other.channel = 1
        both.append(other)
    both.sort(key=lambda message: message.timestamp)
    tables = ("[signals.vEgo]", "[signals.steeringAngleDeg]", "[signals.brakePressed]", "[signals.gearShifter]")
    toml = TOML.replace("[yaw_rate]", f'[yaw_rate]\nbus = "{bus}"')
    for table in tables:
        toml = toml.replace(table, f'{table}\nbus = "{bus}"')

    with pytest.raises(RecordingError, match=f'vEgo: expected frames of MOTION on one bus, .*such as bus = "{bus}"'):
        recorded(tmp_path / "a", name=f"drive.{form}", messages=both)
    named = recorded(tmp_path / "b", name=f"drive.{form}", messages=both, toml=toml)

    assert named.signals["vEgo"].values == pytest.approx(SPEED_MPS)
    assert len(named.signals["vEgo"]) == len(writers.bus_times_s())


def degrees(number, time_s, value_e6):
    """A latitude (768) or a longitude (769) in 0.000001°."""
    data = ((value_e6 + 180_000_000) % 360_000_000 - 180_000_000).to_bytes(4, "little", signed=True)
    return can.Message(timestamp=time_s, arbitration_id=number, is_extended_id=False, data=data, channel=0)


def recorded_with(fixes, folder, others=()):
    """The drive with poses by satellite, of a message for the latitude and one for the longitude."""
    dbc = (
        DBC
        + 'BO_ 768 LATITUDE: 4 CAR\n SG_ LAT : 0|32@1- (1e-06,0) [-90|90] "deg" CAR\n'
        + 'BO_ 769 LONGITUDE: 4 CAR\n SG_ LON : 0|32@1- (1e-06,0) [-180|180] "deg" CAR\n'
    )
    gnss = (
        '[gnss]\nlatitude = {{signal = "LAT", unit = "deg"}}\nlongitude = {{signal = "LON", unit = "deg"}}\n\n[video]'
    )
    toml = re.sub(r"\[yaw_rate\].*?\[video\]", gnss, TOML, flags=re.DOTALL)
    return recorded(folder, messages=spoilt(*fixes, *others), dbc=dbc, toml=toml)


def test_latitude_and_longitude_of_two_messages_give_one_path_across_the_date_line(tmp_path):
    """On the equator 0.0001° is 11.12 m: the car drives east, and each longitude comes 0.3 s after a latitude."""
    fixes = []
    for k in range(11):
        time_s = BEGIN_S - 1 + k
        fixes += [degrees(768, time_s, 0), degrees(769, time_s + 0.3, 179_999_600 + 100 * k)]

    poses = recorded_with(fixes, tmp_path).poses

    waypoints_m = poses.waypoints(np.array([BEGIN_S + 2.0]), 0.0)[0]
    np.testing.assert_allclose(waypoints_m[:, 0], 11.12 * np.arange(0.5, 3.5, 0.5), rtol=1e-3)
    np.testing.assert_allclose(waypoints_m[:, 1:], 0, atol=1e-6)
    assert poses.times_s[0] == pytest.approx(BEGIN_S)  # the latitude before has no longitude before it
    place_m, _ = poses.at(np.array([BEGIN_S + 2.3]), 0.0)
    np.testing.assert_allclose(place_m[0, 0], np.deg2rad(0.00023) * 6_371_008.8, atol=1e-3)


def test_one_position_gives_no_path(tmp_path):
    poses = recorded_with([degrees(768, BEGIN_S + 1, 100), degrees(769, BEGIN_S + 1, 100)], tmp_path).poses

    assert len(poses.times_s) == 1
    assert not poses.covers(np.array([BEGIN_S]), np.array([BEGIN_S + 3])).any()


EAST_MPS = 11.161
"""0.00015° of longitude a second at 48° north: 0.00015 * 111,195 m * cos 48°."""


def eastwards():
    """A fix each second: time, latitude and longitude in 0.000001°."""
    return [(BEGIN_S - 1 + k, 48_000_000, 11_000_000 + 150 * k) for k in range(12)]


@pytest.mark.parametrize(
    ("fixes", "problems"),
    [
        pytest.param(eastwards(), {}, id="as they are"),
        pytest.param(
            [(BEGIN_S - 1.5, 0, 0), (BEGIN_S - 1.2, 0, 0), *eastwards()], {"fixes at 0, 0": 2}, id="0, 0 before"
        ),
        pytest.param(
            [(time_s + k / 10, *place) for time_s, *place in eastwards() for k in range(10)], {}, id="repeated"
        ),
        pytest.param(
            [(BEGIN_S - 1.5, 48_100_000, 11_000_000), *eastwards()],
            {"fixes beside a jump": 3},
            id="an old place before",
        ),
    ],
)
def test_what_a_receiver_says_before_it_knows_and_twice_is_no_place(fixes, problems, tmp_path):
    messages = [one for t, n, e in fixes for one in (degrees(768, t, n), degrees(769, t, e))]

    recording = recorded_with(messages, tmp_path)

    assert recording.facts["problems"] == problems
    assert "the positions by satellite move 1.116 times as fast as vEgo says; both are kept as they are" in (
        recording.remarks
    )
    waypoints_m = recording.poses.waypoints(np.array([BEGIN_S + 4.0]), 0.0)[0]
    np.testing.assert_allclose(waypoints_m[:, 0], EAST_MPS * np.arange(0.5, 3.5, 0.5), rtol=1e-4)
    np.testing.assert_allclose(waypoints_m[:, 1:], 0, atol=1e-3)
    assert not recording.poses.covers(np.array([BEGIN_S - 1.4]), np.array([BEGIN_S + 2])).any()


def test_a_car_that_stands_stays_where_it_is(tmp_path):
    messages = [one for k in range(12) for one in (degrees(768, BEGIN_S - 1 + k, 1), degrees(769, BEGIN_S - 1 + k, 1))]
    stands = [motion(time_s, speed_code=0) for time_s in writers.bus_times_s()]

    poses = recorded_with(messages, tmp_path, stands).poses

    assert poses.covers(np.array([BEGIN_S]), np.array([BEGIN_S + 8])).all()
    np.testing.assert_allclose(poses.waypoints(np.array([BEGIN_S + 2.0]), 0.0), 0, atol=1e-9)


def test_a_speed_without_a_sign_is_negative_in_reverse(tmp_path):
    backwards = [motion(time_s, gear=1) for time_s in writers.bus_times_s()]

    recording = recorded(tmp_path, messages=backwards, toml=TOML.replace('1 = "park"', '1 = "R"'))

    assert recording.signals["vEgo"].values == pytest.approx(-SPEED_MPS)
    assert recording.signals["gearShifter"].values[0] == "reverse"
    assert (recording.poses.waypoints(np.array([BEGIN_S + 2.0]), 0.0)[0, :, 0] < -4).all()
    assert "vEgo has no sign in this car: it is made negative where the gear is reverse" in recording.remarks


def test_a_log_whose_clock_was_set_back_is_refused(tmp_path):
    there = list(map(motion, writers.bus_times_s()))

    with pytest.raises(RecordingError, match=r"found a step back by 9\.0 s: its clock was set, or it holds two drives"):
        recorded(tmp_path, messages=[*there, *there])


def test_a_video_of_other_moments_is_refused(tmp_path):
    toml = TOML.replace("offset_s = {offset_s}", "offset_s = 5.0  # {offset_s}")

    with pytest.raises(
        RecordingError, match=r"expected a video and a log of the same moments, found the video from 5\.0"
    ):
        recorded(tmp_path, toml=toml)


IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
"""The matrix in the head of a track of an MP4 (ISO 14496-12): x' = a x + c y, y' = b x + d y."""


@pytest.mark.parametrize(
    ("matrix", "size_px", "turned"),
    [
        pytest.param((-1, 0, 0, -1), (256, 128), lambda shot: shot[::-1, ::-1], id="upside down"),
        pytest.param((0, 1, -1, 0), (128, 256), lambda shot: np.swapaxes(shot, 0, 1)[:, ::-1], id="to the right"),
        pytest.param((0, -1, 1, 0), (128, 256), lambda shot: np.swapaxes(shot, 0, 1)[::-1], id="to the left"),
    ],
)
def test_pictures_are_turned_as_players_show_them(matrix, size_px, turned, tmp_path):
    plain = recorded(tmp_path / "plain")
    writers.write_can(tmp_path / "turned")
    path = tmp_path / "turned" / "drive.mp4"
    a, b, c, d = (part << 16 for part in matrix)
    content = path.read_bytes()
    assert content.count(IDENTITY) == 2  # of the whole and of the track
    place = content.index(IDENTITY, content.index(b"tkhd"))
    path.write_bytes(content[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[place + 36 :])
    (drive,) = can_logs.find(tmp_path / "turned")

    recording = can_logs.read(drive)

    ((_, expected),) = plain.frames.read(np.array([37]))
    ((_, shot),) = recording.frames.read(np.array([37]))
    np.testing.assert_array_equal(shot, turned(expected))
    assert recording.lens.size_px == size_px
    assert recording.facts["video"]["size_px"] == size_px


def test_frames_that_come_seldom_are_not_taken_for_others(tmp_path):
    """Three a second: none is within 0.06 s of t - 0.5 s."""
    writers.write_can(tmp_path)
    writers.write_video(tmp_path / "drive.mp4", np.arange(24) / 3, form="mp4")
    (drive,) = can_logs.find(tmp_path)
    recording = can_logs.read(drive)

    found = sampling.sample(recording, recording.frames.times_s, ["vEgo"], 0.0)

    assert dict(found.left_out) == {"frames: missing, too old or with a gap": 24}


def test_positions_by_satellite_give_the_path(tmp_path):
    """0.0001° of latitude is 11.12 m: the car drives north at that speed, so x forward is 11.12 m a second."""
    dbc = (
        DBC
        + 'BO_ 768 FIX: 8 CAR\n SG_ LAT : 0|32@1- (1e-06,0) [-90|90] "deg" CAR\n'
        + ' SG_ LON : 32|32@1- (1e-06,0) [0|1] "deg" CAR\n'
    )
    fixes = [
        can.Message(
            timestamp=BEGIN_S - 1 + k,
            arbitration_id=768,
            is_extended_id=False,
            data=(100 * k).to_bytes(4, "little") + bytes(4),
            channel=0,
        )
        for k in range(11)
    ]
    gnss = (
        '[gnss]\nlatitude = {{signal = "LAT", unit = "deg"}}\nlongitude = {{signal = "LON", unit = "deg"}}\n\n[video]'
    )
    toml = re.sub(r"\[yaw_rate\].*?\[video\]", gnss, TOML, flags=re.DOTALL)

    recording = recorded(tmp_path, messages=spoilt(*fixes), dbc=dbc, toml=toml)

    x_m = recording.poses.waypoints(np.array([BEGIN_S + 2.0]), 0.0)[0, :, 0]
    np.testing.assert_allclose(x_m, 11.12 * np.arange(0.5, 3.5, 0.5), rtol=1e-3)


def test_poses_of_a_table_give_the_path(tmp_path):
    """Due north in a frame whose x points east: yaw is 90°, x forward is the way to the north."""
    rows = "".join(f"{BEGIN_S - 1 + k / 10},0,{k},0.5,1.5707963\n" for k in range(110))
    toml = re.sub(r"\[yaw_rate\].*?\[video\]", '[poses]\ncsv = "poses.csv"\n\n[video]', TOML, flags=re.DOTALL)
    writers.write_can(tmp_path, toml=toml)
    (tmp_path / "poses.csv").write_text("t,x,y,z,yaw\n" + rows)
    (drive,) = can_logs.find(tmp_path)

    waypoints_m = can_logs.read(drive).poses.waypoints(np.array([BEGIN_S + 2.0]), 0.0)[0]

    np.testing.assert_allclose(waypoints_m, [[5 * k, 0, 0] for k in range(1, 7)], atol=1e-5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('unit = "km/h"', 'unit = "knots"', r"expected for vEgo a unit of m/s, km/h, kph, mph, found knots"),
        ("[signals.vEgo]", "[signals.speed]", r"expected signals of vEgo, .*, found speed"),
        ('"SPEED"', '"SPED"', r"vEgo: expected a signal SPED in the DBC, found none: check its spelling"),
        ("[video]", "[vidio]", r"vidio: Extra inputs are not permitted"),
        ("values = {{1", "vals = {{1", r"signals.gearShifter.vals: Extra inputs"),
        ("values = {{1 = ", "# ", r"expected values for gearShifter"),
        ('4 = "drive"', '4 = "Forward"', r"expected for gearShifter one of drive, .*, found Forward"),
        (
            'file = "drive.mp4"',
            'file = "none.mp4"',
            r"the video: expected one, found something else \(No such file or directory\)",
        ),
        ('log = "{log}"', 'log = "none.log"', r"the log: expected a file, found none: check `log`"),
        ("[yaw_rate]", "[yaw_rate", r"the TOML file: expected TOML, found something else"),
    ],
)
def test_what_is_wrong_with_the_mapping_is_said_in_a_line(old, new, message, tmp_path):
    assert old in TOML

    with pytest.raises(RecordingError, match=message) as raised:
        recorded(tmp_path, toml=TOML.replace(old, new))

    assert "\n" not in str(raised.value)


def test_a_signal_of_several_messages_needs_the_name_of_one(tmp_path):
    twice = DBC + 'BO_ 300 OTHER: 8 CAR\n SG_ SPEED : 0|16@1+ (1,0) [0|9] "km/h" CAR\n'

    with pytest.raises(RecordingError, match="vEgo: expected one message with the signal SPEED, found MOTION, OTHER"):
        recorded(tmp_path / "a", dbc=twice)
    named = recorded(tmp_path / "b", dbc=twice, toml=TOML.replace('"SPEED"', '"SPEED"\nmessage = "MOTION"'))
    assert named.signals["vEgo"].values == pytest.approx(SPEED_MPS)


def test_a_bus_without_the_message_is_refused(tmp_path):
    other = [writers.page(t, 0, 1) for t in writers.bus_times_s()]

    with pytest.raises(RecordingError, match=r"expected frames with vEgo \(SPEED\), .*is this the DBC of this car"):
        recorded(tmp_path, messages=other)


def test_an_asc_log_whose_times_count_from_line_to_line_is_refused(tmp_path):
    writers.write_can(tmp_path, name="drive.asc")
    path = tmp_path / "drive.asc"
    assert "timestamps absolute" in path.read_text()
    path.write_text(path.read_text().replace("timestamps absolute", "timestamps relative"))
    (drive,) = can_logs.find(tmp_path)

    with pytest.raises(RecordingError, match="found `timestamps relative`, from line to line: save it again"):
        can_logs.read(drive)


def test_several_logs_that_count_from_their_own_start_are_refused(tmp_path):
    toml = TOML.replace('log = "{log}"', 'log = ["{log}", "{log}"]')

    with pytest.raises(RecordingError, match="give each a TOML file of its own"):
        recorded(tmp_path, name="drive.asc", toml=toml)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # python-can leaves files open
@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_log_is_refused_without_a_word_of_it(form, tmp_path):
    writers.write_can(tmp_path, name=f"drive.{form}")
    (tmp_path / f"drive.{form}").write_bytes(b"WVWZZZ1JZXW000001 is no frame\n" * 20)
    (drive,) = can_logs.find(tmp_path)

    with pytest.raises(RecordingError, match=r"the log: expected a CAN log, found|expected frames with") as raised:
        can_logs.read(drive)

    assert "WVWZZZ" not in str(raised.value)
    del raised
    gc.collect()


def test_a_dbc_that_is_none_is_refused_without_a_word_of_it(tmp_path):
    with pytest.raises(RecordingError, match=r"the DBC: expected one, found what cantools refuses \(") as raised:
        recorded(tmp_path, dbc="VIN WVWZZZ1JZXW000001\n")

    assert "WVWZZZ" not in str(raised.value)
