"""What the machine offers: device, threads, batches of one size, progress and stopwatch."""

from atma18.compute.machine import (
    Compute,
    autocast,
    images,
    resized,
    run_padded,
    single_images,
    stacked,
    stacked_images,
)

__all__ = ["Compute", "autocast", "images", "resized", "run_padded", "single_images", "stacked", "stacked_images"]
