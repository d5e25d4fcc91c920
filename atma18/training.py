"""The two-stage training of nn1 and nn2: one net per fold, each on the samples outside its fold."""

import copy
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from atma18 import compute, metrics
from atma18.checkpoints import Checkpoints
from atma18.compute import Compute
from atma18.folds import held_out_scenes
from atma18.netmodel import FoldNet, NetModel, Scaling, unit_lengths
from atma18.nets import NETS, SceneLayout
from atma18.presets import NetConfig, StageConfig
from atma18.schema import TARGETS, FloatArray, IntArray, Samples

_LAST_LEARNING_RATE = 1e-7


@dataclass(frozen=True)
class Epoch:
    """What one epoch of one fold measured."""

    fold: int
    index: int
    """Counts on from the first stage into the second."""
    train_mae_m: float
    """MAE of the training samples while the weights changed, metres."""
    held_out_mae_m: float | None
    """MAE of the scenes held out for early stopping, metres; None if there are none."""
    samples: int
    """How many training samples it went through."""
    restored: bool = field(default=False, compare=False)
    """Whether it was trained before an interruption, and is told again."""


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
) -> NetModel:
    """Train one net per fold, each on the samples outside its fold.

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

    Raises:
        FloatingPointError: If a loss is not finite.
    """
    count = int(folds.max()) + 1
    epochs = count * sum(stage.num_epochs for stage, _ in stages(config))
    trained = []
    with tqdm(total=epochs, desc=f"train {step}", unit="epoch", disable=None) as bar:

        def report(epoch: Epoch) -> None:
            bar.update()
            bar.set_postfix(fold=epoch.fold, train_mae_m=f"{epoch.train_mae_m:.3f}")
            on_epoch(epoch)

        for k in range(count):
            rows = np.flatnonzero(folds != k)
            with torch.random.fork_rng(devices=[0] if machine.device == "cuda" else []):
                torch.manual_seed(_fold_seed(config.seed, k))
                model = _first_model(step, config, samples, targets_m, rows, start.folds[k] if start else None)
                trainer = _Trainer(config, model, samples, targets_m, rows, machine.device, k, report, checkpoints)
                trained.append(trainer.run())
    return NetModel(step, config, tuple(trained))


def stages(config: NetConfig) -> list[tuple[StageConfig, bool]]:
    """Return the stages that `config.stage` names, each with whether its backbone is frozen."""
    both = {"first": (config.first, True), "second": (config.second, False)}
    return [stage for name, stage in both.items() if config.stage in (name, "both")]


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


def augment(images: Tensor, probability: float, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness and contrast at random, the same for the three frames of a sample.

    Args:
        images: (B, 9, H, W) in [0, 1]; it is changed in place.
        probability: chance that a sample is changed.
        strength: contrast is multiplied by 1 ± strength, then brightness moves by ± strength of full scale.
        generator: draws on the CPU.

    Returns:
        (B, 9, H, W) in [0, 1].
    """
    draws = torch.rand(3, len(images), 1, 1, 1, generator=generator)
    changed = (draws[0] < probability).float()
    contrast = 1 + changed * strength * (2 * draws[1] - 1)
    brightness = changed * strength * (2 * draws[2] - 1)
    return images.mul_(contrast.to(images.device)).add_(brightness.to(images.device)).clamp_(0, 1)


def warm_cosine(step: int, *, warm_up: int, total: int, floor: float) -> float:
    """Return the share of the learning rate at a step: linear up for `warm_up` steps, then a cosine down to `floor`."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, total - warm_up)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def _fold_seed(seed: int, fold: int) -> int:
    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])


def _first_model(
    step: str, config: NetConfig, samples: Samples, targets_m: FloatArray, rows: IntArray, start: FoldNet | None
) -> FoldNet:
    """Return a fresh net scaled to these rows, or a copy of `start`."""
    scaling = start.scaling if start else Scaling.fit(config, samples, targets_m, rows)
    net = NETS[step](config, len(scaling.signals))
    if start:
        net.load_state_dict(start.net.state_dict())
    return FoldNet(net, scaling)


