"""Speed of the nets' training in both stages, beside the hardware's limit and beside the published method.

Stage two: nn1 and nn2 end to end, beside the limit: the same net, optimiser and batches on tensors in memory. Stage
one: the head on a frozen backbone that encodes each view once, beside the published method, in which the backbone runs
again in every epoch; with the out-of-fold MAE of both, for three seeds.

    python -m benchmarks.training --quick
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from atma18 import metrics, simulate
from atma18.backbones import precision
from atma18.cache import Cache
from atma18.compute import Compute, inference
from atma18.config import PRESETS, NetConfig, StageConfig
from atma18.data.dataset import Dataset
from atma18.nets import NETS, SceneLayout, training
from atma18.nets.model import unit_lengths
from atma18.nets.scaling import Scaling
from atma18.nets.training import Epoch
from atma18.nets.training.batches import Units
from atma18.nets.training.trainer import Trainer
from atma18.schema import IntArray
from benchmarks import results

CEILING = "the same net on tensors in memory"
REFERENCE = "the frozen backbone in every epoch"
FIRST = StageConfig(batch_size=128, learning_rate=2e-3, weight_decay=1e-6, num_epochs=20)
SEEDS = (0, 1, 2)
VIEWS = (1, 4)


def config_of(step: str, **changed: object) -> NetConfig:
    """Return the published net on the bundled backbone at native size."""
    published: NetConfig = getattr(PRESETS["seed-small"], step)
    chosen = precision.of_net(published, Compute.choose())
    return replace(published, autocast=chosen.bfloat16, **changed)  # type: ignore[arg-type]


def two_parts(dataset: Dataset) -> IntArray:
    """Return 1 for every fifth scene, which is predicted, and 0 for those that are trained on."""
    _, scene = np.unique(dataset.train.scenes, return_inverse=True)
    return np.asarray(scene % 5 == 0, np.int64)


def our_samples_per_s(step: str, dataset: Dataset, epochs: int) -> float:
    """Train stage two, and take the median epoch after the first."""
    stamps: list[float] = []
    samples = 0

    def on_epoch(epoch: Epoch) -> None:
        nonlocal samples
        if epoch.fold == 1:
            samples = epoch.samples
            stamps.append(time.perf_counter())

    second = replace(config_of(step).second, num_epochs=epochs + 1, patience=None)
    folds = 1 - two_parts(dataset)  # fold 1 is trained on every fifth scene
    config = config_of(step, stage="both", first=replace(FIRST, num_epochs=1), second=second, cached_views=1)
    training.train(step, config, dataset.train, dataset.targets_m, folds, Compute.choose(), on_epoch=on_epoch)
    return samples / float(np.median(np.diff(stamps[1:])))


def ceiling_samples_per_s(step: str, dataset: Dataset, epochs: int) -> float:
    """Train the same net on batches that are made beforehand."""
    config = config_of(step)
    rows = np.flatnonzero(two_parts(dataset) == 1)
    scaling = Scaling.fit(config, dataset.train, dataset.targets_m, rows)
    net = NETS[step](config, scaling.width).train()
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4, fused=True)
    batches = list(_batches(step, dataset, rows, config, scaling))
    seconds = []
    for _ in range(epochs + 1):
        started_s = time.perf_counter()
        for images, signals, outputs, layout in batches:
            loss = (net.decode(net.encoder(images, signals), layout) - outputs).abs().mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        seconds.append(time.perf_counter() - started_s)
    return len(rows) / float(np.median(seconds[1:]))


def _batches(
    step: str, dataset: Dataset, rows: IntArray, config: NetConfig, scaling: Scaling
) -> Iterator[tuple[Tensor, Tensor, Tensor, SceneLayout]]:
    net = NETS[step](config, scaling.width)
    units = Units(rows, unit_lengths(net, dataset.train.scenes[rows]))
    signals = torch.from_numpy(scaling.inputs(dataset.train))
    outputs = torch.from_numpy(scaling.outputs(dataset.train, dataset.targets_m))
    order = np.random.default_rng(0).permutation(len(units))
    for chosen in np.array_split(order, -(-len(units) // config.second.batch_size)):
        taken, lengths = units.take(chosen)
        images = inference.stacked_images(torch.from_numpy(dataset.train.frames[taken]), config.image_shape[1:])
        yield images, signals[taken], outputs[taken], SceneLayout.of(lengths)


def first_stage(dataset: Dataset, views: int | None, seed: int) -> tuple[float, float]:
    """Train the head of nn1 for 20 epochs: seconds, and the MAE of the scenes that were left out, metres.

    Args:
        dataset: the drives.
        views: so many views are looked at once; None runs the backbone in every epoch.
        seed: of the training.
    """
    folds = two_parts(dataset)
    config = config_of("nn1", stage="first", first=FIRST, seed=seed, cached_views=views or 1, target="residual")
    machine, trainer = Compute.choose(), Trainer if views else _PublishedTrainer
    rows, left_out = np.flatnonzero(folds == 0), np.flatnonzero(folds == 1)
    torch.manual_seed(seed)
    model = training.first_model("nn1", config, dataset.train, dataset.targets_m, rows)
    started_s = time.perf_counter()
    trained = trainer(config, model, dataset.train, dataset.targets_m, rows, machine.device, 0, lambda _: None).run()
    seconds = time.perf_counter() - started_s
    predicted_m = trained.predict(dataset.train.take(left_out), config, machine.device)
    return seconds, metrics.mae_m(predicted_m, dataset.targets_m[left_out])


class _PublishedTrainer(Trainer):
    """The published way: what the backbone sees is forgotten after each batch."""

    def _views(self, units: Units, epochs: int) -> None:  # type: ignore[override]
        return None


def stage_one(dataset: Dataset, seeds: tuple[int, ...]) -> dict[str, float]:
    """Measure stage one both ways, in turn."""
    found: dict[int | None, list[tuple[float, float]]] = {None: [], **{views: [] for views in VIEWS}}
    for seed in seeds:
        for views, measured in found.items():
            measured.append(first_stage(dataset, views, seed))
    seconds = {views: float(np.median([s for s, _ in measured])) for views, measured in found.items()}
    maes = {views: [mae for _, mae in measured] for views, measured in found.items()}
    figures = {"reference_seconds": seconds[None], "reference_mae_m": float(np.mean(maes[None]))}
    figures |= {"reference_lowest_mae_m": min(maes[None]), "reference_highest_mae_m": max(maes[None])}
    for views in VIEWS:
        figures |= {f"views{views}_seconds": seconds[views], f"views{views}_mae_m": float(np.mean(maes[views]))}
        figures |= {f"views{views}_ratio": seconds[None] / seconds[views]}
    return figures


def stage_two(step: str, dataset: Dataset, rounds: int, epochs: int) -> dict[str, Any]:
    """Measure stage two and its ceiling, in turn; the median round counts."""
    ours, ceiling = [], []
    for _ in range(rounds):
        ours.append(our_samples_per_s(step, dataset, epochs))
        ceiling.append(ceiling_samples_per_s(step, dataset, epochs))
    found = {"samples_per_s": float(np.median(ours)), "ceiling_samples_per_s": float(np.median(ceiling))}
    shares = np.array(ours) / np.array(ceiling)  # of one round each: a machine's speed drifts
    return found | {"share_of_ceiling": float(np.median(shares)), "shares_of_rounds": shares.tolist()}


@click.command()
@click.option("--scenes", default=150, show_default=True, help="Simulated training scenes.")
@click.option("--quick", is_flag=True, help="60 scenes, one seed, one round.")
@results.json_option
def main(scenes: int, quick: bool, file: Path | None) -> None:
    """Print samples per second, seconds and errors, and the ratios."""
    scenes, rounds, epochs, seeds = (60, 1, 2, SEEDS[:1]) if quick else (scenes, 5, 4, SEEDS)
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        simulate.write_drives(Path(scratch) / "drives", simulate.Plan(scenes, 1, seed=0), workers=2)
        dataset = Dataset.open(str(Path(scratch) / "drives"), Cache.open(Path(scratch) / "cache"))
        for step in NETS:
            figures = found[step] = stage_two(step, dataset, rounds, epochs)
            click.echo(
                f"{step}, stage two: {figures['samples_per_s']:.1f} samples/s, {CEILING} "
                f"{figures['ceiling_samples_per_s']:.1f}, share {figures['share_of_ceiling']:.1%}"
            )
        figures = found["stage_one"] = stage_one(dataset, seeds)
    click.echo(
        f"nn1, stage one, 20 epochs: {REFERENCE} {figures['reference_seconds']:.1f} s, "
        f"MAE {figures['reference_mae_m']:.4f} m "
        f"({figures['reference_lowest_mae_m']:.4f} to {figures['reference_highest_mae_m']:.4f})"
    )
    for views in VIEWS:
        seconds, mae_m = figures[f"views{views}_seconds"], figures[f"views{views}_mae_m"]
        click.echo(f"  {views} views: {seconds:.1f} s, ratio {figures[f'views{views}_ratio']:.1f}, MAE {mae_m:.4f} m")
    results.keep(file, found)


if __name__ == "__main__":
    main()
