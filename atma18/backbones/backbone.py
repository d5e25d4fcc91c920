"""A backbone: RGB frames in, one map of cell embeddings out; it normalises its input and can be frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from atma18.config import STRICT, Pixels


@dataclass(frozen=True)
class BackboneSpec:
    """The description of a backbone without its weights, as plain data: enough to build it without its files."""

    __pydantic_config__ = STRICT  # for `config.from_json`

    name: str
    """The name that the user gave."""
    kind: str
    """The kind that builds the body: a key of `backbones.KINDS`."""
    architecture: Mapping[str, Any]
    """The arguments from which the kind builds the body, as JSON."""
    mean_rgb: tuple[float, float, float]
    """The mean that is subtracted from RGB in [0, 1]."""
    std_rgb: tuple[float, float, float]
    """The standard deviation that the difference is divided by."""
    channels: int
    """C, the length of a cell's embedding."""
    stride_px: int
    """The height and width of a cell in the frame."""
    size_px: int
    """The height and width of the images on which the weights were trained."""

    def reading(self, pixels: Pixels) -> Self:
        """Return the spec for other pixels: `unit` is not normalised at all, `bytes` is only divided by 255."""
        match pixels:
            case "normalised":
                return self
            case "unit":
                return replace(self, mean_rgb=(0.0,) * 3, std_rgb=(1.0,) * 3)
            case "bytes":
                return replace(self, mean_rgb=(0.0,) * 3, std_rgb=(1 / 255,) * 3)


class Backbone(nn.Module):
    """A net without its head.

    Freezing stops gradients and the running statistics of batch-norm, also after `train()`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: BackboneSpec, body: nn.Module, *, in_frames: int = 1) -> None:
        super().__init__()
        self.spec = spec
        self.in_frames = in_frames
        self.frozen = False
        self._cells: dict[tuple[int, int], tuple[int, int]] = {}
        self.body = body
        for name, rgb in (("mean", spec.mean_rgb), ("std", spec.std_rgb)):
            per_channel = torch.tensor(rgb * in_frames, dtype=torch.float32)
            self.register_buffer(name, per_channel.view(1, -1, 1, 1), persistent=False)

    @property
    def channels(self) -> int:
        """C, the length of a cell's embedding."""
        return self.spec.channels

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames cell by cell.

        Args:
            frames: (B, 3 * in_frames, H, W) RGB in [0, 1], one frame after the other.

        Returns:
            (B, C, h, w) one embedding per cell.

        Raises:
            ValueError: If the number of channels is another.
        """
        if frames.ndim != 4 or frames.shape[1] != 3 * self.in_frames:
            raise ValueError(f"expected frames (B, {3 * self.in_frames}, H, W), found {tuple(frames.shape)}")
        cells: Tensor = self.body((frames - self.mean) / self.std)
        return cells

    def cells(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Return the numbers of rows and columns of cells (h, w) for frames of this size."""
        size_px = height_px, width_px
        if size_px not in self._cells:
            was_training = self.training
            with torch.no_grad():
                shape = self.eval()(self.mean.expand(1, -1, *size_px)).shape
            self.train(was_training)
            self._cells[size_px] = int(shape[2]), int(shape[3])
        return self._cells[size_px]

    def freeze(self, frozen: bool = True) -> Self:
        """Freeze or unfreeze; after unfreezing, `train()` of the parent starts batch-norm again."""
        self.frozen = frozen
        self.requires_grad_(not frozen)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.frozen)


def inflate(body: nn.Module, in_frames: int) -> None:
    """Divide the weights of the first convolution or patch embedding evenly over several frames.

    A repeated frame then gives the same result as one frame, at the border too, since padding is 0.
    """
    stem = next(m for m in body.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3)
    stem.in_channels = 3 * in_frames
    weight = stem.weight.detach().repeat(1, in_frames, 1, 1)
    stem.weight = nn.Parameter(weight if weight.is_meta else weight / in_frames)  # else torch imports its compiler
    for module in body.modules():
        if getattr(module, "num_channels", None) == 3:  # transformers compares its input with this
            module.num_channels = 3 * in_frames  # type: ignore[assignment]
