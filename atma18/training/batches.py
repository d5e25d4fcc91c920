"""What goes into a batch: rows of whole units, and views of frames that are changed at random."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from atma18.schema import IntArray


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
