"""A small net without pretrained weights, for images that need little understanding, such as grids along a path."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atma18.backbones.backbone import BackboneSpec
from atma18.backbones.kinds import IMAGENET_MEAN, IMAGENET_STD, Found
from atma18.config import CNN
from atma18.schema import shown

_STAGES = ((5, 2, 24), (3, 2, 48), (3, 1, 96), (3, 2, 96))
"""Kernel, stride and channels of each convolution."""
_PLACES = (3, 6)
"""Rows and columns of the last map, each of which keeps its place in the vector."""
_PER_PLACE, _CHANNELS = 16, 64
_MEANT_FOR_PX = 41


class Cnn(nn.Module):
    """158,360 weights: (B, 3, H, W) to one vector of 64 that knows where things are, as (B, 64, 1, 1).

    Two further channels tell each pixel its row and its column (Liu et al., An Intriguing Failing of Convolutional
    Neural Networks and the CoordConv Solution, 2018).
    """

    def __init__(self) -> None:
        super().__init__()
        (kernel, stride, channels), *further = _STAGES
        self.stem = nn.Conv2d(3, channels, kernel, stride, kernel // 2, bias=False)
        self.place = nn.Conv2d(2, channels, kernel, stride, kernel // 2, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(channels), nn.ReLU()]
        for kernel, stride, channels_out in further:
            layers += [nn.Conv2d(channels, channels_out, kernel, stride, kernel // 2, bias=False)]
            layers += [nn.BatchNorm2d(channels_out), nn.ReLU()]
            channels = channels_out
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, _PER_PLACE, 1), nn.ReLU())
        self.out = nn.Linear(_PER_PLACE * _PLACES[0] * _PLACES[1], _CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 64, 1, 1) for (B, 3, H, W)."""
        rows, columns = (torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype) for size in x.shape[2:])
        places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
        maps = F.adaptive_avg_pool2d(self.layers(self.stem(x) + self.place(places)), _PLACES)
        vector: Tensor = F.relu(self.out(maps.flatten(1)))
        return vector[:, :, None, None]


class CnnKind:
    """`cnn`."""

    def find(self, reference: str) -> Found:
        """Describe the net."""
        if reference:
            raise ValueError(f"expected {CNN}, found {shown(f'{CNN}:{reference}')}")
        return Found(
            BackboneSpec(CNN, CNN, {}, IMAGENET_MEAN, IMAGENET_STD, _CHANNELS, _MEANT_FOR_PX, size_px=_MEANT_FOR_PX)
        )

    def draw(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Build the net."""
        return Cnn()

    def fetch(self, reference: str) -> None:
        """Do nothing: there are no files."""
        self.find(reference)
