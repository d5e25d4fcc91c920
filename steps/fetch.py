"""Download the weights of a backbone: the one entry point that uses a network.

Reads   the source that the backbone's name identifies
Writes  the cache of the backbone's library, or the file in the backbone's name
"""

import click

from atma18.config import BACKBONES, LITE0
from steps.commands import command
from steps.messages import clear_messages


@command
@click.option("--backbone", default=LITE0, show_default=True, help=f"{BACKBONES}.")
def main(backbone: str) -> None:
    """Download the weights of a backbone, whole or not at all, and say what they are."""
    from atma18 import backbones

    with clear_messages():
        found = backbones.fetch(backbone)
    click.echo(f"fetch: {found}")
    for file in found.files:
        click.echo(f"  {file} ({file.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
