"""The graphs of backbones, made once for all tests: an export takes seconds, and every store has a cache of its own."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from atma18.backbones.graph import KIND
from atma18.cache import Cache


@contextmanager
def lent(folder):
    """Fill the cache of a store with the graphs of earlier tests, and keep those that are made in it."""
    shared = Cache.open(Path(tempfile.gettempdir()) / f"atma18-graphs-of-tests-{os.getuid()}")
    ours = Cache.open(Path(folder))
    _copy(shared, ours)
    try:
        yield
    finally:
        _copy(ours, shared)


def _copy(source, target):
    for entry in source.entries(KIND):
        place = source.place(KIND, entry.key)
        target.get(KIND, entry.key, lambda path, place=place: shutil.copyfile(place, path))
