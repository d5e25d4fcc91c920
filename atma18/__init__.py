"""Predict the position of a car in the next three seconds from three frames and its CAN signals."""

import os

# Batches of scenes have many sizes, and oneDNN compiles each layer for each size. With its default capacity of 1,024 it
# compiles the same ones repeatedly. It reads this variable once, on first use.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
# On some processors, the last bit of MKL's products depends on the memory address of a matrix, and so on the other
# samples of a request. STRICT prevents that at no measurable cost; it is read once, too.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# The download of weights sends no telemetry.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> None:
    """Say what to do where a stored model brings code of a layout that this process does not have."""
    if name in ("guard", "servable"):  # what the code of models imports that were logged before 2026-11-27
        raise ImportError(
            f"expected a process without another atma18, found {__file__}: this model brings its own, earlier code; "
            "load it in a process of its own, or use python -m steps.predict"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
