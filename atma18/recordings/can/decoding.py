"""Frames of a CAN log become signals: by python-can and cantools, frame by frame, with each frame's length checked.

A frame that cannot be decoded is counted and left out: one that is shorter than its message, or of a multiplexed page
that the DBC does not have. A code that the DBC names ("not available", "error") is a missing value of a number; so is a
code of a gear that the mapping does not name.
"""

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atma18.recordings.can.mapping import UNITS, Mapped
from atma18.recordings.signals import RecordingError, Signal, cause
from atma18.schema import FLAG_SIGNALS, GEAR, GEAR_WORDS, first_few, shown

_LOG = logging.getLogger(__name__)
_COMMENTS = re.compile(r'^CM_[^"]*"(?:[^"\\]|\\.)*"\s*;', re.MULTILINE)
_TEXT = (".log", ".asc", ".trc", ".csv")
_BACK_S = 1.0
"""Frames of several buses may be logged a little out of order."""
_OWN_ZERO = (".asc", ".mf4")
"""Formats whose times are counted from the start of each log: their dates depend on the time zone of whoever reads."""


def database(paths: Sequence[Path]) -> tuple[Any, list[str]]:
    """Return the messages of some DBC files, and remarks.

    Raises:
        RecordingError: If cantools refuses one even without its comments.
    """
    import cantools
    import textparser

    refusals = (cantools.database.errors.Error, textparser.Error, KeyError, ValueError, AttributeError)
    found, remarks = cantools.database.Database(strict=False), []  # signals may share bits, as in opendbc
    for path in paths:
        text = _text(path)
        try:
            found.add_dbc_string(text)
        except refusals:
            try:
                found.add_dbc_string(_COMMENTS.sub("", text))
            except refusals as error:
                _LOG.warning("the DBC: %s", cause(error))  # it quotes the DBC, so it is kept out of all files
                raise RecordingError(
                    f"the DBC: expected one, found what cantools refuses ({type(error).__name__})"
                ) from error
            remarks.append("the DBC is read without its comments, which cantools refuses")
    return found, remarks


def _text(path: Path) -> str:
    """Read a DBC; the standard has no encoding, so it is that of Windows where it is not UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"the DBC: expected a file, found none ({cause(error)})") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def message_of(dbc: Any, name: str, mapped: Mapped) -> Any:  # noqa: ANN401 - cantools' types
    """Return the message that has a signal.

    Raises:
        RecordingError: If none has it, or if several have it and none is named.
    """
    having = [one for one in dbc.messages if any(signal.name == mapped.signal for signal in one.signals)]
    named = [one for one in having if mapped.message in (None, one.name)]
    if len(named) == 1:
        return named[0]
    if not named:
        of = f" in {mapped.message}" if mapped.message else ""
        raise RecordingError(
            f"{name}: expected a signal {mapped.signal}{of} in the DBC, found none: check its spelling"
        )
    raise RecordingError(
        f"{name}: expected one message with the signal {mapped.signal}, found {first_few(one.name for one in named)}: "
        "name the message"
    )


def decode(
    logs: Sequence[Path],
    dbc: Any,  # noqa: ANN401 - cantools' type
    wanted: Mapping[str, Mapped],
    offset_s: float,
    problems: Counter[str],
) -> dict[str, Signal]:
    """Return the wanted signals, in the units of the schema and rad/s.

    Args:
        logs: the logs, of one clock.
        dbc: the messages.
        wanted: by what each is for, the signal.
        offset_s: is added to the log's times.
        problems: counts what was left out.

    Raises:
        RecordingError: If a log cannot be read, if a signal never comes, or if it comes on several buses.
    """
    messages = {name: message_of(dbc, name, mapped) for name, mapped in wanted.items()}
    by_frame = {(message.frame_id, message.is_extended_frame): message for message in messages.values()}
    values: dict[str, list[tuple[float, Any]]] = defaultdict(list)
    buses: dict[str, set[str]] = defaultdict(set)
    for time_s, bus, key, data in _frames(logs, problems):
        message = by_frame.get(key)
        if message is None:
            continue
        decoded = _decoded(message, data, problems)
        for name, mapped in wanted.items():
            if messages[name] is message and mapped.signal in decoded and mapped.bus in (None, bus):
                values[name].append((time_s + offset_s, decoded[mapped.signal]))
                buses[name].add(bus)
    _check_buses(buses, messages)
    if missing := [f"{name} ({mapped.signal})" for name, mapped in wanted.items() if not values[name]]:
        raise RecordingError(
            f"expected frames with {first_few(missing)}, found none: is this the DBC of this car, and of this bus?"
        )
    return {name: _signal(name, wanted[name], messages[name], values[name], problems) for name in wanted}


def _check_buses(buses: Mapping[str, set[str]], messages: Mapping[str, Any]) -> None:
    """Refuse frames of several buses for one signal: one number often means two things on two buses."""
    for name, found in buses.items():
        if len(found) > 1:
            raise RecordingError(
                f"{name}: expected frames of {messages[name].name} on one bus, found some on {first_few(sorted(found))}"
                f': say which, such as bus = "{min(found)}"'
            )


def _decoded(message: Any, data: bytes, problems: Counter[str]) -> dict[str, Any]:  # noqa: ANN401
    """Return a frame's raw codes by signal; nothing if it cannot be decoded."""
    import cantools

    if len(data) < message.length:
        problems[f"{message.name}: frames shorter than {message.length} bytes"] += 1
        return {}
    try:
        return dict(message.decode(data, decode_choices=False, scaling=False))
    except (cantools.database.errors.DecodeError, ValueError):
        problems[f"{message.name}: frames of an unknown page"] += 1
        return {}


