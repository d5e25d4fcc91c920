"""Serve a registered version over HTTP, and follow its alias: a promotion or rollback reaches clients by itself.

Reads   the registry, the files of the version
Writes  nothing but a log
"""

import logging
import sys
from functools import partial

import click

from atma18.cache import Cache
from steps import typed
from steps.commands import command
from steps.messages import clear_messages

_DRAIN_S = 30
"""The time in which requests are answered that had come before the service was told to stop."""


@command
@click.option("--model", default="models:/atma18-blend@champion", show_default=True, help="A models:/ URI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 is every one.")
@click.option("--port", default=5001, show_default=True, type=click.IntRange(1, 65535), help="Port to listen at.")
@typed.flag("follow", True, "Change to another version when the alias names one; a version by number stays.")
def main(model: str, host: str, port: int, follow: bool) -> None:
    """Answer POST /invocations; GET /health, /ready, /version and /metrics say how it does."""
    sys.modules["sklearn"] = None  # type: ignore[assignment] # XGBoost would import it, for two seconds and no use
    import uvicorn

    from atma18 import tracking
    from atma18.serving.app import Service
    from atma18.serving.follow import Follower
    from atma18.serving.watching import log

    with clear_messages(), tracking.reading():
        cache = Cache.open()
        found = tracking.version_named(model)
        first = tracking.bring(found.model, found.number, cache)
        follower = Follower(
            first, lambda: tracking.version_named(model).number, partial(tracking.bring, found.model, cache=cache)
        )
        service = Service(follower, follows=follow and found.by_alias)
        log.addHandler(logging.StreamHandler(sys.stdout))
        log.propagate = False
        rehearsed = f"{first.rehearsed} samples answered as stored" if first.rehearsed else "it carries no rehearsal"
        click.echo(f"serve: {first.model} {first.version} (run {first.run_id}; {rehearsed})", err=True)
        click.echo(f"serve: POST http://{host}:{port}/invocations; stop with Ctrl-C", err=True)
        uvicorn.run(
            service, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=_DRAIN_S
        )


if __name__ == "__main__":
    main()
