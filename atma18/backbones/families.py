"""Families of models in transformers: how to build each, and how to get its last map."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Family:
    """Models of transformers that share the functions below."""

    build: Callable[[Any], nn.Module]
    """Builds the model from the library's configuration."""
    cells: Callable[[nn.Module, Tensor, Any], Tensor]
    """Returns the last map (B, C, h, w) from the model, images and configuration."""
    channels: Callable[[Any], int]
    stride_px: Callable[[Any], int]
    part: str = ""
    """The attribute of the library's model that holds the backbone; empty if it is the whole model."""


class HubBackbone(nn.Module):
    """A model of transformers that returns its last map."""

    def __init__(self, config: Any) -> None:  # noqa: ANN401 - the library's configurations share no useful type
        super().__init__()
        self.config = config
        self.family = FAMILIES[config.model_type]
        self.model = self.family.build(config)

    def forward(self, x: Tensor) -> Tensor:
        """Return the (B, C, h, w) map of (B, 3, H, W)."""
        return self.family.cells(self.model, x, self.config)


def _last_map(model: nn.Module, x: Tensor, config: Any) -> Tensor:  # noqa: ANN401
    cells: Tensor = model(x).last_hidden_state
    return cells


def _after_class_token(model: nn.Module, x: Tensor, config: Any) -> Tensor:  # noqa: ANN401
    height, width = (size // config.patch_size for size in x.shape[2:])
    tokens: Tensor = model(x).last_hidden_state[:, 1:]
    return _laid_out(tokens, height, width)


def _as_map(model: nn.Module, x: Tensor, config: Any) -> Tensor:  # noqa: ANN401
    stride_px = _patch_stride(config)
    height, width = (-(-size // stride_px) for size in x.shape[2:])
    tokens: Tensor = model(x, always_partition=True).last_hidden_state
    return _laid_out(tokens, height, width)


def _laid_out(tokens: Tensor, height: int, width: int) -> Tensor:
    """Reshape (B, h * w, C), row after row, to (B, C, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)


def _of_detector(model: nn.Module, x: Tensor, config: Any) -> Tensor:  # noqa: ANN401
    maps = model.model(x).feature_maps  # type: ignore[operator]
    cells: Tensor = maps[-1]
    return cells


def _auto_model(config: Any) -> nn.Module:  # noqa: ANN401
    from transformers import AutoModel

    model: nn.Module = AutoModel.from_config(config, dtype=torch.float32)
    return model


def _swin(config: Any) -> nn.Module:  # noqa: ANN401
    model = _auto_model(config)
    for layer in model.modules():
        if hasattr(layer, "set_shift_and_window_size"):
            layer.full_shift = layer.shift_size
            layer.register_forward_pre_hook(_shift_where_there_is_room)
    return model


def _shift_where_there_is_room(layer: Any, inputs: tuple[Any, ...]) -> None:  # noqa: ANN401
    """Keep the library's behaviour for a map of at least one window; pad a smaller map to one window.

    For a smaller map, transformers 5.23 reduces the window but not its position bias, and keeps it reduced afterwards.
    """
    layer.shift_size = 0 if min(inputs[1]) <= layer.window_size else layer.full_shift


def _detector(config: Any) -> nn.Module:  # noqa: ANN401
    from transformers.models.detr.modeling_detr import DetrConvEncoder

    encoder: nn.Module = DetrConvEncoder(config)
    return encoder


def _patch_stride(config: Any) -> int:  # noqa: ANN401
    return int(config.patch_size * 2 ** (len(config.depths) - 1))


def _resnet_stride(config: Any) -> int:  # noqa: ANN401
    return int(4 * 2 ** (len(config.depths) - 1 + config.downsample_in_first_stage))


def _last_size(config: Any) -> int:  # noqa: ANN401
    return int(config.hidden_sizes[-1])


FAMILIES: Mapping[str, Family] = {
    "convnext": Family(_auto_model, _last_map, _last_size, _patch_stride),
    "convnextv2": Family(_auto_model, _last_map, _last_size, _patch_stride),
    "resnet": Family(_auto_model, _last_map, _last_size, _resnet_stride),
    "swin": Family(_swin, _as_map, lambda c: int(c.embed_dim * 2 ** (len(c.depths) - 1)), _patch_stride),
    "dinov2": Family(_auto_model, _after_class_token, lambda c: int(c.hidden_size), lambda c: int(c.patch_size)),
    "detr": Family(
        _detector,
        _of_detector,
        lambda c: _last_size(c.backbone_config),
        lambda c: _resnet_stride(c.backbone_config),
        part="backbone",
    ),
}
"""Families by the library's `model_type`."""
