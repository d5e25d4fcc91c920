"""The state of a training stage: learning rate, optimiser, averaged weights, and the best epoch so far."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from atma18.config import NetConfig, StageConfig

LAST_LEARNING_RATE = 1e-7

N = TypeVar("N", bound=nn.Module)


def stages(config: NetConfig) -> list[tuple[StageConfig, bool]]:
    """Return the stages that `config.stage` names, each with whether its backbone is frozen."""
    frozen, unfrozen = (config.first, True), (config.second, False)
    named = {"first": [frozen], "second": [unfrozen], "both": [frozen, unfrozen]}
    return (named | {"whole": [unfrozen], "head": [frozen]})[config.stage]


def warm_cosine(step: int, *, warm_up: int, total: int, floor: float) -> float:
    """Return the factor of the learning rate at a step: linear for `warm_up` steps, then a cosine down to `floor`."""
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, total - warm_up)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class StageState(Generic[N]):
    """The state of one stage: optimiser, learning-rate schedule, moving average of the weights, best epoch."""

    def __init__(self, stage: StageConfig, net: N, batches: int, ema_decay: float = 0.0) -> None:
        self.num_epochs, self.batches, self.epochs = stage.num_epochs, batches, 0
        weights = [p for p in net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(weights, stage.learning_rate, weight_decay=stage.weight_decay, fused=True)
        share = partial(
            warm_cosine,
            warm_up=batches,
            total=batches * stage.num_epochs,
            floor=LAST_LEARNING_RATE / stage.learning_rate,
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, share)
        self.trained = net
        self.averaged = None
        if ema_decay:
            decay = get_ema_multi_avg_fn(ema_decay)  # type: ignore[no-untyped-call]
            self.averaged = AveragedModel(net, multi_avg_fn=decay, use_buffers=True)
        self.best = Best(stage.patience or stage.num_epochs)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or early stopping ends the stage."""
        return self.epochs == self.num_epochs or self.best.is_over

    @property
    def net(self) -> N:
        """The current net, with averaged weights if `ema_decay` is set."""
        return self.trained if self.averaged is None else cast(N, self.averaged.module)

    def step(self, loss: Tensor) -> None:
        """Update the weights by the gradient of a loss."""
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.trained)

    def note(self, held_out_mae_m: float | None) -> None:
        """Count an epoch and record its held-out MAE."""
        self.epochs += 1
        if held_out_mae_m is not None:
            self.best.note(held_out_mae_m, self.net)

    def load_final_weights(self) -> None:
        """Load the final weights of the stage into the net."""
        if self.averaged is not None:
            self.trained.load_state_dict(self.net.state_dict())
        self.best.restore(self.trained)

    def state(self) -> dict[str, Any]:
        """Return everything that changes from epoch to epoch."""
        return {
            "stage_epochs": self.epochs,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "best": self.best.state(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned."""
        self.epochs = saved["stage_epochs"]
        self.optimizer.load_state_dict(saved["optimizer"])
        self.schedule.load_state_dict(saved["schedule"])
        self.best = Best(**saved["best"])
        if self.averaged is not None:
            self.averaged.load_state_dict(saved["averaged"])


@dataclass
class Best:
    """The weights of the epoch with the lowest held-out MAE so far."""

    patience: int
    mae_m: float = math.inf
    epochs_since: int = 0
    weights: dict[str, Tensor] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the last `patience` epochs brought no improvement."""
        return self.epochs_since >= self.patience

    def note(self, mae_m: float, net: nn.Module) -> None:
        """Record the held-out MAE of an epoch; copy the weights if it is the lowest so far."""
        self.epochs_since += 1
        if mae_m < self.mae_m:
            self.mae_m, self.epochs_since = mae_m, 0
            self.weights = copy.deepcopy(net.state_dict())

    def state(self) -> dict[str, Any]:
        """Return the fields."""
        return dict(vars(self))

    def restore(self, net: nn.Module) -> None:
        """Load the best weights into the net; without any, keep its current ones."""
        if self.weights is not None:
            net.load_state_dict(self.weights)
