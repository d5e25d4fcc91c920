"""The images of training samples: one of each, and with bent paths further ones with waypoints that moved alike."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from atma18.config import NetConfig
from atma18.geometry.images import bent_images
from atma18.nets.model import FoldNet
from atma18.nets.training.stage_state import stages
from atma18.schema import TARGETS, FloatArray, FrameRows, IntArray, Samples


@dataclass(frozen=True)
class Variants:
    """V images of each of n training samples."""

    images: FrameRows
    """(V * n) images, variant after variant; the first variant is the image that a prediction reads."""
    rows: IntArray
    """(n,) the rows of the training samples, ascending."""
    moved_m: FloatArray
    """(V, n, 18) metres by which the baseline moves with the path; 0 in the first variant."""

    @classmethod
    def of(cls, model: FoldNet, config: NetConfig, samples: Samples, rows: IntArray, seed: int) -> Self:
        """Make the images of the training samples at these rows."""
        part = samples.take(rows)
        images = model.images(part, config)
        none_m = np.zeros((1, len(rows), len(TARGETS)))
        if config.bent_paths == 0 or all(frozen for _, frozen in stages(config)):  # a frozen backbone sees the first
            return cls(images, rows, none_m)
        generator = np.random.default_rng(seed)
        bent = list(bent_images(config, part, model.scaling.motion, model.camera, generator))
        store = np.concatenate([images[:], *(variant[:] for variant, _ in bent)])
        return cls(FrameRows.of(store), rows, np.concatenate([none_m, np.stack([moved_m for _, moved_m in bent])]))

    def __len__(self) -> int:
        return len(self.moved_m)

    def draw(self, count: int, generator: torch.Generator | None) -> IntArray:
        """Draw a variant for each of `count` samples; without a generator each gets the first."""
        if len(self) == 1 or generator is None:
            return np.zeros(count, np.int64)
        return np.asarray(torch.randint(len(self), (count,), generator=generator).numpy(), np.int64)

    def places(self, variants: IntArray, rows: IntArray) -> IntArray:
        """Return the (B,) indices in `images` of these variants of the samples at these rows."""
        return variants * len(self.rows) + np.searchsorted(self.rows, rows)

    def targets_m(self, targets_m: FloatArray) -> FloatArray:
        """Return the (V, N, 18) targets of all N samples for each variant, as seen from its path."""
        found_m = np.repeat(targets_m[None], len(self), axis=0)
        found_m[:, self.rows] -= self.moved_m
        return found_m
