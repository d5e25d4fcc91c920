"""The TOML file of a CAN recording: which log, which DBC, and which of its signals is which of ours.

```toml
log = "drive.log"                  # candump .log, .asc, .blf, .trc, .csv or .mf4; a list of several
dbc = "car.dbc"                    # a list of several
clock_offset_s = 0.0               # is added to the log's times

[signals.vEgo]
signal = "XMISSION_SPEED"
message = "ENGINE_DATA"            # where several messages have a signal of this name
bus = "can0"                       # where the log has several buses with this message
unit = "km/h"

[signals.gearShifter]
signal = "GEAR_SHIFTER"
values = {1 = "park", 2 = "reverse", 4 = "neutral", 8 = "drive"}

[yaw_rate]                         # or [gnss] latitude, longitude (signals in degrees), or [poses] csv
signal = "YAW_RATE"
unit = "deg/s"
scale = -1                         # where right is positive

[video]
file = "drive.mp4"
offset_s = 12.3                    # is added to the video's own times; then both count from the same moment

[camera]
focal_px = [722.4, 723.4]
ahead_px = [263.0, 165.0]          # where the picture shows what lies far ahead
height_m = 1.22
forward_m = 1.7                    # in front of the rear axle
```
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from atma18.recordings.signals import RecordingError, cause
from atma18.schema import CAN_SIGNALS, FLAG_SIGNALS, GEAR, GEAR_WORDS, first_few

_SPEED = {"m/s": 1.0, "km/h": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704}
_ANGLE = {"deg": 1.0, "rad": 57.29577951308232}
_SHARE = {"1": 1.0, "%": 0.01}
UNITS: Mapping[str, Mapping[str, float]] = {
    "vEgo": _SPEED,
    "aEgo": {"m/s^2": 1.0, "m/s2": 1.0, "g": 9.80665},
    "steeringAngleDeg": _ANGLE,
    "steeringTorque": {"Nm": 1.0, "N.m": 1.0, "1": 1.0},
    "brake": _SHARE,
    "gas": _SHARE,
    "yaw_rate": {"rad/s": 1.0, "deg/s": 0.017453292519943295},
    "latitude": _ANGLE,
    "longitude": _ANGLE,
}
"""By what a signal is for, its units and their size in ours: the schema's, and rad/s."""

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
_Positive = Annotated[float, Field(gt=0)]


class Mapped(BaseModel):
    """One signal of the DBC."""

    model_config = _STRICT
    signal: str
    message: str | None = None
    bus: str | None = None
    unit: str | None = None
    scale: float = 1.0
    values: dict[int, str | bool] | None = None
    oldest_s: _Positive = 0.5


class Gnss(BaseModel):
    """The position of the car by satellite."""

    model_config = _STRICT
    latitude: Mapped
    longitude: Mapped
    oldest_s: _Positive = 1.5


class PoseTable(BaseModel):
    """Poses in a CSV table with the columns t, x, y, z in seconds and metres, and yaw in radians, counter-clockwise."""

    model_config = _STRICT
    csv: str
    offset_s: float = 0.0
    oldest_s: _Positive = 0.25


class Film(BaseModel):
    """The video."""

    model_config = _STRICT
    file: str
    offset_s: float = 0.0


class CameraPlace(BaseModel):
    """The camera of the video."""

    model_config = _STRICT
    focal_px: tuple[_Positive, _Positive]
    ahead_px: tuple[float, float]
    height_m: _Positive
    forward_m: float = 0.0
    left_m: float = 0.0


class Plan(BaseModel):
    """The whole file."""

    model_config = _STRICT
    log: str | list[str]
    dbc: str | list[str]
    clock_offset_s: float = 0.0
    signals: dict[str, Mapped]
    yaw_rate: Mapped | None = None
    gnss: Gnss | None = None
    poses: PoseTable | None = None
    video: Film | None = None
    camera: CameraPlace | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if unknown := sorted(set(self.signals) - {*CAN_SIGNALS, GEAR}):
            raise ValueError(f"expected signals of {', '.join((*CAN_SIGNALS, GEAR))}, found {first_few(unknown)}")
        if "vEgo" not in self.signals:
            raise ValueError("expected a signal for vEgo, found none")
        if sum(part is not None for part in (self.yaw_rate, self.gnss, self.poses)) != 1:
            raise ValueError("expected one of yaw_rate, gnss and poses, found none or several")
        if GEAR in self.signals and not self.signals[GEAR].values:
            raise ValueError(f"expected values for {GEAR}, such as values = {{1 = 'park', 4 = 'drive'}}, found none")
        if other := [word for word in self._gears if word.strip().lower() not in GEAR_WORDS]:
            raise ValueError(f"expected for {GEAR} one of {', '.join(GEAR_WORDS)}, found {first_few(other)}")
        for name, mapped in self.measured.items():
            if mapped.unit not in UNITS[name]:
                raise ValueError(f"expected for {name} a unit of {', '.join(UNITS[name])}, found {mapped.unit}")
        return self

    @property
    def _gears(self) -> list[str]:
        return [str(word) for word in (self.signals[GEAR].values or {}).values()] if GEAR in self.signals else []

    @property
    def measured(self) -> dict[str, Mapped]:
        """The signals that have a unit, by what they are for."""
        found = {name: mapped for name, mapped in self.signals.items() if name not in (*FLAG_SIGNALS, GEAR)}
        if self.yaw_rate is not None:
            found["yaw_rate"] = self.yaw_rate
        if self.gnss is not None:
            found |= {"latitude": self.gnss.latitude, "longitude": self.gnss.longitude}
        return found

    @property
    def wanted(self) -> dict[str, Mapped]:
        """All signals, by what they are for."""
        return {**self.signals, **self.measured}


def read_plan(path: Path) -> Plan:
    """Read a TOML file.

    Raises:
        RecordingError: If it is no TOML, or if it says something else than the above; the message names the first key.
    """
    try:
        content: Any = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        return Plan.model_validate(content)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecordingError(f"the TOML file: expected TOML, found something else ({cause(error)})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecordingError(
            f"the TOML file, {where}: {first['msg'].removeprefix('Value error, ')}: see recordings.md"
        ) from error


def as_list(given: str | list[str]) -> list[str]:
    """Return one name or several as a list."""
    return [given] if isinstance(given, str) else given
