"""How fast samples reach a net: batches from the frame store beside the published way, on one core.

The reference reads three PNG files per sample, resizes and changes them one by one, stacks them, and collates a batch:
the published data loader, written anew with Pillow and numpy. Ours indexes the memory-mapped store and resizes and
changes whole batches.

    python -m benchmarks.feeding --quick
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from atma18 import simulate
from atma18.cache import Cache
from atma18.dataset import Dataset
from atma18.schema import FRAME_FILES, IntArray
from atma18.training.batches import Changes, Feed
from benchmarks import results

REFERENCE = "one PNG after the other"
SIZES_PX = ((64, 128), (224, 224))
BATCH = 128
PROBABILITY, STRENGTH = 0.5, 0.2


def reference_batches(dataset: Dataset, order: IntArray, size_px: tuple[int, int]) -> Iterator[Tensor]:
    """Yield (B, 9, H, W) batches as the published loader makes them, a sample at a time."""
    rng = np.random.default_rng(0)
    for start in range(0, len(order), BATCH):
        yield torch.stack([_sample(dataset, row, size_px, rng) for row in order[start : start + BATCH].tolist()])


def _sample(dataset: Dataset, row: int, size_px: tuple[int, int], rng: np.random.Generator) -> Tensor:
    folder = dataset.folder / "images" / str(dataset.train.ids[row])
    frames = [Image.open(folder / name).convert("RGB") for name in FRAME_FILES]
    height, width = size_px
    resized = [f if f.size == (width, height) else f.resize((width, height), Image.Resampling.BICUBIC) for f in frames]
    images = np.concatenate([np.asarray(f) for f in resized], axis=2).astype(np.float32) / 255.0
    if rng.random() < PROBABILITY:
        contrast, brightness = 1 + STRENGTH * rng.uniform(-1, 1), STRENGTH * rng.uniform(-1, 1)
        images = np.clip(images * contrast + brightness, 0.0, 1.0).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(images.transpose(2, 0, 1)))


def our_batches(dataset: Dataset, order: IntArray, size_px: tuple[int, int]) -> Iterator[Tensor]:
    """Yield (B, 9, H, W) batches as the trainer makes them."""
    noise, feed = torch.Generator().manual_seed(0), Feed(dataset.train.frames, size_px, "cpu")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield feed.batch(rows, Changes.draw(len(rows), PROBABILITY, STRENGTH, noise))


def samples_per_s(batches: Callable[[], Iterator[Tensor]]) -> float:
    """Go once through the batches and measure."""
    started_s, samples = time.perf_counter(), 0
    for batch in batches():
        samples += len(batch)
    return samples / (time.perf_counter() - started_s)


def measure(dataset: Dataset, size_px: tuple[int, int], rounds: int) -> dict[str, float]:
    """Go through all samples both ways, in turn; the medians."""
    order = np.random.default_rng(0).permutation(len(dataset.train))
    few = order[: 4 * BATCH]  # the reference takes long, and does not get faster
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(samples_per_s(lambda: our_batches(dataset, order, size_px)))
        theirs.append(samples_per_s(lambda: reference_batches(dataset, few, size_px)))
    found = {"samples_per_s": float(np.median(ours)), "reference_samples_per_s": float(np.median(theirs))}
    return found | {"ratio": found["samples_per_s"] / found["reference_samples_per_s"]}


@click.command()
@click.option("--scenes", default=905, show_default=True, help="Simulated training scenes.")
@click.option("--quick", is_flag=True, help="100 scenes, and fewer rounds.")
@results.json_option
def main(scenes: int, quick: bool, file: Path | None) -> None:
    """Print samples per second both ways, on one core, and their ratio."""
    torch.set_num_threads(1)
    scenes, rounds = (100, 3) if quick else (scenes, 5)
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        simulate.write_drives(Path(scratch) / "drives", simulate.Plan(scenes, 1, seed=0), workers=2)
        dataset = Dataset.open(str(Path(scratch) / "drives"), Cache.open(Path(scratch) / "cache"))
        for size_px in SIZES_PX:
            figures = found["x".join(map(str, size_px))] = measure(dataset, size_px, rounds)
            click.echo(
                f"{size_px[0]:3} x {size_px[1]} px: {figures['samples_per_s']:8.0f} samples/s, {REFERENCE} "
                f"{figures['reference_samples_per_s']:6.0f}, ratio {figures['ratio']:.1f}"
            )
    results.keep(file, found)


if __name__ == "__main__":
    main()
