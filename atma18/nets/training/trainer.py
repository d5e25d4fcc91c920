"""The training of one fold's net, which continues from a checkpoint if there is one."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atma18 import metrics
from atma18.config import NetConfig, StageConfig
from atma18.data.folds import held_out_scenes
from atma18.geometry import mirror
from atma18.nets.architecture import Net, SceneLayout
from atma18.nets.checkpoints import Checkpoints
from atma18.nets.model import FoldNet, unit_lengths
from atma18.nets.training.batches import Changes, Feed, Units, Views
from atma18.nets.training.stage_state import StageState, stages
from atma18.nets.training.variants import Variants
from atma18.schema import TARGETS, BoolArray, FloatArray, FrameRows, IntArray, Samples


@dataclass(frozen=True)
class Epoch:
    """The measurements of one epoch of one fold."""

    fold: int
    index: int
    """The number of the epoch, counted across both stages."""
    train_mae_m: float
    """MAE of the training samples during the epoch, while the weights change, metres."""
    held_out_mae_m: float | None
    """MAE of the scenes held out for early stopping, metres; None if there are none."""
    samples: int
    """The number of training samples."""
    restored: bool = field(default=False, compare=False)
    """Whether it was trained before an interruption and is reported again."""


def fold_seed(seed: int, fold: int) -> int:
    """Return the seed of torch's random numbers for a fold."""
    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])