class _Trainer:
    """The training of one fold's net."""

    def __init__(
        self,
        config: NetConfig,
        model: FoldNet,
        samples: Samples,
        targets_m: FloatArray,
        rows: IntArray,
        device: str,
        fold: int,
        on_epoch: Callable[[Epoch], None],
        checkpoints: Checkpoints | None,
    ) -> None:
        self.config, self.model, self.samples, self.targets_m = config, model, samples, targets_m
        self.rows, self.device, self.fold, self.on_epoch = rows, device, fold, on_epoch
        self.checkpoints = checkpoints
        self.net, scaling = model.net.to(device), model.scaling
        self.signals = torch.from_numpy(scaling.inputs(samples)).to(device)
        self.outputs = torch.from_numpy(scaling.outputs(samples, targets_m)).to(device)
        self.scale_m = torch.tensor(scaling.target_scale_m, dtype=torch.float32, device=device)
        self.order = np.random.default_rng([config.seed, fold])
        self.noise = torch.Generator().manual_seed(_fold_seed(config.seed, fold))
        self.epochs: list[Epoch] = []

    def run(self) -> FoldNet:
        """Train the stages that the configuration names, from where a checkpoint left off; return the model, frozen."""
        saved = self.checkpoints.load(self.fold) if self.checkpoints else None
        if saved is not None:
            self._restore(saved)
        done = saved is not None and saved["done"]
        for number, (stage, frozen) in enumerate(stages(self.config)):
            if done or (saved is not None and number < saved["stage"]):
                continue
            self.net.encoder.backbone.freeze(frozen)
            self._train_stage(stage, number, saved if saved is not None and number == saved["stage"] else None)
        self.net.encoder.backbone.freeze()
        self._save({"done": True})
        return FoldNet(self.net.eval(), self.model.scaling)

    def _train_stage(self, stage: StageConfig, number: int, saved: Mapping[str, Any] | None) -> None:
        """Train with AdamW on a cosine schedule; keep the best held-out epoch's weights, if scenes are held out."""
        held_out = None if stage.patience is None else held_out_scenes(self.samples.scenes[self.rows], self.config.seed)
        rows = self.rows if held_out is None else self.rows[~held_out]
        units = np.split(rows, np.cumsum(unit_lengths(self.net, self.samples.scenes[rows]))[:-1])
        course = _Course(stage, self.net, math.ceil(len(units) / stage.batch_size))
        if saved is not None:
            course.restore(saved)
        while not course.is_over:
            train_mae_m = self._train_epoch(units, course)
            held_out_mae_m = None if held_out is None else self._judge(self.rows[held_out])
            course.note(held_out_mae_m, self.net)
            self.epochs.append(Epoch(self.fold, len(self.epochs), train_mae_m, held_out_mae_m, len(rows)))
            self.on_epoch(self.epochs[-1])
            self._save({"done": False, "stage": number, **course.state(), **self._draws()})
        course.best.restore(self.net)

    def _draws(self) -> dict[str, Any]:
        """Return the state of everything that is drawn from."""
        return {
            "order": json.dumps(self.order.bit_generator.state),
            "noise": self.noise.get_state(),
            "random": torch.get_rng_state(),
            "random_of_device": torch.cuda.get_rng_state() if self.device == "cuda" else None,
        }

    def _save(self, state: dict[str, Any]) -> None:
        if self.checkpoints is not None:
            epochs = [asdict(epoch) for epoch in self.epochs]
            self.checkpoints.save(self.fold, {"net": self.net.state_dict(), "epochs": epochs, **state})

    def _restore(self, saved: Mapping[str, Any]) -> None:
        """Put the net, the draws and the report back to where they were after an epoch."""
        self.net.load_state_dict(saved["net"])
        for epoch in saved["epochs"]:
            self.epochs.append(Epoch(**epoch | {"restored": True}))
            self.on_epoch(self.epochs[-1])
        if saved["done"]:
            return
        self.order.bit_generator.state = json.loads(saved["order"])
        self.noise.set_state(saved["noise"])
        torch.set_rng_state(saved["random"])
        if saved["random_of_device"] is not None:
            torch.cuda.set_rng_state(saved["random_of_device"])

    def _train_epoch(self, units: list[IntArray], course: "_Course") -> float:
        """Go once through all units in random order, in batches of nearly equal size; return the MAE in metres."""
        self.net.train()
        error_m = torch.zeros((), device=self.device)
        for chosen in np.array_split(self.order.permutation(len(units)), course.batches):
            difference = self._difference([units[i] for i in chosen])
            loss = difference.abs().mean()
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"fold {self.fold}, epoch {len(self.epochs)}: expected a finite loss, found {loss.item()}; "
                    "try a lower learning_rate"
                )
            course.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            course.optimizer.step()
            course.schedule.step()
            error_m += (difference.detach().abs() * self.scale_m).sum()
        return error_m.item() / (sum(map(len, units)) * len(TARGETS))

    def _difference(self, batch: list[IntArray]) -> Tensor:
        """Return the (B, 18) outputs of a batch of units less what they should be."""
        rows = np.concatenate(batch)
        frames = compute.stacked_images(torch.from_numpy(self.samples.frames[rows]).to(self.device))
        frames = augment(frames, self.config.augment_probability, self.config.augment_strength, self.noise)
        layout = SceneLayout.of(np.array([len(unit) for unit in batch], np.int64)).to(self.device)
        predicted = self.net.decode(self.net.encoder(frames, self.signals[rows]), layout)
        return predicted - self.outputs[rows]

    def _judge(self, rows: IntArray) -> float:
        predicted_m = self.model.predict(self.samples.take(rows), self.config, self.device)
        return metrics.mae_m(predicted_m, self.targets_m[rows])


