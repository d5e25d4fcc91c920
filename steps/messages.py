"""How steps end where the input is wrong or the disk is full; on its own, for steps that start in a moment."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import click

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def clear_messages() -> Iterator[None]:
    """End with the message alone where the input is wrong, or no file can be written any more."""
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