class Trainer:
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
        checkpoints: Checkpoints | None = None,
        watch: Callable[[Epoch, FoldNet], None] = lambda epoch, model: None,
    ) -> None:
        self.config, self.model, self.samples, self.targets_m = config, model, samples, targets_m
        self.rows, self.device, self.fold, self.on_epoch = rows, device, fold, on_epoch
        self.checkpoints, self.watch = checkpoints, watch
        self.net, scaling = model.net.to(device), model.scaling
        self.feed = Feed(config.image_shape, device)
        self.variants = Variants.of(model, config, samples, rows, fold_seed(config.seed, fold))
        moved_m = self.variants.targets_m(targets_m)
        sides = [(samples, moved_m)]
        if config.mirror:
            sides.append((mirror.samples(samples), mirror.waypoints(moved_m)))
        self.signals = torch.from_numpy(np.stack([scaling.inputs(side) for side, _ in sides])).to(device)
        outputs = [[scaling.outputs(side, variant_m) for variant_m in side_m] for side, side_m in sides]
        self.outputs = torch.from_numpy(np.array(outputs)).to(device)
        self.scale_m = torch.tensor(scaling.target_scale_m, dtype=torch.float32, device=device)
        self.pace = torch.tensor(scaling.baseline.pace(samples), dtype=torch.float32, device=device)
        self.order = np.random.default_rng([config.seed, fold])
        self.noise = torch.Generator().manual_seed(fold_seed(config.seed, fold))
        self.epochs: list[Epoch] = []

    def run(self) -> FoldNet:
        """Train the configured stages, from a checkpoint if there is one; return the model, its backbone frozen."""
        saved = self.checkpoints.load(self.fold) if self.checkpoints else None
        if saved is not None:
            self._restore(saved)
        done = saved is not None and saved["done"]
        for number, (stage, frozen) in enumerate(stages(self.config)):
            if done or (saved is not None and number < saved["stage"]):
                continue
            self.net.encoder.backbone.freeze(frozen)
            self._train_stage(stage, number, frozen, saved if saved is not None and number == saved["stage"] else None)
        self.net.encoder.backbone.freeze()
        self._save({"done": True})
        return replace(self.model, net=self.net.eval())

    def _train_stage(self, stage: StageConfig, number: int, frozen: bool, saved: Mapping[str, Any] | None) -> None:
        """Train with AdamW on a cosine schedule; if scenes are held out, keep the weights of their best epoch."""
        held_out = None if stage.patience is None else held_out_scenes(self.samples.scenes[self.rows], self.config.seed)
        rows = self.rows if held_out is None else self.rows[~held_out]
        units = Units(rows, unit_lengths(self.net, self.samples.scenes[rows]))
        state = StageState(stage, self.net, math.ceil(len(units) / stage.batch_size), self.config.ema_decay)
        if saved is not None:
            state.restore(saved)
        views = self._views(units, stage.num_epochs) if frozen and not state.is_over else None
        judged = None if held_out is None else self._judged(self.rows[held_out], frozen and not state.is_over)
        while not state.is_over:
            train_mae_m = self._train_epoch(units, state, views)
            model = replace(self.model, net=state.net)
            held_out_mae_m = None if judged is None else judged(model)
            state.note(held_out_mae_m)
            self.epochs.append(Epoch(self.fold, len(self.epochs), train_mae_m, held_out_mae_m, len(rows)))
            self.on_epoch(self.epochs[-1])
            self.watch(self.epochs[-1], model)
            self._save({"done": False, "stage": number, **state.state(), **self._draws()})
        state.load_final_weights()

    def _draws(self) -> dict[str, Any]:
        """Return the state of all random generators."""
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
        """Restore the net and the random generators after the saved epoch, and report its epochs again."""
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

    def _train_epoch(self, units: Units, state: StageState[Net], views: Views | None) -> float:
        """Train once on all units, in random order and batches of nearly equal size; return the MAE in metres."""
        self.net.train()
        error_m = torch.zeros((), device=self.device)
        parts = [units.take(chosen) for chosen in np.array_split(self.order.permutation(len(units)), state.batches)]
        variants = [self.variants.draw(len(rows), self.noise if views is None else None) for rows, _ in parts]
        frames = self._ahead([rows for rows, _ in parts], variants)
        for (rows, lengths), variant in zip(parts, variants, strict=True):
            if views is None:
                mirrored = self._mirrored(lengths)
                seen = self._look(next(frames), self.noise, mirrored)
            else:
                mirrored = torch.from_numpy(self._is_mirrored(views.which(rows, state.epochs)))
                seen = views.of(rows, state.epochs, self.noise)
            difference = self._difference(seen, rows, lengths, mirrored, variant)
            loss = (difference.abs() * self.pace[rows]).mean()
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"fold {self.fold}, epoch {len(self.epochs)}: expected a finite loss, found {loss.item()}; "
                    "try a lower learning_rate"
                )
            state.step(loss)
            error_m += (difference.detach().abs() * self.pace[rows] * self.scale_m).sum()
        return error_m.item() / (len(units.rows) * len(TARGETS))

    def _mirrored(self, lengths: IntArray) -> Tensor | None:
        """Draw which units are mirrored; return (B,) booleans by row."""
        if not self.config.mirror:
            return None
        return (torch.rand(len(lengths), generator=self.noise) < 0.5).repeat_interleave(torch.from_numpy(lengths))

    def _is_mirrored(self, views: IntArray) -> BoolArray:
        """Return which views are mirrored: every second one."""
        return np.asarray((views % 2 == 1) & self.config.mirror)

    def _look(self, frames: FrameRows | Tensor, noise: torch.Generator, mirrored: Tensor | None) -> Tensor:
        """Return the backbone's features of B samples' randomly changed frames: (B, channels)."""
        probability, strength = self.config.augment_probability, self.config.augment_strength
        changes = Changes.draw(len(frames), probability, strength, noise, self.config.augment)
        return self.net.encoder.encode_frames(self.feed.batch(frames, changes, mirrored))

    def _ahead(self, parts: Sequence[IntArray], variants: Sequence[IntArray]) -> Iterator[FrameRows | Tensor]:
        """Yield the images of each part's rows in these variants."""
        places = [self.variants.places(*pair) for pair in zip(variants, parts, strict=True)]
        return self.feed.ahead(self.variants.images, places)

    def _difference(
        self, seen: Tensor, rows: IntArray, lengths: IntArray, mirrored: Tensor | None, variant: IntArray
    ) -> Tensor:
        """Return the (B, 18) outputs of a batch minus the expected ones, mirrored where `mirrored` is True."""
        side = torch.zeros(len(rows), dtype=torch.long) if mirrored is None else mirrored.long()
        layout = SceneLayout.of(lengths).to(self.device)
        predicted = self.net.decode(self.net.encoder.fuse(seen, self.signals[side, rows]), layout)
        return predicted - self.outputs[side, variant, rows]

    def _views(self, units: Units, epochs: int) -> Views:
        """Encode several views of each row with the frozen backbone, once."""
        rows = units.rows
        changed = self.config.augment_probability > 0 or self.config.mirror
        count = min(self.config.cached_views, epochs) if changed else 1
        noise = torch.Generator().manual_seed(fold_seed(self.config.seed, self.fold))
        self.net.eval()
        seen = torch.empty(count, len(rows), self.net.encoder.backbone.channels, device=self.device)
        batch = self.config.inference_batch
        parts = [slice(start, start + batch) for start in range(0, len(rows), batch)]
        with torch.no_grad():
            for view in range(count):
                frames = self._ahead([rows[part] for part in parts], [np.zeros_like(rows[part]) for part in parts])
                for part in parts:
                    mirrored = torch.from_numpy(self._is_mirrored(np.full(len(rows[part]), view)))
                    seen[view, part] = self._look(next(frames), noise, mirrored)
        first = np.random.default_rng([self.config.seed, self.fold, 1])
        return Views.of_each(seen, units, self.config.feature_noise, first)

    def _judged(self, rows: IntArray, frozen: bool) -> Callable[[FoldNet], float]:
        """Return a function that computes a net's MAE on held-out rows; a frozen backbone encodes them once."""
        samples, targets_m = self.samples.take(rows), self.targets_m[rows]
        images = self.model.images(samples, self.config)
        seen = self.model.encode_frames(images, self.config, self.device) if frozen else None

        def judge(model: FoldNet) -> float:
            now = model.encode_frames(images, self.config, self.device) if seen is None else seen
            return metrics.mae_m(model.predict_from(now, samples, self.config, self.device), targets_m)

        return judge
