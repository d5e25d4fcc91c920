"""Computing: `machine` chooses the device and runs nets, `progress` shows bars, `stopwatch` measures phases."""

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
