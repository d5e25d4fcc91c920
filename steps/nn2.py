"""Train nn2: the same encoder, then an LSTM over the samples of one scene.

Reads   the dataset; for stage=second the nets of a run of stage=first
Writes  predictions/; a version of atma18-nn2
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
@options.causal
def main(data: str, preset: str, folds: str, fold_seed: int, seed: int, init: str, **given: Any) -> None:  # noqa: ANN401
    """Train nn2: the same encoder, then an LSTM over the samples of one scene."""
    with options.clear_messages():
        experiment = options.open_experiment(data, preset, folds, fold_seed, seed)
        config = experiment.preset.nn2.with_given(options.given(**given))
        step = pipeline.net("nn2", experiment, config, init=None if init == options.NONE else init)
    step.run()


if __name__ == "__main__":
    main()
