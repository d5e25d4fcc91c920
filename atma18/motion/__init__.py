"""The motion model as a step: a fitted bicycle for each fold, what all other predictions must beat."""

from atma18.motion.model import FittedMotion, MotionConfig

__all__ = ["FittedMotion", "MotionConfig"]
