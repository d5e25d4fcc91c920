"""Upload results that are not in the store because an upload failed.

Reads   the results that the cache keeps for this store
Writes  their runs and versions, as they would have been without the failure
"""

import click

from atma18.cache import Cache
from steps.commands import command
from steps.messages import clear_messages


@command
def main() -> None:
    """Deliver every result that was kept because the store was away; what it takes is no longer kept."""
    from atma18 import tracking

    with clear_messages(), tracking.reading():
        uploaded = tracking.upload_kept(Cache.open())
        click.echo(f"{len(uploaded)} results uploaded" if uploaded else "nothing was kept for this store")


if __name__ == "__main__":
    main()
