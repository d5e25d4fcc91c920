"""Check the store: every run, version, alias and file.

Reads   all runs of this project with their files, the registry, the record of promotions
Writes  nothing; with repair=true it repairs what needs no decision by a person
"""

import click

from atma18.cache import Cache
from steps import typed
from steps.commands import command
from steps.messages import clear_messages


@command
@typed.flag("repair", False, "Mend what a machine may decide, then examine again.")
def main(repair: bool) -> None:
    """Say what is whole and what is broken; end with an error if anything is."""
    from atma18 import tracking

    with clear_messages(), tracking.reading():
        cache = Cache.open()
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
            raise ValueError(f"expected a store that is whole, found {len(found.findings)} things broken")


if __name__ == "__main__":
    main()
