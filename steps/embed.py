"""Embed every frame with a frozen backbone.

Reads   the dataset
Writes  features/ (SVD per fold, similarities), predictions/ of a ridge probe; a version of atma18-embed
"""

from dataclasses import replace
from typing import Any

from atma18.config import EmbedConfig
from steps import options, typed
from steps.commands import command


@command
@options.shared
@options.of(EmbedConfig)
def main(setting: options.Setting, **given: Any) -> None:  # noqa: ANN401
    """Embed every frame: SVD of cell embeddings, similarity between frames, and a ridge probe on both."""
    from atma18.pipeline import embed

    with options.running("embed"):
        varied = typed.given(**given)
        context = setting.open(varied)
        embed.embed(context, replace(context.preset.embed, **varied)).run()


if __name__ == "__main__":
    main()
