"""The two nets: FrameNet (nn1) looks at one sample, SceneNet (nn2) at all samples of a scene."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from atma18 import backbones, compute
from atma18.backbones import BackboneSpec
from atma18.config import ATTENTION_HEADS, NetConfig
from atma18.schema import TARGETS, IntArray, StrArray

_IN_FRAMES = 3
_SIGNAL_WIDTH = 128


@dataclass(frozen=True)
class SceneLayout:
    """Where the samples of S scenes stand in a flat batch of N: scenes are padded to T steps at the end."""

    rows: Tensor
    """(S, T) row of each step in time order; padding points at row 0."""
    reverse: Tensor
    """(S, T) step that mirrors each step in time; padding stays where it is."""
    valid: Tensor
    """(S, T) False where a step is padding."""

    @classmethod
    def of(cls, lengths: IntArray, steps: int | None = None, scenes: int | None = None) -> Self:
        """Lay out consecutive scenes of these lengths, padded to `steps` steps and `scenes` scenes."""
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
    """Return the number of samples of each scene of (N,) samples that stand scene by scene."""
    if len(scenes) == 0:
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.r_[True, scenes[1:] != scenes[:-1]])
    return np.asarray(np.diff(np.r_[starts, len(scenes)]), np.int64)


class FrameEncoder(nn.Module):
    """Three frames and the CAN signals of a sample become one vector.

    The backbone is the configured one with its weights; with a `spec`, that one untrained, for weights that follow.
    """

    def __init__(self, config: NetConfig, signals: int, *, spec: BackboneSpec | None = None) -> None:
        super().__init__()
        backbone = (
            backbones.untrained(spec, in_frames=_IN_FRAMES, seed=config.seed)
            if spec
            else backbones.build(config.backbone, in_frames=_IN_FRAMES, seed=config.seed, pixels=config.pixels)
        )
        self.backbone = backbone.to(memory_format=torch.channels_last)
        self.signals = nn.Linear(signals, _SIGNAL_WIDTH) if signals else None
        self.width = self.backbone.channels + (_SIGNAL_WIDTH if signals else 0)
        self.autocast = config.autocast

    def forward(self, frames: Tensor, signals: Tensor) -> Tensor:
        """Encode (B, 9, H, W) RGB in [0, 1] and (B, signals) standardised values as (B, width) float32."""
        return self.fuse(self.encode_frames(frames), signals)

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Return what the backbone sees in (B, 9, H, W) RGB in [0, 1], as (B, channels) float32."""
        with compute.autocast(frames.device.type, self.autocast):
            maps: Tensor = self.backbone(frames)
        return maps.float().mean(dim=(2, 3))

    def fuse(self, seen: Tensor, signals: Tensor) -> Tensor:
        """Put (B, channels) of `encode_frames` and (B, signals) standardised values together as (B, width) float32."""
        return seen if self.signals is None else torch.cat([seen, self.signals(signals)], dim=1)


class FrameHead(nn.Sequential):
    """A multi-layer perceptron from a sample's vector to its 18 outputs."""

    def __init__(self, config: NetConfig, width: int) -> None:
        layers: list[nn.Module] = []
        for _ in range(config.num_layers):
            layers += [nn.Linear(width, config.hidden), nn.ReLU()]
            width = config.hidden
        super().__init__(*layers, nn.Linear(width, len(TARGETS)))


class SceneHead(nn.Module):
    """An LSTM over the samples of a scene, in both directions unless causal, and a linear layer.

    Each direction is a layer of its own that reads its steps first to last, so padding at the end changes nothing.
    """

    def __init__(self, config: NetConfig, width: int) -> None:
        super().__init__()
        directions = 1 if config.causal else 2
        widths = [width] + [config.hidden * directions] * (config.num_layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(w, config.hidden, batch_first=True) for w in widths)
        self.back = nn.ModuleList(
            nn.LSTM(w, config.hidden, batch_first=True) for w in ([] if config.causal else widths)
        )
        self.out = nn.Linear(config.hidden * directions, len(TARGETS))

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
    """Self-attention over the samples of a scene, the later ones left out if causal, and a linear layer.

    A sample's place in its scene is told by waves of growing length (Vaswani et al., Attention Is All You Need, 2017,
    section 3.5). Nobody looks at padding.
    """

    def __init__(self, config: NetConfig, width: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, config.hidden)
        layer = nn.TransformerEncoderLayer(
            config.hidden, ATTENTION_HEADS, 2 * config.hidden, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.num_layers, enable_nested_tensor=False)
        self.out = nn.Linear(config.hidden, len(TARGETS))
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
    """Return the (steps, width) sines, then cosines, of each step's place in waves of 2π to 20,000π steps."""
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
        """Predict (N, 18) from (N, width); each sample stands for itself."""
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
