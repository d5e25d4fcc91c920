"""The two-stage training of nn1 and nn2: one net per fold, each on the samples outside its fold.

`stage_state` is how far a stage is, `batches` what goes into a batch, `augmentation` what else is done to its frames,
`trainer` the training of one fold.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from atma18.compute import Compute
from atma18.compute.progress import progress
from atma18.config import NetConfig
from atma18.data.folds import held_out_scenes
from atma18.nets import NETS
from atma18.nets.checkpoints import Checkpoints
from atma18.nets.model import FoldNet, NetModel, Scaling
from atma18.nets.training.stage_state import stages
from atma18.nets.training.trainer import Epoch, Trainer, fold_seed
from atma18.schema import FloatArray, IntArray, Samples

__all__ = ["Epoch", "early_stopping", "first_model", "fold_seed", "stages", "train"]


def train(
    step: str,
    config: NetConfig,
    samples: Samples,
    targets_m: FloatArray,
    folds: IntArray,
    machine: Compute,
    *,
    start: NetModel | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    checkpoints: Checkpoints | None = None,
    watch: Callable[[Epoch, FoldNet], None] = lambda epoch, model: None,
    more_splits: Sequence[IntArray] = (),
) -> NetModel:
    """Train one net per fold of each split, on the samples outside its fold.

    Args:
        step: `nn1` or `nn2`.
        config: what to train, and how.
        samples: the N training samples.
        targets_m: (N, 18) metres, vehicle frame at t.
        folds: (N,) the fold of each sample.
        machine: where to train.
        start: for `stage=second`, the nets of a first stage with the same folds.
        on_epoch: called after every epoch, and first for those that were done before an interruption.
        checkpoints: where each epoch is saved, and from where an interrupted training goes on, to the same bits.
        watch: called after every epoch that is trained, with the net as it is by then; it may predict with it.
        more_splits: (N,) the fold of each sample in each of the `config.fold_repeats` splits beyond the first. Their
            folds count on, and so draw from other seeds.

    Raises:
        FloatingPointError: If a loss is not finite.
        ValueError: If there are not as many splits as configured.
    """
    if len(more_splits) != config.fold_repeats - 1:
        raise ValueError(f"expected the folds of {config.fold_repeats} splits, found those of {1 + len(more_splits)}")
    parts = [np.flatnonzero(split != k) for split in (folds, *more_splits) for k in range(int(split.max()) + 1)]
    epochs = len(parts) * sum(stage.num_epochs for stage, _ in stages(config))
    trained = []
    with progress(total=epochs, desc=f"train {step}", unit="epoch") as bar:

        def report(epoch: Epoch) -> None:
            bar.set_postfix(fold=epoch.fold, train_mae_m=f"{epoch.train_mae_m:.3f}", refresh=False)
            bar.update()
            on_epoch(epoch)

        for k, rows in enumerate(parts):
            with torch.random.fork_rng(devices=[0] if machine.device == "cuda" else []):
                torch.manual_seed(fold_seed(config.seed, k))
                model = first_model(step, config, samples, targets_m, rows, start.folds[k] if start else None)
                trainer = Trainer(
                    config, model, samples, targets_m, rows, machine.device, k, report, checkpoints, watch
                )
                trained.append(trainer.run())
    return NetModel(step, config, tuple(trained))


def early_stopping(config: NetConfig, samples: Samples, folds: IntArray) -> str:
    """Say in words whether training ends early, and on what."""
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
    """Return a fresh net scaled to these rows, or a copy of `start`."""
    scaling = start.scaling if start else Scaling.fit(config, samples, targets_m, rows)
    net = NETS[step](config, scaling.width, spec=start.net.encoder.backbone.spec if start else None)
    if start:
        net.load_state_dict(start.net.state_dict())
    return FoldNet(net, scaling)
