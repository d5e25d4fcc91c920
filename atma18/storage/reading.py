"""Files that somebody else made: plain ones, inside the folder that was named, and no larger than they need to be.

Otherwise a link could show a stranger's file in a message, a pipe would wait for ever, and one file fill the memory.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path


def stat_inside(path: str | Path, root: Path) -> os.stat_result:
    """Return what the file system says of a file or folder; only where it is a link, its target is looked up.

    Args:
        path: below `root`.
        root: the folder that was named, resolved.

    Raises:
        OSError: If there is none.
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
    return os.stat(path)  # noqa: PTH116 - for 135,000 frames a Path each would take as long again


def check_link(path: str | Path, root: Path) -> None:
    """Refuse a link that leaves `root`; whether anything is there is another question.

    Raises:
        ValueError: If it is one.
    """
    with suppress(OSError):
        stat_inside(path, root)


def read_bytes(path: Path, root: Path, most_bytes: int) -> bytes:
    """Read a whole file.

    Args:
        path: below `root`.
        root: the folder that was named, resolved.
        most_bytes: a larger file is refused unread.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no plain file, too large, not readable, or a link that leaves `root`.
    """
    try:
        stat_inside(path, root)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe is opened at once, and refused below
        with open(descriptor, "rb") as file:  # noqa: PTH123 - what is open already
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
    """Refuse a folder, a pipe, a socket and a device.

    Raises:
        ValueError: If it is one.
    """
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path}: expected a plain file, found something else: replace it")
