"""How steps end where the input is wrong; on its own, for steps that start in a moment."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def clear_messages() -> Iterator[None]:
    """End with the message alone where the input is wrong."""
    try:
        yield
    except ValueError as error:
        raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
