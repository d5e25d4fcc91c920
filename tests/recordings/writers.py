"""One invented drive, written in the format of every source: a circle to the left at constant speed.

Each picture has its number in black and white stripes, so a test can tell which one it was given.
"""

import bz2
import json
import math
import re
import tempfile
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import can
import capnp
import numpy as np
import zstandard
from asammdf import MDF
from PIL import Image

SPEED_MPS, YAW_RATE_RADPS, WHEEL_DEG = 10.0, 0.2, 30.0
DURATION_S, FRAME_RATE = 8.0, 20
START_S = 100.0
BRAKES_FROM_S = START_S + 4.2
"""From then on the brake is pressed."""
SIZE_PX = (256, 128)
STRIPES = 8
CAMERA_FORWARD_M = 1.7


def place_m(time_s):
    """x, y of the rear axle, in its axes at the start."""
    angle = YAW_RATE_RADPS * (np.asarray(time_s) - START_S)
    radius = SPEED_MPS / YAW_RATE_RADPS
    return np.stack([radius * np.sin(angle), radius * (1 - np.cos(angle))], axis=-1)


def frame_times_s():
    return START_S + np.arange(round(DURATION_S * FRAME_RATE)) / FRAME_RATE


def picture(number):
    """Black and white stripes: the bits of the number, the least one first."""
    bits = [(number >> k) & 1 for k in range(STRIPES)]
    return np.repeat(np.repeat(np.array(bits, np.uint8) * 255, SIZE_PX[0] // STRIPES)[None], SIZE_PX[1], axis=0)[
        ..., None
    ].repeat(3, axis=2)


def number_of(frame):
    """Read the number back, from a frame of any size that shows the whole picture."""
    columns = np.asarray(frame).mean(axis=(0, 2)).reshape(STRIPES, -1).mean(axis=1)
    return int(sum(1 << k for k, level in enumerate(columns) if level > 127))


def write_video(path, times_s, numbers=None, codec="libx264", form=None, ticks_from=0, options=None):
    """Write a video whose frames have these times, in ticks of 1/90,000 s from `ticks_from` on."""
    numbers = range(len(times_s)) if numbers is None else numbers
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=FRAME_RATE, options=options or {"preset": "ultrafast", "crf": "12"})
        stream.width, stream.height = SIZE_PX
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 90_000)
        stream.codec_context.time_base = Fraction(1, 90_000)
        for time_s, number in zip(times_s, numbers, strict=True):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts, frame.time_base = ticks_from + round(time_s * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


# --- openpilot -------------------------------------------------------------------------------------------------------

LOG_SCHEMA = """\
@0xd1f0a3b2c4e5f607;
struct Event {
  logMonoTime @0 :UInt64;
  valid @67 :Bool = true;
  union {
    %s
  }
}
struct InitData { a @0 :List(Text); b @1 :Text; dongleId @2 :Text; deviceType @3 :Device; version @4 :Text;
  enum Device { unknown @0; neo @1; } }
struct CarState {
  errors @0 :List(Text); vEgo @1 :Float32; wheels @2 :Xyz; gas @3 :Float32; gasPressed @4 :Bool; brake @5 :Float32;
  brakePressed @6 :Bool; steeringAngleDeg @7 :Float32; steeringTorque @8 :Float32; steeringPressed @9 :Bool;
  cruise @10 :Xyz; buttons @11 :List(Text); times @12 :List(UInt64); events @13 :List(Text); gearShifter @14 :Gear;
  rate @15 :Float32; aEgo @16 :Float32; raw @17 :Float32; standstill @18 :Bool; lights @19 :Bool; leftBlinker @20 :Bool;
  rightBlinker @21 :Bool; yawRate @22 :Float32; generic @23 :Bool; door @24 :Bool; belt @25 :Bool; canValid @26 :Bool;
  enum Gear { unknown @0; park @1; drive @2; neutral @3; reverse @4; sport @5; low @6; brake @7; eco @8; manumatic @9;
    newer @10; } }
struct Xyz { x @0 :Float32; y @1 :Float32; z @2 :Float32;
  xs @3 :Float32; ys @4 :Float32; zs @5 :Float32; valid @6 :Bool; }
struct LivePose { orientation @0 :Xyz; velocity @1 :Xyz; acceleration @2 :Xyz; angularVelocityDevice @3 :Xyz;
  inputsOK @4 :Bool; }
struct Measurement { value @0 :List(Float64); std @1 :List(Float64); valid @2 :Bool; }
struct Kalman { positionECEF @0 :Measurement;
  b @1 :Measurement; c @2 :Measurement; d @3 :Measurement; e @4 :Measurement;
  f @5 :Measurement; g @6 :Measurement; h @7 :Measurement; angularVelocityDevice @8 :Measurement; i @9 :Measurement;
  inputsOK @10 :Bool = true; }
struct Calibration { warp @0 :List(Float32);
  status @1 :Int8; cycle @2 :Int32; perc @3 :Int8; extrinsic @4 :List(Float32);
  w2 @5 :List(Float32); w3 @6 :List(Float32); rpyCalib @7 :List(Float32); spread @8 :List(Float32); blocks @9 :Int32;
  wide @10 :List(Float32); calStatus @11 :Status; height @12 :List(Float32); enum Status { no @0; yes @1; } }
struct Gps { flags @0 :UInt16; latitude @1 :Float64; longitude @2 :Float64; altitude @3 :Float64; speed @4 :Float32;
  bearing @5 :Float32; accuracy @6 :Float32; unix @7 :Int64; source @8 :Source; vNED @9 :List(Float32); va @10 :Float32;
  ba @11 :Float32; sa @12 :Float32; hasFix @13 :Bool; enum Source { android @0; } }
struct Index { frameId @0 :UInt32; type @1 :Type; encodeId @2 :UInt32; segmentNum @3 :Int32; segmentId @4 :UInt32;
  encode @5 :UInt32; timestampSof @6 :UInt64; timestampEof @7 :UInt64; enum Type { big @0; } }
"""
_MEMBERS = {
    1: ("initData", "InitData"),
    15: ("roadEncodeIdx", "Index"),
    19: ("liveCalibration", "Calibration"),
    22: ("carState", "CarState"),
    48: ("gpsLocationExternal", "Gps"),
    72: ("liveLocationKalman", "Kalman"),
    90: ("qRoadEncodeIdx", "Index"),
    129: ("livePose", "LivePose"),
    150: ("newerThanAnyReader", "Xyz"),
}


def log_schema():
    """The layout of openpilot's log as a schema of its own: a union of structs by the published numbers."""
    named = {number: f"{name} @{number} :{kind};" for number, (name, kind) in _MEMBERS.items()}
    members = [named.get(number, f"m{number} @{number} :Xyz;") for number in range(1, 151) if number != 67]
    capnp.remove_import_hook()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.capnp"
        path.write_text(LOG_SCHEMA % "\n    ".join(members))
        return capnp.load(str(path))


LOG = log_schema()


def event(time_s, valid=True, **body):
    return LOG.Event.new_message(logMonoTime=round(time_s * 1e9), valid=valid, **body)


def car_state(time_s, **changed):
    values = {
        "vEgo": SPEED_MPS,
        "steeringAngleDeg": WHEEL_DEG,
        "brakePressed": bool(time_s >= BRAKES_FROM_S),
        "brake": 0.3 if time_s >= BRAKES_FROM_S else 0.0,
        "gearShifter": "drive",
    }
    return event(time_s, carState=values | changed)


def openpilot_events(rate_from="livePose", segment=0, times_s=None, **car):
    """The messages of a minute, in the order of time."""
    times_s = frame_times_s() if times_s is None else times_s
    index = {"segmentNum": segment}
    found = [event(times_s[0], initData={"version": "0.9.7", "dongleId": "c0ffee00c0ffee00"})]
    found += [event(times_s[0], liveCalibration={"rpyCalib": [0.0, 0.0, 0.0], "height": [1.22], "calStatus": "yes"})]
    for number, time_s in enumerate(times_s):
        found.append(
            event(time_s + 0.02, qRoadEncodeIdx=index | {"segmentId": number, "timestampEof": round(time_s * 1e9)})
        )
        if number % 2 == 0:
            found.append(car_state(time_s, **car))
        if number % 4 == 0 and rate_from == "livePose":
            rate = {"z": -YAW_RATE_RADPS, "valid": True}
            found.append(event(time_s, livePose={"angularVelocityDevice": rate}))
        if number % 4 == 0 and rate_from == "liveLocationKalman":
            rate = {"value": [0.0, 0.0, -YAW_RATE_RADPS], "valid": True}
            dummy = {"value": [6.3678e6, 0.0, 0.0], "valid": False}
            found.append(event(time_s, liveLocationKalman={"angularVelocityDevice": rate, "positionECEF": dummy}))
    return found


def packed(events, form):
    content = b"".join(message.to_bytes() for message in events)
    if form == "zst":  # as openpilot does: without the size of the content
        compressing = zstandard.ZstdCompressor(write_content_size=False).compressobj()
        return compressing.compress(content) + compressing.flush()
    return bz2.compress(content, 1) if form == "bz2" else content


def write_segment(folder, events, form="zst", log="qlog"):
    folder.mkdir(parents=True)
    (folder / (f"{log}.{form}" if form else log)).write_bytes(packed(events, form))
    return folder


def openpilot(folder):
    segment = write_segment(folder / "c0ffee00c0ffee00_2021-03-04--05-06-07--0", openpilot_events())
    write_video(segment / "qcamera.ts", frame_times_s(), form="mpegts")
    return folder


# --- comma2k19 -------------------------------------------------------------------------------------------------------


def save(path, table):
    """Write a NumPy table without an ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, table)


def heading(time_s):
    return YAW_RATE_RADPS * (np.asarray(time_s) - START_S)


def comma2k19(folder):
    """The ECEF axes stand on the equator: x up, y east, z north; the drive begins to the north."""
    segment = folder / "Chunk_1" / "c0ffee00c0ffee00|2018-07-29--11-17-20" / "5"
    times_s = frame_times_s()
    angle = heading(times_s)
    forward = np.stack([0 * angle, -np.sin(angle), np.cos(angle)], axis=1)
    right = np.stack([0 * angle, np.cos(angle), np.sin(angle)], axis=1)
    down = np.tile([-1.0, 0.0, 0.0], (len(angle), 1))
    axle = place_m(times_s)
    camera_m = np.stack([0 * angle + 6.378e6, -axle[:, 1], axle[:, 0]], axis=1) + CAMERA_FORWARD_M * forward
    quaternions = np.array(
        [_quaternion(np.stack(axes, axis=1)) for axes in zip(forward, right, down, strict=True)]  # columns
    )
    velocity = SPEED_MPS * forward - CAMERA_FORWARD_M * YAW_RATE_RADPS * right
    save(segment / "global_pose" / "frame_times", times_s)
    save(segment / "global_pose" / "frame_positions", camera_m)
    save(segment / "global_pose" / "frame_velocities", velocity)
    save(segment / "global_pose" / "frame_orientations", quaternions)
    bus_s = START_S - 0.5 + np.arange(0, DURATION_S + 1, 0.012)
    for name, values in (
        ("speed", np.full((len(bus_s), 1), SPEED_MPS)),
        ("steering_angle", np.full(len(bus_s), WHEEL_DEG)),
    ):
        save(segment / "processed_log" / "CAN" / name / "t", bus_s)
        save(segment / "processed_log" / "CAN" / name / "value", values)
    write_video(segment / "video.hevc", times_s - START_S, codec="libx265", form="hevc", options=X265)
    return folder


X265 = {"preset": "ultrafast", "x265-params": "log-level=none:crf=8:bframes=0"}


def _quaternion(matrix):
    """w, x, y, z of a rotation matrix, by Shepperd's method."""
    trace = [np.trace(matrix), *np.diag(matrix)]
    k = int(np.argmax(trace))
    if k == 0:
        w = math.sqrt(1 + trace[0]) / 2
        return [w, *((matrix[j, i] - matrix[i, j]) / (4 * w) for i, j in ((1, 2), (2, 0), (0, 1)))]
    i, j, m = k - 1, k % 3, (k + 1) % 3
    part = math.sqrt(1 + matrix[i, i] - matrix[j, j] - matrix[m, m]) / 2
    found = [0.0] * 4
    found[0] = (matrix[m, j] - matrix[j, m]) / (4 * part)
    found[1 + i] = part
    found[1 + j] = (matrix[j, i] + matrix[i, j]) / (4 * part)
    found[1 + m] = (matrix[m, i] + matrix[i, m]) / (4 * part)
    return found


# --- nuScenes --------------------------------------------------------------------------------------------------------

EPOCH_S = 1_533_151_603


def nuscenes(folder, scene="scene-0103"):
    (folder / "can_bus").mkdir(parents=True)
    (folder / "samples" / "CAM_FRONT").mkdir(parents=True)
    (folder / "v1.0-mini").mkdir()
    pose_s = START_S - 0.5 + np.arange(0, DURATION_S + 1, 0.02)
    places, angles = place_m(pose_s), heading(pose_s)
    pose = [
        {
            "utime": micro(time_s),
            "pos": [float(x), float(y), 0.0],
            "vel": [SPEED_MPS, 0.0, 0.0],
            "accel": [0.0, 0.0, 9.8],
            "orientation": [math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)],
        }
        for time_s, (x, y), angle in zip(pose_s, places, angles, strict=True)
    ]
    steering = [{"utime": micro(time_s), "value": math.radians(WHEEL_DEG)} for time_s in pose_s]
    monitored = [
        {
            "utime": micro(time_s),
            "brake": 37.8 if time_s >= BRAKES_FROM_S else 0,
            "brake_switch": 4 if time_s >= BRAKES_FROM_S else 1,
            "throttle": 250,
            "gear_position": 7,
            "left_signal": 0,
            "right_signal": 1,
        }
        for time_s in np.arange(START_S - 0.5, START_S + DURATION_S + 0.5, 0.5)
    ]
    for name, rows in (("pose", pose), ("steeranglefeedback", steering), ("vehicle_monitor", monitored)):
        (folder / "can_bus" / f"{scene}_{name}.json").write_text(json.dumps(rows))
    for number, time_s in enumerate(frame_times_s()):
        if number % 10 == 0:
            name = f"n008-2018-08-01-15-16-36-0400__CAM_FRONT__{micro(time_s)}.jpg"
            Image.fromarray(picture(number)).save(folder / "samples" / "CAM_FRONT" / name, quality=95)
    (folder / "v1.0-mini" / "sensor.json").write_text(json.dumps([{"token": "s", "channel": "CAM_FRONT"}]))
    camera = {
        "token": "c",
        "sensor_token": "s",
        "translation": [CAMERA_FORWARD_M, 0.0, 1.22],
        "rotation": [0.5, -0.5, 0.5, -0.5],
        "camera_intrinsic": [[300.0, 0.0, 128.0], [0.0, 300.0, 64.0], [0.0, 0.0, 1.0]],
    }
    (folder / "v1.0-mini" / "calibrated_sensor.json").write_text(json.dumps([camera]))
    return folder


