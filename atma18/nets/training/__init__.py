"""The two-stage training of nn1 and nn2: one net per fold, each on the samples outside its fold.

`stage_state` holds the state of a stage, `batches` builds batches, `augmentation` holds the strong augmentation of
frames, and `trainer` trains one fold.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from atma18.compute import Compute
from atma18.compute.progress import progress
from atma18.compute.side_by_side import Lane, side_by_side
from atma18.config import CNN, NetConfig
from atma18.data.folds import held_out_scenes
from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.nets import NETS
from atma18.nets.checkpoints import Checkpoints
from atma18.nets.model import FoldNet, NetModel
from atma18.nets.scaling import Scaling
from atma18.nets.training.stage_state import stages
from atma18.nets.training.trainer import Epoch, Trainer, fold_seed
from atma18.schema import FloatArray, IntArray, Samples

__all__ = ["Epoch", "early_stopping", "first_model", "fold_seed", "stages", "train"]

OnEpoch = Callable[[Epoch], None]
Watch = Callable[[Epoch, FoldNet], None]


def train(
    step: str,
    config: NetConfig,
    samples: Samples,
    targets_m: FloatArray,
    folds: IntArray,
    machine: Compute,
    *,
    start: NetModel | None = None,
    on_epoch: OnEpoch = lambda epoch: None,
    checkpoints: Checkpoints | None = None,
    watch: Watch = lambda epoch, model: None,
    more_splits: Sequence[IntArray] = (),
) -> NetModel:
    """Train one net per fold of each split, on the samples outside its fold.

    Nets of `cnn` are trained side by side on a CPU, one core each; larger ones one after the other, on all cores.

    Args:
        step: `nn1` or `nn2`.
        config: the configuration of the net and its training.
        samples: the N training samples.
        targets_m: (N, 18) metres, vehicle frame at t.
        folds: (N,) the fold of each sample.
        machine: the device to train on.
        start: the nets from which training goes on, with the same folds; of nn1, nn2 takes the encoder.
        on_epoch: called after every epoch, and at the start for each epoch before an interruption; one call at a time.
        checkpoints: the state after each epoch; an interrupted training continues from it with bit-identical results.
        watch: called after every newly trained epoch with the current net, which it may use to predict.
        more_splits: (N,) the fold of each sample in each of the `config.fold_repeats` splits after the first. Fold
            numbers continue across splits, so that each fold has its own seed.

    Raises:
        FloatingPointError: If a loss is not finite.
        ValueError: If the number of splits is not the configured one.
    """
    if len(more_splits) != config.fold_repeats - 1:
        raise ValueError(f"expected the folds of {config.fold_repeats} splits, found those of {1 + len(more_splits)}")
    parts = [np.flatnonzero(split != k) for split in (folds, *more_splits) for k in range(int(split.max()) + 1)]
    epochs = len(parts) * sum(stage.num_epochs for stage, _ in stages(config))
    with progress(total=epochs, desc=f"train {step}", unit="epoch") as bar:

        def report(epoch: Epoch) -> None:
            bar.set_postfix(fold=epoch.fold, train_mae_m=f"{epoch.train_mae_m:.3f}", refresh=False)
            bar.update()
            on_epoch(epoch)

        def first(k: int) -> FoldNet:
            return first_model(step, config, samples, targets_m, parts[k], start.folds[k] if start else None)

        def trained(k: int, model: FoldNet, lane: Lane) -> FoldNet:
            calls = (lane.in_turn(report), checkpoints, lane.in_turn(watch))
            return Trainer(config, model, samples, targets_m, parts[k], machine.device, k, *calls).run()

        nets = _all_folds(first, trained, len(parts), config, machine)
    return NetModel(step, config, tuple(net.ready(config) for net in nets))


def _all_folds(
    first: Callable[[int], FoldNet],
    trained: Callable[[int, FoldNet, Lane], FoldNet],
    count: int,
    config: NetConfig,
    machine: Compute,
) -> list[FoldNet]:
    """Return the trained net of each fold: small nets side by side on a CPU, others one after the other."""
    if config.backbone == CNN and machine.device == "cpu":  # its training leaves torch's global generator alone
        models = []
        for k in range(count):
            with _seeded(config, k, machine):
                models.append(first(k))
        with torch.random.fork_rng(devices=[]):
            return side_by_side(lambda k, lane: trained(k, models[k], lane), range(count), machine.threads, each=1)
    nets = []
    for k in range(count):
        with _seeded(config, k, machine):
            nets.append(trained(k, first(k), Lane(machine.threads)))
    return nets


@contextmanager
def _seeded(config: NetConfig, fold: int, machine: Compute) -> Iterator[None]:
    """Draw from torch's global generators as the fold's seed says, and leave them as they were."""
    with torch.random.fork_rng(devices=[0] if machine.device == "cuda" else []):
        torch.manual_seed(fold_seed(config.seed, fold))
        yield


def early_stopping(config: NetConfig, samples: Samples, folds: IntArray) -> str:
    """Describe whether training stops early, and on which samples."""
    if all(stage.patience is None for stage, _ in stages(config)):
        return "off in this preset: all epochs run and the last weights are kept"
    held_out = [held_out_scenes(samples.scenes[folds != k], config.seed) for k in range(int(folds.max()) + 1)]
    without = [k for k, rows in enumerate(held_out) if rows is None]
    if len(without) == len(held_out):
        return "none, for there are fewer than 6 training scenes: all epochs run and the last weights are kept"
    note = "on whole scenes held out of the training part"
    return f"{note}, but for folds {without} with fewer than 6 training scenes" if without else note


def first_model(
    step: str, config: NetConfig, samples: Samples, targets_m: FloatArray, rows: IntArray, start: FoldNet | None = None
) -> FoldNet:
    """Return a new net scaled to these rows; or, scaled as `start` is, a copy of it, or a net with its encoder."""
    scaling = start.scaling if start else Scaling.fit(config, samples, targets_m, rows)
    net = NETS[step](config, scaling.width, spec=start.net.encoder.backbone.spec if start else None)
    if start and type(start.net) is type(net):
        net.load_state_dict(start.net.state_dict())
    elif start:
        net.encoder.load_state_dict(start.net.encoder.state_dict())
    return FoldNet(net, scaling, start.camera if start else samples.frames.camera or COMPETITION_CAMERA)
