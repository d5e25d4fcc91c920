"""The kind of command that every entry point is: what cannot be asked for ends it at once, before any work."""

import os
from collections.abc import Callable
from itertools import pairwise

import click


class StepCommand(click.Command):
    """A command that tells a misspelt option from help that somebody wants.

    `mlflow run` hands `-P name=1` on as `--name 1`. For `help` click would print the options and end well, and the run
    would be FINISHED with nothing done.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line.

        Raises:
            click.UsageError: If there is no such option, or help is asked for where a run is open or a value follows.
        """
        if _asks_for_help_as_a_parameter(args):
            raise click.UsageError("expected parameters, found help, which is none", ctx)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.NoSuchOption(
                error.option_name, possibilities=(error.possibilities or [])[:1], ctx=ctx
            ) from None


def command(function: Callable[..., None]) -> click.Command:
    """Make a function the command of an entry point."""
    return click.command(cls=StepCommand)(function)


def _asks_for_help_as_a_parameter(args: list[str]) -> bool:
    under_mlflow_run = bool(os.environ.get("MLFLOW_RUN_ID"))
    followed = any(word == "--help" and not after.startswith("-") for word, after in pairwise(args))
    return followed or ("--help" in args and under_mlflow_run)
