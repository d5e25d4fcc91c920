"""Messages of steps on the terminal, and the end of a step on wrong input or a full disk."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click

_LOG = logging.getLogger("atma18")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Terminal(logging.Handler):
    """Write each message as a line to standard error; standard output is for the result of a command."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(self.format(record), err=True)


@contextmanager
def clear_messages() -> Iterator[None]:
    """Show log messages; on wrong input or a full disk, end with the error message alone."""
    if not any(isinstance(handler, _Terminal) for handler in _LOG.handlers):
        _LOG.addHandler(_Terminal())
        _LOG.setLevel(logging.INFO)
    try:
        yield
    except ValueError as error:
        raise _message(str(error), error) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = error.filename or "a folder of the cache, the store or temporary files"
        what = f"{where}: expected room for what is made, found none ({error.strerror})"
        raise _message(
            f"{what}: free some or set ATMA18_CACHE to another disk, then give the command again", error
        ) from error


def _message(text: str, error: Exception) -> click.ClickException:
    return click.ClickException("\n".join([text, *getattr(error, "__notes__", [])]))
