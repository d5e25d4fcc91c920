"""Read untrusted files: plain files only, inside the named folder, up to a size limit.

Otherwise a link could show the content of another file in a message, a pipe could block for ever, and a large file
could fill the memory.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path


def stat_inside(path: str | Path, root: Path) -> os.stat_result:
    """Return the status of a file or folder, or of the target if it is a link.

    Args:
        path: below `root`.
        root: the named folder, with links resolved.

    Raises:
        OSError: If it does not exist.
        ValueError: If it is a link that leaves `root`.
    """
    found = os.lstat(path)
    if not stat.S_ISLNK(found.st_mode):
        return found
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(root):
        raise ValueError(
            f"{path}: expected a file or folder inside {root}, found a link to {target}: copy what it points at, or "
            "mount it there"
        )
    return os.stat(path)  # noqa: PTH116 - a Path for each of 135,000 frames would double the time


def check_link(path: str | Path, root: Path) -> None:
    """Refuse a link that leaves `root`; accept a path that does not exist.

    Raises:
        ValueError: If it is such a link.
    """
    with suppress(OSError):
        stat_inside(path, root)


def read_bytes(path: Path, root: Path, most_bytes: int) -> bytes:
    """Read a whole file.

    Args:
        path: below `root`.
        root: the named folder, with links resolved.
        most_bytes: the size limit; a larger file is refused before it is read.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it is no plain file, too large, not readable, or a link that leaves `root`.
    """
    try:
        stat_inside(path, root)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # O_NONBLOCK opens a pipe at once; it is refused below
        with open(descriptor, "rb") as file:  # noqa: PTH123 - it is a descriptor
            found = os.fstat(descriptor)
            check_plain(path, found)
            if found.st_size > most_bytes:
                raise ValueError(
                    f"{path}: expected at most {most_bytes:,} bytes, found {found.st_size:,}: is it the right file?"
                )
            return file.read(found.st_size)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path}: expected a file that can be read, found none ({error.strerror})") from error


def check_plain(path: str | Path, found: os.stat_result) -> None:
    """Refuse everything but a plain file: a folder, a pipe, a socket, a device.

    Raises:
        ValueError: If it is no plain file.
    """
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path}: expected a plain file, found something else: replace it")
