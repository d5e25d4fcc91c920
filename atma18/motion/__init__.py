"""The motion model as a step: a bicycle model fitted in each fold, the reference for all other predictions."""

from atma18.motion.model import FittedMotion, MotionConfig

__all__ = ["FittedMotion", "MotionConfig"]