def _signal(name: str, mapped: Mapped, message: Any, found: list[tuple[float, Any]], problems: Counter[str]) -> Signal:  # noqa: ANN401
    """Turn raw codes into a signal."""
    definition = message.get_signal_by_name(mapped.signal)
    times_s = np.array([time for time, _ in found])
    codes = np.array([code for _, code in found])
    origin = f"{message.name}.{mapped.signal}"
    if name == GEAR or (name in FLAG_SIGNALS and mapped.values):
        values = _by_table(name, mapped, codes)
    else:
        scaled = codes * float(definition.conversion.scale) + float(definition.conversion.offset)
        named = np.isin(codes, list(definition.choices or {}))
        factor = 1.0 if name in FLAG_SIGNALS else UNITS[name][mapped.unit or ""]
        values = np.where(named, np.nan, scaled * factor * mapped.scale)
        if name in FLAG_SIGNALS:
            values = np.where(np.isin(codes, [0, 1]), codes, np.nan).astype(np.float64)
    lost = int((values == "").sum()) if values.dtype.kind == "U" else int(np.isnan(values).sum())
    if lost:
        problems[f"{origin}: codes that stand for no value"] += lost
    return Signal.of(times_s, values, origin, mapped.oldest_s)


def _by_table(name: str, mapped: Mapped, codes: np.ndarray) -> np.ndarray:
    """Translate codes by the mapping's own table; a code that it does not name is missing."""
    table = mapped.values or {}
    if name == GEAR:
        words = {code: GEAR_WORDS[str(word).strip().lower()] for code, word in table.items()}
        return np.array([words.get(int(code), "") for code in codes])
    wrong = [value for value in table.values() if not isinstance(value, bool)]
    if wrong:
        raise RecordingError(f"{name}: expected true and false as values, found {shown(wrong[0])}")
    return np.array([float(table.get(int(code), np.nan)) for code in codes])


def _frames(logs: Sequence[Path], problems: Counter[str]) -> Iterator[tuple[float, str, tuple[int, bool], bytes]]:
    """Yield the time in seconds, the bus, the number with its kind, and the bytes of every data frame."""
    if len(logs) > 1 and any(_form(path) in _OWN_ZERO for path in logs):
        raise RecordingError(
            "expected one log, or logs of one clock, found several, and .asc and .mf4 count from their own start: give "
            "each a TOML file of its own"
        )
    for path in logs:
        last, latest_s = None, -np.inf
        for message in _messages(path):
            if last is not None:
                yield last
            if message.timestamp < latest_s - _BACK_S:
                raise RecordingError(
                    f"the log: expected times that ascend, found a step back by {latest_s - message.timestamp:.1f} s: "
                    "its clock was set, or it holds two drives: cut it there"
                )
            latest_s = max(latest_s, message.timestamp)
            usable = not (message.is_error_frame or message.is_remote_frame)
            key = (message.arbitration_id, bool(message.is_extended_id))
            last = (message.timestamp, str(message.channel), key, bytes(message.data)) if usable else None
        if last is not None and path.suffix.lower() in _TEXT and not _ends_with_a_line(path):
            problems["last frames of a log that ends inside a line"] += 1
        elif last is not None:
            yield last


def _form(path: Path) -> str:
    """Return the suffix that tells a log's form; a log may be packed, as `drive.log.gz`."""
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def _messages(path: Path) -> Iterator[Any]:
    """Yield the messages of a log; those before a damaged place."""
    import can

    if not path.is_file():
        raise RecordingError("the log: expected a file, found none: check `log`")
    try:
        zero_s = _start_s(path) if _form(path) == ".mf4" else 0.0
        with can.LogReader(str(path)) as reader:
            for message in reader:
                if getattr(reader, "timestamps_format", None) == "relative":
                    raise RecordingError(
                        "the log: expected times that count from its start, found `timestamps relative`, from line to "
                        "line: save it again with absolute ones"
                    )
                message.timestamp -= zero_s
                yield message
    except RecordingError:
        raise
    except Exception as error:  # readers of six formats, of two libraries, raise what they meet
        _LOG.warning("the log: %s", cause(error))  # it may quote the log, so it is kept out of all files
        raise RecordingError(
            f"the log: expected a CAN log, found what cannot be read ({type(error).__name__})"
        ) from error


def _start_s(path: Path) -> float:
    """Return the moment that python-can adds to the times of an MF4 log."""
    from asammdf import MDF

    with MDF(str(path)) as log:
        return float(log.header.start_time.timestamp())


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
