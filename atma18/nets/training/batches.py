"""Batches for training: rows of whole units, and randomly changed views of frames."""

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from atma18.compute import inference
from atma18.nets.training.augmentation import Augmentation
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX, FrameRows, IntArray, UInt8Array

_CPU_BLOCK_PX = 8 * FRAME_HEIGHT_PX * FRAME_WIDTH_PX
"""The number of pixels whose values stay in a CPU's caches from one operation to the next."""


@dataclass(frozen=True)
class Units:
    """U units that a net processes as a whole: samples, or scenes; the rows of a unit are consecutive."""

    rows: IntArray
    """(N,) all rows, unit after unit."""
    lengths: IntArray
    """(U,) number of rows of each unit."""

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
    """A frozen backbone's features of V views of each of N rows; each epoch uses the next view of every unit."""

    seen: Tensor
    """(V, N, channels) features."""
    rows: IntArray
    """(N,) ascending."""
    first: IntArray
    """(N,) the first view, random for each unit and the same for its rows, so that an epoch has views of every kind."""
    noise: Tensor | None
    """(channels,) standard deviation of the noise that is added on each use; None for no noise."""

    @classmethod
    def of_each(cls, seen: Tensor, units: Units, noise: float, generator: np.random.Generator) -> Self:
        """Draw the first view of each unit; the noise is `noise` times the standard deviation of each channel."""
        first = np.repeat(generator.integers(len(seen), size=len(units)), units.lengths)
        return cls(seen, units.rows, first, noise * seen.std(dim=(0, 1), correction=0) if noise > 0 else None)

    def which(self, rows: IntArray, epoch: int) -> IntArray:
        """Return the (B,) views that (B,) rows use in an epoch."""
        return np.asarray((self.first[np.searchsorted(self.rows, rows)] + epoch) % len(self.seen), np.int64)

    def of(self, rows: IntArray, epoch: int, generator: torch.Generator) -> Tensor:
        """Return the (B, channels) features of (B,) rows in an epoch; the generator draws on the CPU."""
        found = self.seen[self.which(rows, epoch), np.searchsorted(self.rows, rows)]
        if self.noise is None:
            return found
        return found + self.noise * torch.randn(found.shape, generator=generator).to(found.device)


@dataclass(frozen=True)
class Changes:
    """Random changes of B samples' frames; the three frames of a sample share brightness and contrast."""

    contrast: Tensor
    """(B, 1, 1, 1) factor of the values in [0, 1]."""
    brightness: Tensor
    """(B, 1, 1, 1) added after the multiplication."""
    augmentation: Augmentation | None = None
    """The strong augmentation, if any."""

    @classmethod
    def draw(
        cls, count: int, probability: float, strength: float, generator: torch.Generator, augment: bool = False
    ) -> Self:
        """Draw changes.

        Args:
            count: B.
            probability: probability that a sample is changed.
            strength: contrast is multiplied by 1 ± strength, then brightness moves by ± strength of full scale.
            generator: draws on the CPU.
            augment: whether to apply strong augmentation too: blur, noise, shift and a gray rectangle.
        """
        draws = torch.rand(3, count, 1, 1, 1, generator=generator)
        changed = (draws[0] < probability).float()
        further = Augmentation.draw(count, probability, generator) if augment else None
        return cls(1 + changed * strength * (2 * draws[1] - 1), changed * strength * (2 * draws[2] - 1), further)


class Feed:
    """Batches of frames on a device; each batch reuses the memory of the one before.

    On a CPU, new memory for every batch would take longer than all work on it, and blocks of a few samples stay in the
    caches. On a GPU, a batch is read into pinned memory while the GPU works on the one before.
    """

    def __init__(self, shape: tuple[int, int, int], device: str, *, read_ahead: bool | None = None) -> None:
        frames, *size_px = shape
        self.size_px, self.colours, self.device = (size_px[0], size_px[1]), 3 * frames, device
        self.read_ahead = device != "cpu" if read_ahead is None else read_ahead
        self.block = max(2, _CPU_BLOCK_PX // math.prod(self.size_px)) if device == "cpu" else None
        self.memory = torch.empty(0, *self.size_px, self.colours, device=device)

    def ahead(self, frames: FrameRows, parts: Iterable[IntArray]) -> Iterator[FrameRows | Tensor]:
        """Yield the frames of each part's rows: unread, or read while the previous part was in use."""
        if not self.read_ahead:
            yield from map(frames.take, parts)
            return
        with ThreadPoolExecutor(1) as reader:
            before: Future[Tensor] | None = None
            for rows in parts:
                coming = reader.submit(lambda rows: self._on_device(frames[rows]), rows)
                if before is not None:
                    yield before.result()
                before = coming
            if before is not None:
                yield before.result()

    def batch(self, frames: FrameRows | Tensor, changes: Changes, mirrored: Tensor | None = None) -> Tensor:
        """Return the changed (B, 3 * frames, h, w) images of B samples in [0, 1]; the next call overwrites them.

        Args:
            frames: the frames of the samples.
            changes: the changes of brightness and contrast, and the strong augmentation.
            mirrored: (B,) True where left and right are exchanged; None for nowhere.
        """
        if len(frames) > len(self.memory):
            self.memory = torch.empty(len(frames), *self.size_px, self.colours, device=self.device)
        contrast, brightness = (change.to(self.device) for change in (changes.contrast / 255, changes.brightness))
        block = self.block or len(frames)
        for start in range(0, len(frames), block):
            part = slice(start, min(start + block, len(frames)))
            pixels = inference.stacked(self._on_device(frames[part]), self.size_px)
            self.memory[part].copy_(pixels).mul_(contrast[part]).add_(brightness[part]).clamp_(0, 1)
        found = self.memory[: len(frames)]
        if changes.augmentation is not None:
            changes.augmentation.apply(found)
        if mirrored is not None:
            found[mirrored] = found[mirrored].flip(2)
        return found.permute(0, 3, 1, 2)

    def _on_device(self, frames: UInt8Array | Tensor) -> Tensor:
        if isinstance(frames, Tensor):
            return frames
        found = torch.from_numpy(frames)
        return found if self.device == "cpu" else found.pin_memory().to(self.device, non_blocking=True)
