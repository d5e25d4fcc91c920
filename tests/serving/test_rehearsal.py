"""A version answers what its run stored before it serves; another machine's rounding is allowed, and nothing more."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from atma18.bundle.servable import Sensors
from atma18.schema import TARGETS
from atma18.serving import rehearsal


def answers_of(samples):
    """Waypoints that depend on the sample's ID and speed, so that exchanged rows differ."""
    times = samples.deciseconds[:, None] + samples.signals["vEgo"].to_numpy()[:, None]
    return times * np.linspace(1, 2, len(TARGETS))


def servable(samples, off_m=0.0):
    return SimpleNamespace(sensors=Sensors.of(samples), predict=lambda asked: answers_of(asked) + off_m)


@pytest.fixture
def stored(tiny, tmp_path):
    path = tmp_path / rehearsal.FILE
    rehearsal.write(path, tiny.test, answers_of(tiny.test))
    return path


def test_the_smallest_and_the_largest_scene_are_answered_from_their_pictures(tiny, stored):
    sizes = pd.Series(tiny.test.scenes).value_counts()
    asked = []
    model = servable(tiny.test)
    model.predict = lambda samples: asked.append(samples) or answers_of(samples)

    assert rehearsal.rehearse(model, stored) == sizes.max() + sizes.min()

    [samples] = asked
    rows = np.flatnonzero(np.isin(tiny.test.ids, samples.ids))
    expected = tiny.test.take(rows)
    np.testing.assert_array_equal(samples.frames[:], expected.frames[:])
    pd.testing.assert_frame_equal(samples.signals, expected.signals, check_exact=True)
    np.testing.assert_array_equal(samples.gear, expected.gear)
    pd.testing.assert_frame_equal(
        samples.traffic_lights.reset_index(drop=True), expected.traffic_lights.reset_index(drop=True)
    )


def test_another_answer_is_refused(tiny, stored):
    with pytest.raises(ValueError, match=r"expected the answers that its run stored: .* found \d+ farther off, by up"):
        rehearsal.rehearse(servable(tiny.test, off_m=2e-4), stored)


@pytest.mark.parametrize(
    ("off_m", "fine"),
    [
        pytest.param([0, 1e-4, 9e-5], True, id="rounding"),
        pytest.param([0, 0.04, 0], True, id="one row of trees"),
        pytest.param([0, 0.06, 0], False, id="one row too far"),
        pytest.param([0.02, 0.02, 0], False, id="two rows of three"),
        pytest.param([0.02] * 5 + [0] * 995, True, id="half a percent"),
        pytest.param([0.02] * 6 + [0] * 994, False, id="more than half a percent"),
    ],
)
def test_what_differs_on_another_machine_is_allowed(off_m, fine):
    try:
        rehearsal.check_answers(np.array(off_m, dtype=np.float64))
    except ValueError:
        assert not fine
    else:
        assert fine
