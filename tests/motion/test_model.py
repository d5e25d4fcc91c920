"""The motion model of a fold is fitted without the fold's samples, and its files are complete."""

import numpy as np
import pandas as pd
import pytest

from atma18.bundle.servable import predict_all
from atma18.bundle.steps import STEPS
from atma18.geometry.kinematics import MotionModel
from atma18.motion import FittedMotion
from atma18.pipeline.step import NO_INPUTS
from atma18.schema import TARGETS

FOLDS = 3


@pytest.fixture(scope="module")
def folds(tiny):
    scenes = np.unique(tiny.train.scenes, return_inverse=True)[1]
    return scenes % FOLDS


@pytest.fixture(scope="module")
def model(tiny, folds):
    return FittedMotion.fit(tiny.train, tiny.targets_m, folds)


def test_out_of_fold_it_predicts_what_the_reference_of_every_run_does(tiny, folds, model):
    found = predict_all(model, tiny.train, folds, tiny.test, NO_INPUTS, "cpu")

    expected_m = MotionModel.predict_oof(tiny.train.signals, tiny.targets_m, tiny.train.scenes, folds)
    np.testing.assert_array_equal(found.oof_m, expected_m)
    assert found.test_by_fold_m.shape == (FOLDS, len(tiny.test), len(TARGETS))


def test_targets_of_a_fold_do_not_change_its_own_model(tiny, folds, model):
    changed_m = np.where((folds == 1)[:, None], 100.0, tiny.targets_m)

    again = FittedMotion.fit(tiny.train, changed_m, folds)

    assert again.folds[1] == model.folds[1]
    assert again.folds[0] != model.folds[0]


def test_each_fold_answers_with_its_own_model(tiny):
    model = FittedMotion((MotionModel(delay_s=0.0), MotionModel(delay_s=0.1)))
    standing_still = tiny.test.take(np.array([0]))
    straight = pd.DataFrame({"vEgo": [10.0], "aEgo": [0.0], "steeringAngleDeg": [0.0]})
    sample = type(standing_still)(**vars(standing_still) | {"signals": straight})

    last_x_m = [model.predict(k, sample, None, "cpu")[0, TARGETS.index("x_5")] for k in range(2)]

    # 10 m/s for 3 s, less 10 m/s times the delay.
    np.testing.assert_allclose(last_x_m, [30.0, 29.0], rtol=0, atol=1e-9)


def test_it_comes_back_from_its_files_as_it_was(model, tmp_path):
    model.save(tmp_path)

    files = {path.name: path for path in tmp_path.iterdir()}
    assert FittedMotion.load(files) == model
    assert len(files) == FOLDS


def test_a_missing_fold_is_refused(model, tmp_path):
    model.save(tmp_path)
    files = {path.name: path for path in tmp_path.iterdir()}
    del files["fold1.json"]

    with pytest.raises(KeyError, match=r"fold1\.json"):
        FittedMotion.load(files)


def test_it_needs_no_upstream_and_no_later_sample(model):
    assert (model.needs, model.causal, model.count) == ((), True, FOLDS)
    assert STEPS["motion"].fit == FittedMotion.fit
