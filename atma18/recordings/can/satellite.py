"""Poses from positions by satellite, as receivers and gateways really send them.

A receiver says 0, 0 or an old place until it knows better, and a gateway sends the last fix again while the car drives
on: neither is a place.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from atma18.recordings.poses import Poses, along_track
from atma18.recordings.signals import Signal, covers
from atma18.schema import BoolArray, FloatArray

_EARTH_M = 6371008.8
"""The mean radius of the Earth (IUGG); the error over a few hundred metres is below 0.5 %."""
_FASTEST_MPS, _DRIVES_MPS, _STANDS_MPS = 100.0, 5.0, 0.5


def poses(found: Mapping[str, Signal], oldest_s: float, problems: Counter[str]) -> Poses:
    """Return poses on the plane that touches the Earth in the middle of the drive; the car points along its path.

    Args:
        found: `latitude` and `longitude` in degrees, and `vEgo`.
        oldest_s: the longest step between two fixes that is no gap.
        problems: counts the fixes that are left out.
    """
    times_s, north_deg, east_deg = _fixes(found, oldest_s, problems)
    shrink = np.cos(np.deg2rad(np.median(north_deg))) if len(north_deg) else 1.0
    north_m = np.deg2rad(north_deg - north_deg[:1]) * _EARTH_M
    east_m = np.deg2rad(east_deg - east_deg[:1]) * _EARTH_M * shrink
    places_m = np.stack([east_m, north_m, 0 * east_m], axis=1)
    near = _without_jumps(times_s, places_m, oldest_s)
    problems["fixes beside a jump"] += int((~near).sum())
    origin = f"{found['latitude'].origin} and {found['longitude'].origin}"
    return along_track(times_s[near], places_m[near], origin, oldest_s)


def _fixes(
    found: Mapping[str, Signal], oldest_s: float, problems: Counter[str]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the times in s, the latitudes and the longitudes in degrees of the fixes that are new ones."""
    latitude, longitude = found["latitude"], found["longitude"]
    known = covers(longitude.times_s, latitude.times_s, latitude.times_s, oldest_s)
    times_s, north_deg = latitude.times_s[known], latitude.values[known]
    east_deg = np.interp(times_s, longitude.times_s, np.unwrap(longitude.values, period=360))
    fixed = (north_deg != 0) | (east_deg != 0)
    problems["fixes at 0, 0"] += int((~fixed).sum())
    changed = np.append(True, (np.diff(north_deg) != 0) | (np.diff(east_deg) != 0))[: len(fixed)]
    speed_mps, is_known = found["vEgo"].interpolated(times_s)
    new = fixed & (changed | is_known & (np.abs(speed_mps) < _STANDS_MPS))
    return times_s[new], north_deg[new], east_deg[new]


def _without_jumps(times_s: FloatArray, places_m: FloatArray, oldest_s: float) -> BoolArray:
    """Return which fixes are so far from every jump that a gap remains where it is."""
    faster = np.linalg.norm(np.diff(places_m, axis=0), axis=1) > _FASTEST_MPS * np.diff(times_s)
    jumps_s = np.concatenate([times_s[:-1][faster], times_s[1:][faster]])
    return np.asarray((np.abs(times_s[:, None] - jumps_s) > oldest_s).all(axis=1))


def speed_remark(track: Poses, speed_mps: Signal) -> list[str]:
    """Say by how much the speed along the positions differs from vEgo."""
    step_s = np.diff(track.times_s)
    along_mps = np.linalg.norm(np.diff(track.positions_m, axis=0), axis=1) / step_s
    own_mps, known = speed_mps.interpolated(track.times_s[:-1] + step_s / 2)
    used = known & (step_s <= track.oldest_s) & (np.abs(own_mps) > _DRIVES_MPS)
    if not used.any():
        return []
    ratio = float(np.median(along_mps[used] / np.abs(own_mps[used])))
    return [f"the positions by satellite move {ratio:.3f} times as fast as vEgo says; both are kept as they are"]
