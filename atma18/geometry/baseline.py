"""What a prediction is the difference to: nothing, constant velocity, or a motion model that is fitted in the fold."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pandas as pd

from atma18.config import Target
from atma18.geometry import kinematics
from atma18.geometry.kinematics import MotionModel
from atma18.schema import TARGETS, FloatArray


@dataclass(frozen=True)
class Baseline:
    """Where the car goes by itself, and what a difference to that is measured in."""

    target: Target
    by_speed: bool
    """Whether the difference is said as a multiple of the car's `kinematics.pace`."""
    motion: FloatArray = field(default_factory=lambda: np.empty(0))
    """The numbers of the motion model that `target` names; none otherwise."""

    def __post_init__(self) -> None:
        if self.target == "motion" and self.motion.shape != MotionModel().numbers.shape:
            raise ValueError(f"expected the numbers of a motion model, found {self.motion.shape} of them")

    @classmethod
    def fit(cls, target: Target, by_speed: bool, signals: pd.DataFrame, targets_m: FloatArray) -> Self:
        """Fit what has to be fitted to these N rows.

        Args:
            target: what predictions are the difference to.
            by_speed: whether they are said as multiples of the pace.
            signals: N rows.
            targets_m: (N, 18) metres, vehicle frame at t.
        """
        motion = MotionModel.fit(signals, targets_m).numbers if target == "motion" else np.empty(0)
        return cls(target, by_speed, motion)

    def ahead_m(self, signals: pd.DataFrame) -> FloatArray:
        """Return the (N, 18) metres that a difference of 0 stands for."""
        match self.target:
            case "absolute":
                return np.zeros((len(signals), len(TARGETS)))
            case "residual":
                found_m = kinematics.constant_velocity_waypoints(signals["vEgo"].to_numpy(np.float64))
            case "motion":
                found_m = MotionModel.of(self.motion).waypoints(signals)
        return found_m.reshape(len(signals), -1)

    def pace(self, signals: pd.DataFrame) -> FloatArray:
        """Return the (N, 1) metres that a difference of 1 stands for."""
        return (kinematics.pace(signals) if self.by_speed else np.ones(len(signals)))[:, None]

    def difference(self, signals: pd.DataFrame, targets_m: FloatArray) -> FloatArray:
        """Return the (N, 18) differences that these targets stand for."""
        return np.asarray((targets_m - self.ahead_m(signals)) / self.pace(signals))

    def metres(self, signals: pd.DataFrame, difference: FloatArray) -> FloatArray:
        """Return the (N, 18) targets that these differences stand for."""
        return np.asarray(difference * self.pace(signals) + self.ahead_m(signals))
