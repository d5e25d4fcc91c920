"""Where things that can be made again are kept: by content, complete or absent, shared by processes, and cleaned.

The cache is a folder of `<kind>/<key>`. Four rules keep it sound, however many processes use it and however they end:

- an entry is made beside its place and renamed when it is whole, under a lock of its own, and its size is noted;
- what is being made is locked by its maker, so what a killed maker left is known as such, and removed;
- what a process has asked for is held until it ends, and nobody removes what is held;
- a lock ends with its process, by the operating system's word.
"""

from atma18.cache.entries import CHECKPOINTS, FOLDS, OUTBOX, PRECISION, Cache, Entry, surplus, unused_since
from atma18.cache.settings import default_limit_bytes, default_root, limit_bytes

__all__ = [
    "CHECKPOINTS",
    "FOLDS",
    "OUTBOX",
    "PRECISION",
    "Cache",
    "Entry",
    "default_limit_bytes",
    "default_root",
    "limit_bytes",
    "surplus",
    "unused_since",
]
