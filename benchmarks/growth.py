"""Growth of time and memory with the number of samples: feeding, embed, scene features, blending; and nn1's memory.

Each is measured at 1, 4, 16 and 45 thousand samples of random numbers. The reference is linear growth: the time ratio
of the largest number of samples to four thousand, divided by the ratio of these numbers. Memory is that without a file
behind it (RssAnon), since the system drops the frames' pages from the page cache when it needs memory.

    python -m benchmarks.growth --quick
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import torch

from atma18 import backbones, embedding
from atma18.backbones import precision
from atma18.backbones.engine import Engine
from atma18.blending import convex_weights
from atma18.cache import Cache
from atma18.compute import Compute
from atma18.config import PRESETS, EmbedConfig, StageConfig
from atma18.features import feature_table
from atma18.nets import training
from atma18.nets.training.batches import Changes, Feed
from atma18.nets.training.trainer import Trainer
from atma18.schema import TARGETS, Samples
from benchmarks import blending, results
from benchmarks.embedding import AnonymousMemory, frames_on_disk
from benchmarks.features import make_samples

REFERENCE = "linear"
ROWS, QUICK_ROWS = (1_000, 4_000, 16_000, 45_098), (100, 200, 400)
BATCH = 128


@dataclass(frozen=True)
class Data:
    """Random samples, and a folder for what is made of them."""

    samples: Samples
    folder: Path


def feed(data: Data) -> None:
    """Bring every sample into a batch once, in random order, changed."""
    noise, source = torch.Generator().manual_seed(0), Feed((3, 64, 128), "cpu")
    order = np.random.default_rng(0).permutation(len(data.samples))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        source.batch(data.samples.frames.take(rows), Changes.draw(len(rows), 0.5, 0.2, noise))


def embed(data: Data) -> None:
    """Bring every frame's cells onto the disk."""
    config, machine, cache = EmbedConfig(), Compute.choose(), Cache.open(data.folder / "cache")
    config = replace(config, autocast=precision.of_embed(config, machine).bfloat16)
    backbone = backbones.build(config.backbone).freeze()
    engine = Engine.of(backbone, config.image_shape[1:], autocast=config.autocast)
    embedding.cached_cells(data.samples, "0" * 64, engine, config, machine.device, machine.threads, cache)


def tabulate(data: Data) -> None:
    """Work out every scene's features."""
    feature_table(data.samples, None, None, {}, cells=0, causal=False)


def blend(data: Data) -> Callable[[], object]:
    """Return what settles the weights of four inputs."""
    stack_m, targets_m = blending.predictions(4, len(data.samples))
    return lambda: convex_weights.exact(stack_m, targets_m)


WORK: dict[str, tuple[Callable[[Data], Callable[[], object]], int]] = {
    "feeding": (lambda data: lambda: feed(data), 9),
    "embed": (lambda data: lambda: embed(data), 1),  # the cache would answer a second time
    "features": (lambda data: lambda: tabulate(data), 5),
    "blending": (blend, 5),
}
"""Per name what prepares the work, and how often the work is done; the fastest counts, for others only add."""


def measure(data: Data, name: str) -> tuple[float, float]:
    """Do one kind of work: the seconds that it takes, and the most memory in GB."""
    prepare, times = WORK[name]
    work, seconds = prepare(data), []
    memory = AnonymousMemory()
    memory.start()
    for _ in range(times):
        started_s = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started_s)
    return min(seconds), memory.stop() / 1e9


def train_net(samples: Samples) -> float:
    """Train both stages of nn1 on four fifths of the samples; return the most memory in GB."""
    preset, machine = PRESETS["quick"].nn1, Compute.choose()
    first = StageConfig(BATCH, 2e-3, 1e-6, num_epochs=preset.cached_views)
    config = replace(preset, first=first, second=replace(first, num_epochs=1))
    targets_m = np.random.default_rng(0).normal(size=(len(samples), len(TARGETS)))
    rows = np.flatnonzero(np.arange(len(samples)) % 5 > 0)
    memory = AnonymousMemory()
    memory.start()
    model = training.first_model("nn1", config, samples, targets_m, rows)
    Trainer(config, model, samples, targets_m, rows, machine.device, 0, lambda _: None).run()
    return memory.stop() / 1e9


@click.command()
@click.option("--quick", is_flag=True, help=f"{', '.join(map(str, QUICK_ROWS))} samples instead of many thousands.")
@results.json_option
def main(quick: bool, file: Path | None) -> None:
    """Print seconds and memory of each kind of work at each size, and how they grow."""
    sizes = QUICK_ROWS if quick else ROWS
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
    for rows in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            samples = make_samples(rows)
            data = Data(replace(samples, frames=frames_on_disk(Path(scratch), len(samples))), Path(scratch))
            feed(data)  # brings the frames into the page cache
            for name, measured in figures.items():
                measured.append(measure(data, name))
                seconds, memory_gb = measured[-1]
                click.echo(f"{name:8} {rows:6} samples: {seconds:8.3f} s, {memory_gb:.2f} GB")
            net_gb = train_net(data.samples) if rows == sizes[-1] else 0.0
    found: dict[str, dict[str, float]] = {}
    for name, measured in figures.items():
        of_size = dict(zip(sizes, measured, strict=True))
        found[name] = {f"seconds_{rows}": seconds for rows, (seconds, _) in of_size.items()}
        found[name] |= {f"anonymous_gb_{rows}": memory_gb for rows, (_, memory_gb) in of_size.items()}
        growth = of_size[sizes[-1]][0] / of_size[sizes[1]][0] / (sizes[-1] / sizes[1])
        found[name]["growth"] = growth
        click.echo(f"{name:8} from {sizes[1]} to {sizes[-1]} samples: {growth:.2f} times {REFERENCE}")
    click.echo(f"nn1, both stages, {sizes[-1]} samples: {net_gb:.2f} GB")
    results.keep(file, found | {"nn1": {"anonymous_gb": net_gb}})


if __name__ == "__main__":
    main()
