"""What a lens, a sensor and a windscreen do to frames: blur, noise, a small shift, something in the way."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

SHARE = 0.25
"""Each kind is drawn for so many of the samples that are changed."""
SHIFT, COVER, NOISE, GRAY = 0.04, 0.3, 0.04, 0.5
"""Largest shift and cover as shares of height and width; the noise's deviation and a cover's gray in full scale."""


@dataclass(frozen=True)
class Augmentation:
    """Random distortions of B samples, the same for a sample's three frames but for the noise."""

    blurred: Tensor
    """(B,) whether."""
    shift: Tensor
    """(B, 2) how far down and to the right, as shares of height and width; 0 for not at all."""
    cover: Tensor
    """(B, 4) first and last row and column that are covered, as shares; an empty range for nothing."""
    noise: Tensor
    """(B,) standard deviation."""
    generator: torch.Generator
    """Draws the noise of each value, on the CPU."""

    @classmethod
    def draw(cls, count: int, probability: float, generator: torch.Generator) -> Self:
        """Draw for B samples, each of which is changed with this probability."""
        drawn = torch.rand(4, count, generator=generator) < SHARE * probability
        shift = SHIFT * (2 * torch.rand(count, 2, generator=generator) - 1)
        size = COVER * torch.rand(count, 2, generator=generator)
        start = torch.rand(count, 2, generator=generator) * (1 - size)
        cover = torch.stack([start, start + size], dim=2).reshape(count, 4)
        return cls(drawn[0], shift * drawn[1, :, None], cover * drawn[2, :, None], NOISE * drawn[3], generator)

    def apply(self, frames: Tensor) -> None:
        """Change (B, h, w, 9) values in [0, 1] where they are; what a shift uncovers repeats the edge."""
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
