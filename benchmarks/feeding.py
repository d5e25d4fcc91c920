"""Speed of loading batches for a net: from the frame store, beside the published method, on one core.

The reference reimplements the published data loader: torch's DataLoader collates samples whose three PNG files are
read, resized, augmented and stacked one by one, here with Pillow and numpy. With albumentations 1.4.24, which the
published code uses, it was slower at native size and faster at 224 px: 475 and 248 samples/s, here 710 and 160.

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
from atma18.data.dataset import Dataset
from atma18.nets.training.batches import Changes, Feed
from atma18.schema import FRAME_FILES, IntArray, UInt8Array
from benchmarks import results

REFERENCE = "one PNG after the other"
SIZES_PX = ((64, 128), (224, 224))
BATCH = 128
PROBABILITY, STRENGTH = 0.5, 0.2


class PublishedFrames(torch.utils.data.Dataset[Tensor]):
    """Samples as the published loader makes them: a change is drawn for the first frame and replayed on the others."""

    def __init__(self, dataset: Dataset, rows: IntArray, size_px: tuple[int, int]) -> None:
        self.folders = [dataset.folder / "images" / str(dataset.train.ids[row]) for row in rows.tolist()]
        self.size_px, self.rng = size_px, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> Tensor:
        """Return (9, H, W) in [0, 1]."""
        images, change = [], None
        for name in FRAME_FILES:
            image = np.array(self._resized(Image.open(self.folders[index] / name).convert("RGB")))
            change = self._drawn() if change is None else change
            images.append(change[image].astype(np.float32) / 255)
        return torch.tensor(np.concatenate(images, axis=2).transpose(2, 0, 1))

    def _resized(self, image: Image.Image) -> Image.Image:
        height, width = self.size_px
        same = image.size == (width, height)
        return image if same else image.resize((width, height), Image.Resampling.BICUBIC)

    def _drawn(self) -> UInt8Array:
        """Return what becomes of each of the 256 values."""
        contrast, brightness = 1.0, 0.0
        if self.rng.random() < PROBABILITY:
            contrast, brightness = 1 + STRENGTH * self.rng.uniform(-1, 1), STRENGTH * self.rng.uniform(-1, 1)
        return np.asarray(np.clip(np.arange(256) * contrast + 255 * brightness, 0, 255), np.uint8)


def reference_batches(dataset: Dataset, order: IntArray, size_px: tuple[int, int]) -> Iterator[Tensor]:
    """Return (B, 9, H, W) batches as the published loader makes them, a sample at a time."""
    return iter(torch.utils.data.DataLoader(PublishedFrames(dataset, order, size_px), batch_size=BATCH))


def our_batches(dataset: Dataset, order: IntArray, size_px: tuple[int, int]) -> Iterator[Tensor]:
    """Yield (B, 9, H, W) batches as the trainer makes them."""
    noise, feed = torch.Generator().manual_seed(0), Feed((len(FRAME_FILES), *size_px), "cpu")
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield feed.batch(dataset.train.frames.take(rows), Changes.draw(len(rows), PROBABILITY, STRENGTH, noise))


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
