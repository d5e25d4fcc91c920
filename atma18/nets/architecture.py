"""The architectures of the nets: FrameNet (nn1) takes one sample, SceneNet (nn2) all samples of a scene."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from atma18 import backbones
from atma18.backbones import BackboneSpec
from atma18.compute import inference
from atma18.config import ATTENTION_HEADS, NetConfig
from atma18.schema import TARGETS, IntArray, StrArray

_SIGNAL_WIDTH = 128


@dataclass(frozen=True)
class SceneLayout:
    """Row indices that arrange a flat batch of N samples as S scenes of T steps, padded at the end."""

    rows: Tensor
    """(S, T) row of each step in time order; padding has row 0."""
    reverse: Tensor
    """(S, T) index of each step in reversed time; a padding step keeps its own index."""
    valid: Tensor
    """(S, T) False at padding."""

    @classmethod
    def of(cls, lengths: IntArray, steps: int | None = None, scenes: int | None = None) -> Self:
        """Return the layout of consecutive scenes with these lengths, padded to `steps` steps and `scenes` scenes."""
        width, height = steps or int(lengths.max()), scenes or len(lengths)
        padded = np.zeros(height, np.int64)
        padded[: len(lengths)] = lengths
        step = np.arange(width)[None]
        valid = step < padded[:, None]
        first = (np.cumsum(padded) - padded)[:, None]
        rows = np.where(valid, first + step, 0)
        reverse = np.where(valid, padded[:, None] - 1 - step, step)
        return cls(*(torch.from_numpy(a) for a in (rows, reverse, valid)))

    def to(self, device: str) -> Self:
        """Move the layout to a device."""
        return type(self)(self.rows.to(device), self.reverse.to(device), self.valid.to(device))


def scene_lengths(scenes: StrArray) -> IntArray:
    """Return the number of samples of each scene; the (N,) samples must be sorted by scene."""
    if len(scenes) == 0:
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.r_[True, scenes[1:] != scenes[:-1]])
    return np.asarray(np.diff(np.r_[starts, len(scenes)]), np.int64)


class FrameEncoder(nn.Module):
    """Encode the image and the CAN signals of a sample as one vector.

    The backbone is the configured one with its weights. With a `spec`, it is an untrained backbone of that description,
    whose weights are loaded later.
    """

    def __init__(self, config: NetConfig, signals: int, *, spec: BackboneSpec | None = None) -> None:
        super().__init__()
        in_frames = config.image_shape[0]
        backbone = (
            backbones.untrained(spec, in_frames=in_frames, seed=config.seed)
            if spec
            else backbones.build(config.backbone, in_frames=in_frames, seed=config.seed, pixels=config.pixels)
        )
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.signals = nn.Linear(signals, _SIGNAL_WIDTH) if signals else None
        self.width = self.backbone.channels + (_SIGNAL_WIDTH if signals else 0)
        self.autocast = config.autocast

    def forward(self, frames: Tensor, signals: Tensor) -> Tensor:
        """Encode (B, 3 * frames, H, W) RGB in [0, 1] and (B, signals) standardised values as (B, width) float32."""
        return self.fuse(self.encode_frames(frames), signals)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Return the features of (B, 3 * frames, H, W) RGB in [0, 1]: (B, channels) float32."""
        with inference.autocast(frames.device.type, self.autocast):
            maps: Tensor = self.backbone(frames)
        return features_of(maps.float())

    def fuse(self, seen: Tensor, signals: Tensor) -> Tensor:
        """Join (B, channels) from `encode_frames` with (B, signals) standardised values: (B, width) float32."""
        return seen if self.signals is None else torch.cat([seen, self.signals(signals)], dim=1)


def features_of(maps: Tensor) -> Tensor:
    """Return the features of images, (B, C), which are their (B, C, h, w) maps averaged over space."""
    return maps.mean(dim=(2, 3))


def _output(config: NetConfig, width: int) -> nn.Linear:
    """Return the last layer; with view path it begins as zeros, so that the net begins as its baseline."""
    layer = nn.Linear(width, len(TARGETS))
    if config.view == "path":
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer


