"""The events of an openpilot log: rlog or qlog, plain, bz2 or zst, whole or cut off."""

import bz2
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from atma18.recordings.signals import RecordingError, cause

KINDS = {
    1: ("initData", "InitData"),
    2: ("roadCameraState", "FrameData"),
    15: ("roadEncodeIdx", "EncodeIndex"),
    19: ("liveCalibration", "LiveCalibration"),
    21: ("gpsLocation", "GpsLocation"),
    22: ("carState", "CarState"),
    48: ("gpsLocationExternal", "GpsLocation"),
    72: ("liveLocationKalman", "LiveLocationKalman"),
    90: ("qRoadEncodeIdx", "EncodeIndex"),
    129: ("livePose", "LivePose"),
}
"""By the number in openpilot's `Event`, the name of an event and its struct."""
_NOT_IN_UNION = 67  # `valid`; the union's members are counted without it and without `logMonoTime`, number 0
_NEWEST = 145
"""The last member of the union in February 2025; what came later is counted, and cannot be needed."""
_MOST_BYTES = 2**31
"""Of one segment's log; a minute of a full log has about 200 MB."""
_MOST_WORDS = 2**60
"""pycapnp counts every read against its limit, 64 MiB by default, for as long as a message lives."""
_CHUNK = 2**20


def events(path: Path, problems: Counter[str]) -> Iterator[tuple[float, str, bool, Any]]:
    """Yield each event that is needed: its time in seconds since the device started, name, validity and struct.

    They come in the order of the file, which is not that of time. A cut-off log ends with its last whole event.

    Args:
        path: the log.
        problems: counts what was found wrong.

    Raises:
        RecordingError: If the file is not a log.
    """
    import capnp

    structs = {_discriminant(number): (name, getattr(schema(), struct)) for number, (name, struct) in KINDS.items()}
    count = 0
    messages = schema().Event.read_multiple_bytes(unpacked(path, problems), traversal_limit_in_words=_MOST_WORDS)
    while True:
        try:
            event = next(messages, None)
            if event is None:
                break
            count += 1
            if event.kind in structs:
                name, struct = structs[event.kind]
                yield event.logMonoTime * 1e-9, name, event.valid, event.body.as_struct(struct)
            elif event.kind > _discriminant(_NEWEST):
                problems["events newer than this reader"] += 1
        except capnp.KjException:
            problems["logs that end inside an event"] += 1
            break
    if not count:
        raise RecordingError("expected a log of openpilot, found no event in it: fetch it again")


def _discriminant(number: int) -> int:
    """Return the number of a member inside the union of `Event`."""
    return number - (1 if number < _NOT_IN_UNION else 2)


@cache
def schema() -> Any:  # noqa: ANN401 - a module made at run time
    """Return the structs of `events.capnp`."""
    import capnp

    capnp.remove_import_hook()
    return capnp.load(str(Path(__file__).with_name("events.capnp")))


def unpacked(path: Path, problems: Counter[str]) -> bytes:
    """Return the content of a log, as far as it can be unpacked.

    openpilot writes zst without the size of the content, so it is read as a stream.
    """
    content = bytearray()
    try:
        for chunk in _chunks(path):
            content += chunk
            if len(content) > _MOST_BYTES:
                raise RecordingError(f"expected a minute's log, found more than {_MOST_BYTES:,} bytes")
    except EOFError:
        problems["logs whose compression is cut off"] += 1
    except OSError as error:
        raise RecordingError(f"expected {path.suffix[1:]}, found something else ({cause(error)})") from error
    return bytes(content)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix == ".zst":
            yield from _zst_chunks(file)
        elif path.suffix == ".bz2":
            with bz2.open(file) as unpacking:
                while chunk := unpacking.read1(_CHUNK):
                    yield chunk
        else:
            while chunk := file.read(_CHUNK):
                yield chunk


def _zst_chunks(file: Any) -> Iterator[bytes]:  # noqa: ANN401 - a binary file
    import zstandard

    packed = file.read(_CHUNK // 16)
    try:
        while packed:  # a file may hold several frames
            unpacking = zstandard.ZstdDecompressor().decompressobj()
            while packed and not unpacking.eof:
                yield unpacking.decompress(packed)
                packed = unpacking.unused_data or file.read(_CHUNK // 16)
            if not unpacking.eof:
                raise EOFError
    except zstandard.ZstdError as error:
        raise OSError(str(error)) from error
