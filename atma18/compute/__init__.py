"""Computing: `machine` chooses the device, `inference` runs nets, `progress` has bars, `stopwatch` measures phases."""

from atma18.compute.machine import Compute

__all__ = ["Compute"]
