"""Several requests in one pass: the same scene may stand in two of them."""

import numpy as np
import pandas as pd
import pytest

from atma18.serving.answering import joined


@pytest.fixture
def requests(tiny):
    """A scene, a part of the same scene, and another scene whose name sorts before it."""
    scenes = tiny.test.scenes
    largest = pd.Series(scenes).value_counts().index[0]
    before = min(set(scenes.tolist()) - {largest})
    whole = np.flatnonzero(scenes == largest)
    assert len(whole) > 2
    return [tiny.test.take(rows) for rows in (whole, whole[1:], np.flatnonzero(scenes == before))]


def test_the_samples_of_requests_stand_one_after_the_other(requests):
    together = joined(requests)

    assert len(together) == sum(map(len, requests))
    np.testing.assert_array_equal(together.deciseconds, np.concatenate([r.deciseconds for r in requests]))
    np.testing.assert_array_equal(together.frames[:], np.concatenate([r.frames[:] for r in requests]))
    np.testing.assert_array_equal(together.gear, np.concatenate([r.gear for r in requests]))
    expected = pd.concat([r.signals for r in requests], ignore_index=True)
    pd.testing.assert_frame_equal(together.signals, expected, check_exact=True)


def test_a_scene_of_one_request_is_another_than_the_same_scene_of_the_next(requests):
    together = joined(requests)
    sizes = np.concatenate([r.scene_sizes for r in requests])

    np.testing.assert_array_equal(together.scene_sizes, sizes)
    assert len(np.unique(together.scenes)) == 3


def test_every_light_stays_with_its_sample(requests):
    together = joined(requests)

    def boxes(samples, sample_id):
        lights = samples.traffic_lights
        return lights[lights["ID"] == sample_id].drop(columns="ID").to_numpy().tolist()

    before = [boxes(samples, sample_id) for samples in requests for sample_id in samples.ids]
    assert any(before)
    assert [boxes(together, sample_id) for sample_id in together.ids] == before


def test_a_single_request_is_left_as_it_is(requests):
    assert joined(requests[:1]) is requests[0]
