"""Fit a motion model in each fold, the reference for all other predictions.

Reads   the dataset
Writes  OOF and test predictions, a servable; a version of atma18-motion
"""

from steps import options
from steps.commands import command


@command
@options.shared
def main(setting: options.Setting) -> None:
    """Predict from the signals at t alone: the driver keeps pedals and wheel as they are for a while."""
    from atma18.motion import MotionConfig
    from atma18.pipeline.fitted import fitted

    with options.running("motion"):
        fitted("motion", setting.open(), MotionConfig()).run()


if __name__ == "__main__":
    main()
