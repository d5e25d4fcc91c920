"""Drives unlike any seen have the signals that they are called by, and what a car can do is bounded as on paper."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from atma18.schema import GEAR
from benchmarks.small_drives import Case, share_used, strange_drives


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    return strange_drives(tmp_path_factory.mktemp("strange") / "drives", Case(2, 1, "quick"))


def test_each_test_scene_is_of_its_kind(drives):
    test = drives.dataset.test
    signals = test.signals.assign(**{GEAR: test.gear}).groupby(test.scenes).first()

    assert signals["vEgo"].tolist() == [0.3, 5.0, 1.5]
    assert signals[GEAR].tolist()[2] == "reverse"
    assert signals["steeringAngleDeg"].tolist()[1:] == [480.0, -300.0]
    assert len(drives.dataset.train) > 0 and drives.dataset.train.signals["steeringAngleDeg"].abs().max() < 480


def of_one_car(drives, speed_mps, gear, waypoint_m):
    """The shares of a sample whose last waypoint is this one, and whose others are at the places of coasting."""
    dataset = drives.dataset
    test = dataset.test.take(np.array([0]))
    signals = pd.DataFrame(test.signals).assign(vEgo=speed_mps)
    one = replace(dataset, test=replace(test, signals=signals, gear=np.array([gear])))
    said_m = np.zeros((1, 6, 3))
    said_m[0, :, 0] = speed_mps * np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    said_m[0, -1] = waypoint_m
    return share_used(one, said_m.reshape(1, 18))


@pytest.mark.parametrize(
    ("speed_mps", "gear", "waypoint_m", "place", "slope"),
    [
        # 11.5 m/s² for 3 s are 51.75 m; from 10 m/s, 81.75 m at most, of which 35 % are 28.6125 m.
        (10.0, "drive", (30.0, 0.0, 0.0), 0.0, 0.0),
        (10.0, "drive", (30.0, 51.75, 0.0), 1.0, 0.0),
        (10.0, "drive", (30.0 - 51.75 / 2, 0.0, 28.6125), 0.5, 1.0),
        (10.0, "drive", (133.5, 0.0, -28.6125 / 2), 2.0, 0.5),
        (0.0, "drive", (0.0, -5.175, 0.0), 0.1, 0.0),
    ],
)
def test_how_much_of_the_reachable_place_a_waypoint_uses(drives, speed_mps, gear, waypoint_m, place, slope):
    found = of_one_car(drives, speed_mps, gear, waypoint_m)

    assert found == pytest.approx({"place": place, "slope": slope})


def test_a_car_that_reverses_may_be_behind(drives):
    assert of_one_car(drives, 2.0, "reverse", (-6.0, 0.0, 0.0))["place"] == pytest.approx(0.0)
    assert of_one_car(drives, 2.0, "drive", (-6.0, 0.0, 0.0))["place"] == pytest.approx(12.0 / 51.75)