class FrameHead(nn.Sequential):
    """A multi-layer perceptron that maps a sample's vector to 18 outputs."""

    def __init__(self, config: NetConfig, width: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(config.num_layers):
            layers += [nn.Linear(width, config.hidden), nn.ReLU()]
            width = config.hidden
        super().__init__(*layers, _output(config, width))


class SceneHead(nn.Module):
    """An LSTM over the samples of a scene, bidirectional unless causal, and a linear layer.

    Each direction has its own layers, which read their steps from first to last. Padding is at the end, so it does not
    change the result.
    """

    def __init__(self, config: NetConfig, width: int) -> None:
        super().__init__()
        directions = 1 if config.causal else 2
        widths = [width] + [config.hidden * directions] * (config.num_layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(w, config.hidden, batch_first=True) for w in widths)
        self.back = nn.ModuleList(
            nn.LSTM(w, config.hidden, batch_first=True) for w in ([] if config.causal else widths)
        )
        self.out = _output(config, config.hidden * directions)

    def forward(self, encoded: Tensor, layout: SceneLayout) -> Tensor:
        """Predict (N, 18) from (N, width), laid out scene by scene."""
        x = encoded[layout.rows]  # (N, width) -> (S, T, width)
        mirror = layout.reverse[..., None]
        for i, layer in enumerate(self.ahead):
            ahead = layer(x)[0]
            if self.back:
                mirrored = self.back[i](x.gather(1, mirror.expand_as(x)))[0]
                back = mirrored.gather(1, mirror.expand_as(mirrored))
                x = torch.cat([ahead, back], dim=2)
            else:
                x = ahead
        predicted: Tensor = self.out(x)
        return predicted[layout.valid]  # (S, T, 18) -> (N, 18)


class AttentionHead(nn.Module):
    """Self-attention over the samples of a scene, with later samples masked if causal, and a linear layer.

    Sinusoidal encodings give the position of each sample in its scene (Vaswani et al., Attention Is All You Need, 2017,
    section 3.5). Padding is masked.
    """

    def __init__(self, config: NetConfig, width: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, config.hidden)
        layer = nn.TransformerEncoderLayer(
            config.hidden, ATTENTION_HEADS, 2 * config.hidden, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.num_layers, enable_nested_tensor=False)
        self.out = _output(config, config.hidden)
        self.causal = config.causal

    def forward(self, encoded: Tensor, layout: SceneLayout) -> Tensor:
        """Predict (N, 18) from (N, width), laid out scene by scene."""
        x = self.into(encoded)[layout.rows]  # (N, width) -> (S, T, hidden)
        steps = x.shape[1]
        later = torch.ones(steps, steps, dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        seen = self.layers(
            x + sinusoidal_positions(steps, x.shape[2]).to(x), mask=later, src_key_padding_mask=~layout.valid
        )
        predicted: Tensor = self.out(seen)
        return predicted[layout.valid]  # (S, T, 18) -> (N, 18)


def sinusoidal_positions(steps: int, width: int) -> Tensor:
    """Return the (steps, width) position encodings: sines, then cosines, with wavelengths of 2π to 20,000π steps."""
    rates = 1e4 ** -torch.linspace(0, 1, width // 2)
    angles = torch.arange(steps)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class FrameNet(nn.Module):
    """nn1: [backbone of 9 channels ‖ Linear(signals → 128)] → MLP → 18 outputs per sample."""

    def __init__(self, config: NetConfig, signals: int, *, spec: BackboneSpec | None = None) -> None:
        super().__init__()
        self.encoder = FrameEncoder(config, signals, spec=spec)
        self.head = FrameHead(config, self.encoder.width)

    def decode(self, encoded: Tensor, layout: SceneLayout) -> Tensor:
        """Predict (N, 18) from (N, width), each sample independently."""
        predicted: Tensor = self.head(encoded)
        return predicted


class SceneNet(nn.Module):
    """nn2: the same encoder, then an LSTM, or attention, over the samples of one scene."""

    def __init__(self, config: NetConfig, signals: int, *, spec: BackboneSpec | None = None) -> None:
        super().__init__()
        self.encoder = FrameEncoder(config, signals, spec=spec)
        head = AttentionHead if config.sequence_head == "attention" else SceneHead
        self.head = head(config, self.encoder.width)

    def decode(self, encoded: Tensor, layout: SceneLayout) -> Tensor:
        """Predict (N, 18) from (N, width), laid out scene by scene."""
        predicted: Tensor = self.head(encoded, layout)
        return predicted


Net = FrameNet | SceneNet

NETS: dict[str, type[FrameNet] | type[SceneNet]] = {"nn1": FrameNet, "nn2": SceneNet}
