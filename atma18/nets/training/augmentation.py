"""Strong augmentation of frames: blur, noise, a small shift and a gray rectangle."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

SHARE = 0.25
"""Share of the changed samples to which each kind applies."""
SHIFT, COVER, NOISE, GRAY = 0.04, 0.3, 0.04, 0.5
"""Largest shift and rectangle as shares of height and width; standard deviation of noise and gray level in [0, 1]."""


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of B samples; the three frames of a sample share everything except the noise."""

    blurred: Tensor
    """(B,) whether to blur."""
    shift: Tensor
    """(B, 2) shift down and to the right, as shares of height and width; 0 for none."""
    cover: Tensor
    """(B, 4) first and last row, then column, of the gray rectangle, as shares; an empty range for none."""
    noise: Tensor
    """(B,) standard deviation of the noise; 0 for none."""
    generator: torch.Generator
    """The random generator of the noise, on the CPU."""

    @classmethod
    def draw(cls, count: int, probability: float, generator: torch.Generator) -> Self:
        """Draw for B samples; each kind applies with probability `SHARE * probability`."""
        drawn = torch.rand(4, count, generator=generator) < SHARE * probability
        shift = SHIFT * (2 * torch.rand(count, 2, generator=generator) - 1)
        size = COVER * torch.rand(count, 2, generator=generator)
        start = torch.rand(count, 2, generator=generator) * (1 - size)
        cover = torch.stack([start, start + size], dim=2).reshape(count, 4)
        return cls(drawn[0], shift * drawn[1, :, None], cover * drawn[2, :, None], NOISE * drawn[3], generator)

    def apply(self, frames: Tensor) -> None:
        """Augment (B, h, w, 9) values in [0, 1] in place; a shift repeats the edge."""
        from torchvision.transforms.v2 import functional  # its import takes seconds, and few trainings use it

        rows, columns = (torch.arange(size, device=frames.device) for size in frames.shape[1:3])
        for i in self.shift.any(dim=1).nonzero().flatten().tolist():
            down, right = (self.shift[i] * torch.tensor(frames.shape[1:3])).round().int().tolist()
            up_to = len(rows) - 1, len(columns) - 1
            frames[i] = frames[i][(rows - down).clamp(0, up_to[0])][:, (columns - right).clamp(0, up_to[1])]
        for i in self.blurred.nonzero().flatten().tolist():
            frames[i] = functional.gaussian_blur(frames[i].permute(2, 0, 1), [3, 3]).permute(1, 2, 0)
        for i in (self.noise > 0).nonzero().flatten().tolist():
            noise = torch.randn(frames.shape[1:], generator=self.generator).to(frames.device)
            frames[i].add_(self.noise[i].item() * noise).clamp_(0, 1)
        for i in self.cover.any(dim=1).nonzero().flatten().tolist():
            top, bottom = (self.cover[i, :2] * len(rows)).round().int().tolist()
            left, right = (self.cover[i, 2:] * len(columns)).round().int().tolist()
            frames[i, top:bottom, left:right] = GRAY
