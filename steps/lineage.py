"""Show the inputs of a run, down to the data, and the runs that used it.

Reads   the tags, versions and files of runs
Writes  nothing
"""

import click

from atma18.cache import Cache
from steps.commands import command
from steps.messages import clear_messages


@command
@click.option("--model", default="models:/atma18-blend@candidate", show_default=True, help="A run, or a models:/ URI.")
def main(model: str) -> None:
    """Draw the tree of a run's inputs down to the data digest, then the way up to every run that used it.

    A run that is deleted, missing, unfinished or changed is shown in its place, with what is wrong.
    """
    from atma18 import tracking

    with clear_messages(), tracking.reading():
        lineage = tracking.trace(model, Cache.open())
    click.echo(tracking.as_tree(lineage))


if __name__ == "__main__":
    main()
