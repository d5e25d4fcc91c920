"""Bundles: a model with all its upstreams as plain files.

`files` reads and checks a bundle's folder, `steps` lists the steps and `model` is the protocol of their models,
`bundled_models` builds the models, `servable` writes, loads and predicts, `forecast` predicts whole datasets.
"""

from atma18.bundle.files import BUNDLE_SHA256, FILE, OBJECTS, Bundle, Entry, write

__all__ = ["BUNDLE_SHA256", "FILE", "OBJECTS", "Bundle", "Entry", "write"]
