"""Baselines that a model predicts the difference to: none, constant velocity, or a motion model fitted per fold."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from atma18.config import Target
from atma18.geometry import kinematics
from atma18.geometry.kinematics import MotionModel
from atma18.schema import TARGETS, FloatArray, Samples


@dataclass(frozen=True)
class Baseline:
    """Baseline waypoints, and the unit of the difference to them."""

    target: Target
    by_speed: bool
    """Whether the difference is a multiple of the car's `kinematics.pace`."""
    motion: FloatArray = field(default_factory=lambda: np.empty(0))
    """The parameters of the motion model if it is fitted; else empty."""

    def __post_init__(self) -> None:
        if self.target == "motion" and self.motion.shape != MotionModel().numbers.shape:
            raise ValueError(f"expected the numbers of a motion model, found {self.motion.shape} of them")

    @classmethod
    def fit(
        cls, target: Target, by_speed: bool, samples: Samples, targets_m: FloatArray, *, motion: bool = False
    ) -> Self:
        """Fit the baseline to N samples.

        Args:
            target: the baseline that predictions are the difference to.
            by_speed: whether differences are multiples of the pace.
            samples: N samples, of which signals and scenes are read.
            targets_m: (N, 18) metres, vehicle frame at t.
            motion: whether to fit the motion model also where `target` does not name it.
        """
        if not motion and target != "motion":
            return cls(target, by_speed)
        return cls(target, by_speed, MotionModel.fit(samples.signals, targets_m, samples.scenes).numbers)

    def ahead_m(self, samples: Samples) -> FloatArray:
        """Return the (N, 18) baseline waypoints in metres, which a difference of 0 stands for."""
        match self.target:
            case "absolute":
                return np.zeros((len(samples), len(TARGETS)))
            case "residual":
                found_m = kinematics.constant_velocity_waypoints(samples.signals["vEgo"].to_numpy(np.float64))
            case "motion":
                found_m = MotionModel.of(self.motion).waypoints_of(samples)
        return found_m.reshape(len(samples), -1)

    def pace(self, samples: Samples) -> FloatArray:
        """Return the (N, 1) unit of differences in metres."""
        return (kinematics.pace(samples.signals) if self.by_speed else np.ones(len(samples)))[:, None]

    def difference(self, samples: Samples, targets_m: FloatArray) -> FloatArray:
        """Convert (N, 18) targets to differences."""
        return np.asarray((targets_m - self.ahead_m(samples)) / self.pace(samples))

    def metres(self, samples: Samples, difference: FloatArray) -> FloatArray:
        """Convert (N, 18) differences to targets."""
        return np.asarray(difference * self.pace(samples) + self.ahead_m(samples))