def micro(time_s):
    return round((EPOCH_S + time_s) * 1e6)


# --- KITTI -----------------------------------------------------------------------------------------------------------


def stamp(time_s):
    whole = datetime.fromtimestamp(1_317_000_000 + int(time_s), UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{whole}.{round((time_s % 1) * 1e9):09d}"


def kitti(folder):
    day = folder / "2011_09_26"
    drive = day / "2011_09_26_drive_0001_sync"
    (drive / "oxts" / "data").mkdir(parents=True)
    (drive / "image_02" / "data").mkdir(parents=True)
    times_s = START_S + np.arange(0, DURATION_S, 0.1)
    for number, (time_s, (x, y)) in enumerate(zip(times_s, place_m(times_s), strict=True)):
        metres = 6378137.0 * math.pi / 180
        numbers = np.zeros(30)
        numbers[:6] = y / metres, x / metres, 110.0, 0.0, 0.0, heading(time_s)
        numbers[8], numbers[14] = SPEED_MPS, 0.5
        (drive / "oxts" / "data" / f"{number:010d}.txt").write_text(" ".join(f"{value:.12f}" for value in numbers))
        Image.fromarray(picture(2 * number)).save(drive / "image_02" / "data" / f"{number:010d}.png")
    stamps = "\n".join(map(stamp, times_s)) + "\n"
    (drive / "oxts" / "timestamps.txt").write_text(stamps)
    (drive / "image_02" / "timestamps.txt").write_text(stamps)
    turned = "0 -1 0 0 0 -1 1 0 0"  # from forward, left, up to right, down, forward
    projection = "300 0 128 0 0 300 64 0 0 0 1 0"
    (day / "calib_cam_to_cam.txt").write_text(
        f"calib_time: 09-Jan\nR_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_02: {projection}\n"
    )
    (day / "calib_velo_to_cam.txt").write_text(f"calib_time: 15-Mar\nR: {turned}\nT: 0 0 0\n")
    (day / "calib_imu_to_velo.txt").write_text(
        f"calib_time: 25-May\nR: 1 0 0 0 1 0 0 0 1\nT: -{CAMERA_FORWARD_M} 0 -0.29\n"
    )
    return folder


# --- CAN -------------------------------------------------------------------------------------------------------------

DBC = """\
VERSION ""
NS_ :
BS_:
BU_: CAR
BO_ 256 MOTION: 8 CAR
 SG_ SPEED : 0|16@1+ (0.01,0) [0|655.35] "km/h" CAR
 SG_ YAW_RATE : 16|16@1- (0.01,0) [-327|327] "deg/s" CAR
 SG_ WHEEL : 32|16@1- (0.1,0) [-3000|3000] "deg" CAR
 SG_ BRAKE : 48|1@1+ (1,0) [0|1] "" CAR
 SG_ GEAR : 52|4@1+ (1,0) [0|15] "" CAR
BO_ 512 PAGES: 4 CAR
 SG_ PAGE M : 0|8@1+ (1,0) [0|255] "" CAR
 SG_ PEDAL m0 : 8|8@1+ (0.5,0) [0|100] "%" CAR
CM_ SG_ 256 SPEED "Speed over ground";
VAL_ 256 SPEED 65535 "SNA" ;
VAL_ 256 GEAR 1 "P" 4 "D" ;
"""
TOML = """\
log = "{log}"
dbc = "car.dbc"

[signals.vEgo]
signal = "SPEED"
unit = "km/h"

[signals.steeringAngleDeg]
signal = "WHEEL"
unit = "deg"

[signals.brakePressed]
signal = "BRAKE"

[signals.gearShifter]
signal = "GEAR"
values = {{1 = "park", 4 = "drive"}}

[yaw_rate]
signal = "YAW_RATE"
unit = "deg/s"

[video]
file = "drive.mp4"
offset_s = {offset_s}

[camera]
focal_px = [300.0, 300.0]
ahead_px = [128.0, 64.0]
height_m = 1.22
forward_m = 1.7
"""


BUS_S = 1_700_000_000
"""The bus counts from 1970; BLF and MF4 have no dates of 1970 itself."""


def motion(time_s, speed_code=3600, gear=4, length=8):
    """A frame of 256: speed in 0.01 km/h, yaw rate in 0.01 °/s, wheel in 0.1°, brake, gear."""
    yaw = round(math.degrees(YAW_RATE_RADPS) * 100)
    brake = int(time_s >= BRAKES_FROM_S)
    number = speed_code | yaw << 16 | round(WHEEL_DEG * 10) << 32 | brake << 48 | gear << 52
    data = number.to_bytes(8, "little")[:length]
    return can.Message(timestamp=BUS_S + time_s, arbitration_id=256, is_extended_id=False, data=data, channel=0)


def page(time_s, number, code):
    data = bytes([number, code, 0, 0])
    return can.Message(timestamp=BUS_S + time_s, arbitration_id=512, is_extended_id=False, data=data, channel=0)


def bus_times_s():
    return [START_S - 0.5 + k / 50 for k in range(round((DURATION_S + 1) * 50))]


def write_can(folder, name="drive.log", messages=None, dbc=DBC, toml=TOML):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "car.dbc").write_text(dbc)
    messages = list(map(motion, bus_times_s())) if messages is None else messages
    with can.Logger(str(folder / name)) as log:
        for message in messages:
            log.on_message_received(message)
    write_video(folder / "drive.mp4", frame_times_s() - START_S, form="mp4")
    offset_s = BUS_S + START_S - zero_of(folder / name, messages)
    (folder / "drive.toml").write_text(toml.format(log=name, offset_s=offset_s))
    return folder


def zero_of(path, messages):
    """The moment from which a log's times are counted, in seconds since 1970."""
    if path.suffix == ".asc":
        return messages[0].timestamp
    if path.suffix == ".mf4":  # python-can writes the moment of writing
        with MDF(str(path)) as log:
            return log.header.start_time.timestamp()
    return 0.0


WRITERS = {
    "can": write_can,
    "comma2k19": comma2k19,
    "kitti": kitti,
    "nuscenes": nuscenes,
    "openpilot": openpilot,
}
IDENTIFIERS = re.compile(r"c0ffee|2021-03-04|2018-07-29|2018-08-01|2011_09_26|n008|scene-0103")
"""What in these names tells who drove when."""
