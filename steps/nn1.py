"""Train nn1: three frames and the CAN signals of one sample to its waypoints.

Reads   the dataset; for stage=second the nets of a run of stage=first
Writes  predictions/; a version of atma18-nn1
"""

from typing import Any

import click

from atma18 import pipeline
from steps import options


@click.command()
@options.shared
@options.backbone
@options.stages
@options.net()
def main(data: str, preset: str, folds: str, fold_seed: int, seed: int, init: str, **given: Any) -> None:  # noqa: ANN401
    """Train nn1: three frames and the CAN signals of one sample to its waypoints."""
    with options.clear_messages():
        experiment = options.open_experiment(data, preset, folds, fold_seed, seed)
        config = experiment.preset.nn1.with_given(options.given(**given))
        step = pipeline.net("nn1", experiment, config, init=None if init == options.NONE else init)
    step.run()


if __name__ == "__main__":
    main()
