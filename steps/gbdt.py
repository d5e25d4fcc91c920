"""Fit boosted trees on all features of a sample.

Reads   the dataset; features/ of embed, predictions/ of nn1 and nn2
Writes  predictions/, feature_importance.parquet; a version of atma18-gbdt
"""

from dataclasses import replace
from typing import Any

import click

from atma18.config import GbdtConfig
from steps import options, typed
from steps.commands import command


@command
@options.shared
@click.option("--embed", default="embed", show_default=True, help="A run, a models:/ URI, or embed: the newest.")
@click.option("--nn1", default="nn1", show_default=True, help="A run, a models:/ URI, or nn1: the newest.")
@click.option("--nn2", default="nn2", show_default=True, help="A run, a models:/ URI, or nn2: the newest.")
@options.of(GbdtConfig)
def main(setting: options.Setting, embed: str, nn1: str, nn2: str, **given: Any) -> None:  # noqa: ANN401
    """Boost one model per target and fold on CAN, scene features, embeddings and the nets' OOF predictions."""
    from atma18.pipeline import gbdt

    with options.running("gbdt"):
        context = setting.open()
        config = replace(context.preset.gbdt, **typed.given(**given))
        gbdt.gbdt(context, config, {"embed": embed, "nn1": nn1, "nn2": nn2}).run()


if __name__ == "__main__":
    main()
