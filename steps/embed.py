"""Embed every frame with a frozen backbone.

Reads   the dataset
Writes  features/ (SVD per fold, similarities), predictions/ of a ridge probe; a version of atma18-embed
"""

from dataclasses import replace

import click

from atma18 import pipeline
from steps import options


@click.command()
@options.shared
@options.backbone
@options.or_preset("svd_components", click.INT, "Components kept per cell.")
@options.or_preset("waves", click.INT, "Random cosines that the probe reads beside the features.")
def main(setting: options.Setting, backbone: str | None, svd_components: int | None, waves: int | None) -> None:
    """Embed every frame: SVD of cell embeddings, similarity between frames, and a ridge probe on both."""
    with options.running("embed"):
        experiment = setting.open()
        given = options.given(backbone=backbone, svd_components=svd_components, waves=waves)
        pipeline.embed(experiment, replace(experiment.preset.embed, **given)).run()


if __name__ == "__main__":
    main()
