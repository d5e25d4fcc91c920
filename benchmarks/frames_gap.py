"""How much the frames of simulated drives could tell beyond the signals: one learner, without and with the truth.

The learner is XGBoost on the difference to the fold's motion model. First it reads the CAN signals, scene statistics,
neighbours, traffic lights and the motion model's waypoints. Then it also reads what the simulator knows and only the
frames show: the road ahead, the place in the lane, the car in front, the light.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from xgboost import XGBRegressor

from atma18 import metrics
from atma18.data.dataset import Dataset
from atma18.features import feature_table
from atma18.geometry.kinematics import MotionModel
from atma18.schema import FloatArray, IntArray, Samples

LEARNER = {
    "n_estimators": 300,
    "learning_rate": 0.06,
    "max_depth": 5,
    "objective": "reg:pseudohubererror",
    "tree_method": "hist",
}


def frames_gap(
    dataset: Dataset, folds: IntArray, hidden: Mapping[str, pd.DataFrame], truth_m: FloatArray, best_m: float
) -> dict[str, float]:
    """Return the test errors in metres without and with the hidden state, and the share of the gap that is closed.

    Args:
        dataset: the drives.
        folds: (N,) the fold of each training sample; the mean of the folds' models is what is scored.
        hidden: per split the hidden state, rows as in the dataset.
        truth_m: (M, 18) test targets, metres, rows as in the dataset.
        best_m: the test error of what is measured, metres.
    """
    can_scene_m, hidden_m = (_test_mae_m(dataset, folds, known, truth_m) for known in (None, hidden))
    closed = (can_scene_m - best_m) / (can_scene_m - hidden_m)
    return {"can_scene_m": can_scene_m, "hidden_m": hidden_m, "best_m": best_m, "closed": closed}


def _test_mae_m(
    dataset: Dataset, folds: IntArray, hidden: Mapping[str, pd.DataFrame] | None, truth_m: FloatArray
) -> float:
    said_m = np.mean(list(_of_folds(dataset, folds, hidden)), axis=0)
    return metrics.mae_m(said_m, truth_m)


def _of_folds(dataset: Dataset, folds: IntArray, hidden: Mapping[str, pd.DataFrame] | None) -> Iterator[FloatArray]:
    """Yield what the learner of each fold says of the test samples, metres."""
    train, test = dataset.train, dataset.test
    for fold in np.unique(folds):
        rows = folds != fold
        motion = MotionModel.fit(train.signals[rows], dataset.targets_m[rows], train.scenes[rows])
        tables = {"train": _table(train, motion), "test": _table(test, motion)}
        if hidden is not None:
            tables = {split: pd.concat([table, hidden[split]], axis=1) for split, table in tables.items()}
        difference_m = dataset.targets_m - _flat(motion, train)
        trees = XGBRegressor(**LEARNER, n_jobs=2).fit(tables["train"][rows], difference_m[rows])
        yield _flat(motion, test) + trees.predict(tables["test"])


def _table(samples: Samples, motion: MotionModel) -> pd.DataFrame:
    waypoints_m = motion.waypoints(samples.signals)
    return feature_table(samples, None, None, {}, cells=0, causal=False, motion_m=waypoints_m)


def _flat(motion: MotionModel, samples: Samples) -> FloatArray:
    """Return the (N, 18) waypoints of the motion model."""
    return motion.waypoints(samples.signals).reshape(len(samples), -1)
