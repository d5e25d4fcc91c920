"""The class of every entry point's command: it refuses unknown options before any work."""

import os
from collections.abc import Callable
from itertools import pairwise

import click


class StepCommand(click.Command):
    """A command that names the nearest option for a misspelt one, and refuses `help` as a parameter.

    `mlflow run` passes `-P name=1` on as `--name 1`. For a parameter `help`, click would print the options and exit
    without an error, and the run would be FINISHED with no work done.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line.

        Raises:
            click.UsageError: If an option is unknown, or `--help` has a value or is used under `mlflow run`.
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
    """Turn a function into the command of an entry point."""
    return click.command(cls=StepCommand)(function)


def _asks_for_help_as_a_parameter(args: list[str]) -> bool:
    under_mlflow_run = bool(os.environ.get("MLFLOW_RUN_ID"))
    followed = any(word == "--help" and not after.startswith("-") for word, after in pairwise(args))
    return followed or ("--help" in args and under_mlflow_run)
