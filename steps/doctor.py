"""Check the store: every run, version, alias and file.

Reads   all runs of this project with their files, the registry, the record of promotions
Writes  nothing; with repair=true it repairs what needs no decision by a person, with move_to it moves the store
"""

from pathlib import Path

import click

from atma18.cache import Cache
from steps import typed
from steps.commands import command
from steps.messages import clear_messages


@command
@typed.flag("repair", False, "Mend what a machine may decide, then examine again.")
@click.option(
    "--move_to",
    type=click.Path(path_type=Path),
    help="Folder that becomes the place of all files of the store, for a store that was moved or restored.",
)
def main(repair: bool, move_to: Path | None) -> None:
    """Say what is whole and what is broken; end with an error if anything is."""
    from atma18 import tracking

    with clear_messages(), tracking.reading():
        cache = Cache.open()
        if move_to is not None:
            with tracking.exclusive():
                click.echo(f"the files of {tracking.move(move_to)} runs are recorded in {move_to} now")
        found = tracking.examine(cache)
        for finding in found.findings if repair else []:
            if finding.repair is not None:
                finding.repair()
                click.echo(f"repaired {finding.where}: {finding.remedy}")
        if repair and any(finding.repair for finding in found.findings):
            found = tracking.examine(cache)
        click.echo("whole: " + (", ".join(f"{count} {kind}" for kind, count in found.whole.items()) or "nothing yet"))
        for line in found.unseen:
            click.echo(f"unknown: {line}")
        for finding in found.findings:
            click.echo(f"broken: {finding}")
        if found.findings:
            raise ValueError(f"expected a store that is whole, found {len(found.findings)} broken")


if __name__ == "__main__":
    main()