class _Course:
    """How far a stage is: its optimiser, its schedule, its best epoch."""

    def __init__(self, stage: StageConfig, net: nn.Module, batches: int) -> None:
        self.num_epochs, self.batches, self.epochs = stage.num_epochs, batches, 0
        weights = [p for p in net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(weights, stage.learning_rate, weight_decay=stage.weight_decay, fused=True)
        share = partial(
            warm_cosine,
            warm_up=batches,
            total=batches * stage.num_epochs,
            floor=_LAST_LEARNING_RATE / stage.learning_rate,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, share)
        self.best = _Best(stage.patience or stage.num_epochs)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or patience is at its end."""
        return self.epochs == self.num_epochs or self.best.is_over

    def note(self, held_out_mae_m: float | None, net: nn.Module) -> None:
        """Take note of an epoch."""
        self.epochs += 1
        if held_out_mae_m is not None:
            self.best.note(held_out_mae_m, net)

    def state(self) -> dict[str, Any]:
        """Return all that changes from epoch to epoch."""
        return {
            "stage_epochs": self.epochs,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best.state(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Put back what `state` returned."""
        self.epochs = saved["stage_epochs"]
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.best = _Best(**saved["best"])


@dataclass
class _Best:
    """The weights of the epoch with the lowest held-out MAE so far."""

    patience: int
    mae_m: float = math.inf
    epochs_since: int = 0
    weights: dict[str, Tensor] | None = None

    @property
    def is_over(self) -> bool:
        """Whether patience is at its end."""
        return self.epochs_since >= self.patience

    def note(self, mae_m: float, net: nn.Module) -> None:
        """Take note of an epoch."""
        self.epochs_since += 1
        if mae_m < self.mae_m:
            self.mae_m, self.epochs_since = mae_m, 0
            self.weights = copy.deepcopy(net.state_dict())

    def state(self) -> dict[str, Any]:
        """Return its fields."""
        return dict(vars(self))

    def restore(self, net: nn.Module) -> None:
        """Put the best weights back; without any, the last ones stay."""
        if self.weights is not None:
            net.load_state_dict(self.weights)
