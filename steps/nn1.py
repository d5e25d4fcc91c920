"""Train nn1: three frames and the CAN signals of one sample to its waypoints.

Reads   the dataset; for stage=second the nets of a run of stage=first
Writes  predictions/; a version of atma18-nn1
"""

from typing import Any

import click

from atma18 import pipeline
from steps import options, typed


@click.command()
@options.shared
@options.backbone()
@options.stages
@options.net()
@options.causal
def main(setting: options.Setting, init: str | None, **given: Any) -> None:  # noqa: ANN401
    """Train nn1: three frames and the CAN signals of one sample to its waypoints."""
    with options.running("nn1"):
        varied = typed.given(**given)
        context = setting.open(varied)
        config = context.preset.nn1.with_given(varied)
        pipeline.net("nn1", context, config, init=init).run()


if __name__ == "__main__":
    main()
