"""A cache of files that can be made again: keyed by content, shared by processes, with automatic removal.

`entries` is the cache, `locks` its locks between processes, and `settings` reads its folder and size limit.

The cache is a folder of `<kind>/<key>`. Four rules keep it consistent with any number of processes, even killed ones:

- an entry is written beside its final path under a lock, renamed when it is complete, and its size is recorded;
- the writer of an entry holds a lock, so the unfinished files of a killed writer are recognised and removed;
- an entry that a process has asked for is in use until the process ends, and is not removed;
- the operating system releases a lock when its process ends.
"""

from atma18.cache.entries import CHECKPOINTS, FOLDS, OUTBOX, Cache, Entry, surplus, unused_since
from atma18.cache.settings import default_limit_bytes, default_root, limit_bytes

__all__ = [
    "CHECKPOINTS",
    "FOLDS",
    "OUTBOX",
    "Cache",
    "Entry",
    "default_limit_bytes",
    "default_root",
    "limit_bytes",
    "surplus",
    "unused_since",
]
