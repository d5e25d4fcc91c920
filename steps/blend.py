"""Blend runs into one prediction.

Reads   predictions/ of the input runs
Writes  predictions/ (OOF cross-fitted), weights.json, submission.csv; a version of atma18-blend
"""

from dataclasses import replace
from pathlib import Path

import click

from atma18 import pipeline
from atma18.presets import scene_size_groups
from steps import options


@click.command()
@options.shared
@click.option("--inputs", default="nn1,nn2,gbdt", show_default=True, help="Runs, models:/ URIs or step names.")
@options.or_preset("groups", click.STRING, "Scene sizes that share weights, such as 1-2,3+.")
@options.out
def main(setting: options.Setting, inputs: str, groups: str | None, out: Path) -> None:
    """Blend the inputs with convex weights per scene-size group and write the submission."""
    with options.running("blend"):
        experiment = setting.open()
        config = experiment.preset.blend
        config = config if groups is None else replace(config, groups=scene_size_groups(groups))
        pipeline.deliver(pipeline.blend(experiment, config, inputs.split(",")).run(), out)


if __name__ == "__main__":
    main()
