"""Stopwatch: the time, the throughput and the peak memory of a phase."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

_SAMPLING_S = 0.05


@dataclass
class Phase:
    """A phase of a step; its figures are set when it ends."""

    name: str
    samples: int
    """Number of samples in the phase, or 0 if it has none; may be set during the phase."""
    figures: dict[str, float] = field(default_factory=dict)
    """`<name>/seconds`, `<name>/samples_per_s` and `<name>/peak_memory_gb` (resident, this process)."""

    def __str__(self) -> str:
        seconds, peak_gb = (self.figures[f"{self.name}/{name}"] for name in ("seconds", "peak_memory_gb"))
        rate = f", {self.samples / seconds:,.0f} samples/s" if self.samples else ""
        return f"{self.name} took {seconds:.1f} s{rate}, at most {peak_gb:.2f} GB"


@contextmanager
def timed(name: str, samples: int = 0) -> Iterator[Phase]:
    """Measure a phase."""
    phase, process, over = Phase(name, samples), psutil.Process(), threading.Event()
    peak_bytes = [process.memory_info().rss]

    def watch() -> None:
        while not over.wait(_SAMPLING_S):
            peak_bytes[0] = max(peak_bytes[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    started = time.perf_counter()
    watcher.start()
    try:
        yield phase
    finally:
        seconds = time.perf_counter() - started
        over.set()
        watcher.join()
        phase.figures |= {f"{name}/seconds": seconds, f"{name}/peak_memory_gb": peak_bytes[0] / 1e9}
        if phase.samples:
            phase.figures[f"{name}/samples_per_s"] = phase.samples / seconds
