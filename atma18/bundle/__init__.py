"""A model with all its upstreams as plain files: write, check, load, predict."""

from atma18.bundle.files import BUNDLE_SHA256, FILE, OBJECTS, Bundle, Entry, write

__all__ = ["BUNDLE_SHA256", "FILE", "OBJECTS", "Bundle", "Entry", "write"]
