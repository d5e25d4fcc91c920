"""A kind of backbone that trains in no time."""

import torch
from torch import nn

from atma18 import backbones
from atma18.backbones import BackboneSpec, Found


class SmallKind:
    """The one backbone `small`: a convolution with batch-norm, untrained."""

    def find(self, reference):
        return Found(BackboneSpec("small", "small", {}, (0.5,) * 3, (0.25,) * 3, 8, stride_px=32, size_px=64))

    def draw(self, architecture):
        return nn.Sequential(nn.AvgPool2d(8), nn.Conv2d(3, 8, 4, 4, bias=False), nn.BatchNorm2d(8), nn.Hardswish())


def know_small():
    """Know it in this process, which leaves the other cores alone."""
    backbones.KINDS["small"] = SmallKind()
    torch.set_num_threads(1)
