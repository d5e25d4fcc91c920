"""Speed and memory of embedding all frames with a frozen backbone, as half-precision cells on disk.

The reference is the rate of the forward pass alone: the same backbone on a batch of floats in memory, with the results
discarded. Frames are random bytes, since their content makes no difference. Memory is that without a file behind it
(RssAnon).

    python -m benchmarks.embedding --quick
"""

import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np
import torch

from atma18 import backbones, embedding
from atma18.backbones import Backbone, precision
from atma18.backbones.engine import Engine
from atma18.cache import Cache
from atma18.compute import Compute, inference
from atma18.config import EmbedConfig
from atma18.schema import FRAME_FILES, FRAME_HEIGHT_PX, FRAME_WIDTH_PX, FrameRows, Samples
from benchmarks import results
from benchmarks.features import make_samples

REFERENCE = "bare forward rate"
ROWS, QUICK_ROWS = 45_098, 1_000
BARE_BATCHES = 24


class AnonymousMemory(threading.Thread):
    """Watches the memory of this process that no file backs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_bytes, self.over = 0, threading.Event()

    def run(self) -> None:
        """Look ten times a second."""
        while not self.over.wait(0.1):
            self.most_bytes = max(self.most_bytes, anonymous_bytes())

    def stop(self) -> int:
        """Return the most that was seen."""
        self.over.set()
        self.join()
        return self.most_bytes


def anonymous_bytes() -> int:
    """Return the memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def frames_on_disk(folder: Path, rows: int) -> FrameRows:
    """Write random frames as the frame store has them."""
    pixel = FRAME_HEIGHT_PX, FRAME_WIDTH_PX, len(FRAME_FILES), 3
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=(rows, *pixel))
    rng = np.random.default_rng(0)
    for start in range(0, rows, 1000):
        pixels[start : start + 1000] = rng.integers(0, 256, (min(1000, rows - start), *pixel), dtype=np.uint8)
    pixels.flush()
    return FrameRows.of(FrameRows.frames_first(np.load(folder / "pixels.npy", mmap_mode="r")))


def bare_samples_per_s(backbone: Backbone, config: EmbedConfig, samples: Samples) -> float:
    """Run the backbone over the same batch again and again."""
    frames = torch.from_numpy(samples.frames[: config.inference_batch])
    images = inference.single_images(frames)
    seconds = []
    with torch.inference_mode(), inference.autocast("cpu", config.autocast):
        for _ in range(BARE_BATCHES):
            started_s = time.perf_counter()
            backbone(images)
            seconds.append(time.perf_counter() - started_s)
    return config.inference_batch / float(np.median(seconds))


def measure(folder: Path, rows: int) -> dict[str, float]:
    """Embed all rows, between two measurements of the bare rate."""
    samples = make_samples(rows)
    samples = Samples(samples.ids, samples.signals, None, None, frames_on_disk(folder, len(samples)))
    cache = Cache.open(folder / "cache")
    config = EmbedConfig(autocast=precision.of_embed(EmbedConfig(), Compute.choose()).bfloat16)
    backbone = backbones.build(config.backbone).freeze().eval()
    engine = Engine.of(backbone, config.image_shape[1:], autocast=config.autocast)
    before = bare_samples_per_s(backbone, config, samples)
    memory = AnonymousMemory()
    memory.start()
    started_s = time.perf_counter()
    threads = torch.get_num_threads()
    cells = embedding.cached_cells(samples, "0" * 64, engine, config, "cpu", threads, cache)
    seconds = time.perf_counter() - started_s
    most_bytes = memory.stop()
    bare = (before + bare_samples_per_s(backbone, config, samples)) / 2
    return {
        "rows": len(samples),
        "samples_per_s": len(samples) / seconds,
        "bare_samples_per_s": bare,
        "share_of_bare": len(samples) / seconds / bare,
        "anonymous_gb": most_bytes / 1e9,
        "cells_gb": cells.nbytes / 1e9,
    }


@click.command()
@click.option("--rows", default=ROWS, show_default=True, help="Samples of three frames.")
@click.option("--quick", is_flag=True, help=f"{QUICK_ROWS} samples.")
@results.json_option
def main(rows: int, quick: bool, file: Path | None) -> None:
    """Print samples per second beside the bare rate, and the memory."""
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch), QUICK_ROWS if quick else rows)
    click.echo(
        f"{found['rows']} samples: {found['samples_per_s']:.0f} /s, {REFERENCE} {found['bare_samples_per_s']:.0f} /s, "
        f"share {found['share_of_bare']:.1%}; anonymous memory {found['anonymous_gb']:.2f} GB, "
        f"cells on disk {found['cells_gb']:.2f} GB"
    )
    results.keep(file, found)


if __name__ == "__main__":
    main()
