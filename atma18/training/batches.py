"""What goes into a batch: rows of whole units, and views of frames that are changed at random."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from atma18 import compute
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, FrameRows, IntArray

_CPU_BLOCK_PX = 8 * FRAME_HEIGHT_PX * FRAME_WIDTH_PX
"""So many pixels' numbers stay in a CPU's caches from one operation to the next."""


@dataclass(frozen=True)
class Units:
    """What a net looks at as a whole: U samples, or scenes, whose rows stand side by side."""

    rows: IntArray
    """(N,) all rows, unit after unit."""
    lengths: IntArray
    """(U,) rows of each unit."""

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _first(self) -> IntArray:
        return np.cumsum(self.lengths) - self.lengths

    def take(self, chosen: IntArray) -> tuple[IntArray, IntArray]:
        """Return the rows of some units, unit after unit, and the length of each unit."""
        lengths = self.lengths[chosen]
        before = np.cumsum(lengths) - lengths
        return self.rows[np.repeat(self._first[chosen] - before, lengths) + np.arange(lengths.sum())], lengths


@dataclass(frozen=True)
class Views:
    """What a frozen backbone sees in V views of each of N rows; each epoch shows every row's next view."""

    seen: Tensor
    """(V, N, channels)."""
    rows: IntArray
    """(N,) ascending."""
    first: IntArray
    """(N,) which view comes first, so that an epoch has views of every kind."""

    def of(self, rows: IntArray, epoch: int) -> Tensor:
        """Return what is seen in (B,) rows in an epoch, (B, channels)."""
        at = np.searchsorted(self.rows, rows)
        return self.seen[(self.first[at] + epoch) % len(self.seen), at]


@dataclass(frozen=True)
class Changes:
    """Random changes of brightness and contrast, one for each of B samples, the same for its three frames."""

    contrast: Tensor
    """(B, 1, 1, 1) what a value in [0, 1] is multiplied by."""
    brightness: Tensor
    """(B, 1, 1, 1) what is added then."""

    @classmethod
    def draw(cls, count: int, probability: float, strength: float, generator: torch.Generator) -> Self:
        """Draw changes.

        Args:
            count: B.
            probability: chance that a sample is changed.
            strength: contrast is multiplied by 1 ± strength, then brightness moves by ± strength of full scale.
            generator: draws on the CPU.
        """
        draws = torch.rand(3, count, 1, 1, 1, generator=generator)
        changed = (draws[0] < probability).float()
        return cls(1 + changed * strength * (2 * draws[1] - 1), changed * strength * (2 * draws[2] - 1))


class Feed:
    """Frames of chosen samples as batches on a device, each in the memory of the one before.

    Fresh memory for every batch would cost a CPU more than all the work that is done in it, and work on a few samples
    at a time stays in its caches.
    """

    def __init__(self, frames: FrameRows, size_px: tuple[int, int], device: str) -> None:
        self.frames, self.size_px, self.device = frames, size_px, device
        self.block = max(2, _CPU_BLOCK_PX // math.prod(size_px)) if device == "cpu" else None
        self.memory = torch.empty(0, *size_px, 9, device=device)

    def batch(self, rows: IntArray, changes: Changes) -> Tensor:
        """Return the (B, 9, h, w) frames of B samples in [0, 1], changed; they are good until the next call."""
        if len(rows) > len(self.memory):
            self.memory = torch.empty(len(rows), *self.size_px, 9, device=self.device)
        contrast, brightness = (change.to(self.device) for change in (changes.contrast / 255, changes.brightness))
        block = self.block or len(rows)
        for start in range(0, len(rows), block):
            part = slice(start, min(start + block, len(rows)))
            pixels = compute.stacked(torch.from_numpy(self.frames[rows[part]]).to(self.device), self.size_px)
            self.memory[part].copy_(pixels).mul_(contrast[part]).add_(brightness[part]).clamp_(0, 1)
        return self.memory[: len(rows)].permute(0, 3, 1, 2)
