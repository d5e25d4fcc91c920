"""Record which files this process opens, creates, moves and removes."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

_PATHS = {"open": 1, "os.listdir": 1, "os.scandir": 1, "os.mkdir": 1, "os.rmdir": 1, "os.remove": 1, "os.truncate": 1}
_PATHS |= {"os.chmod": 1, "os.chown": 1, "os.utime": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2}
_PATHS |= {"shutil.copyfile": 2, "shutil.move": 2, "shutil.rmtree": 1, "shutil.copytree": 2}
_READING = {"os.listdir", "os.scandir"}
_BELOW = {"os.remove", "os.rmdir", "os.mkdir"}  # their last argument is an open folder, or -1
_READABLE = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parent.parent]
_READABLE += [Path(place) for place in ("/proc", "/sys", "/dev/null", "/usr", "/lib", "/etc", "/dev/urandom")]

_watchers = []


def _hook(event, args):
    """An audit hook; it cannot be removed, and does nothing while no test records."""
    if not _watchers or event not in _PATHS:
        return
    writes = event not in _READING
    if event == "open":
        flags = args[2] if isinstance(args[2], int) else 0
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
    base = f"/proc/self/fd/{args[-1]}" if event in _BELOW and args[-1] >= 0 else "."
    for path in args[: _PATHS[event]]:
        if isinstance(path, str | bytes | os.PathLike):
            _watchers[-1].append((event, writes, Path(os.path.realpath(Path(base) / os.fsdecode(path)))))


sys.addaudithook(_hook)


@contextmanager
def watched():
    """Yield a growing list of accesses: the event, whether it writes, and the path without links."""
    seen = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)


def outside(seen, *folders):
    """Return the accesses outside the folders; reads of Python and the system are allowed."""
    allowed = [Path(folder).resolve() for folder in folders]

    def may(writes, path):
        return any(path.is_relative_to(place) for place in (allowed if writes else [*allowed, *_READABLE]))

    return [(event, str(path)) for event, writes, path in seen if not may(writes, path)]
