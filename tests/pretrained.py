"""Small checkpoints with the keys of published ones and random weights."""

import json
import sys
from contextlib import contextmanager
from types import ModuleType

import numpy as np
import torch
import transformers
from torch import nn
from torchvision import models

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
FAMILIES = ("convnext", "convnextv2", "resnet", "swin", "dinov2", "detr")
_SIZES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1]}
_RESNET = {"embedding_size": 16, "layer_type": "basic", **_SIZES}
"""Torch 2.14 sometimes crashes in the backward pass of a 1 x 1 convolution with stride 2 and 8 channels, which no real
net has."""


def library_model(family):
    """A model of the library, head included."""
    t = transformers
    match family:
        case "convnext":
            return t.ConvNextForImageClassification(t.ConvNextConfig(**_SIZES, num_labels=3))
        case "convnextv2":
            return t.ConvNextV2ForImageClassification(t.ConvNextV2Config(**_SIZES, num_labels=3))
        case "resnet":
            return t.ResNetForImageClassification(t.ResNetConfig(**_RESNET, num_labels=3))
        case "swin":
            shape = {"embed_dim": 12, "depths": [2, 2, 2], "num_heads": [1, 2, 3], "window_size": 4, "image_size": 64}
            return t.SwinForImageClassification(t.SwinConfig(**shape, num_labels=3))
        case "dinov2":
            shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 42}
            return t.Dinov2Model(t.Dinov2Config(**shape))
        case "detr":
            backbone = t.ResNetConfig(**_RESNET, out_features=["stage4"])
            sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_queries": 4}
            sizes |= {f"{part}_{size}": 2 for part in ("encoder", "decoder") for size in ("attention_heads", "ffn_dim")}
            config = t.DetrConfig(use_timm_backbone=False, backbone_config=backbone, **sizes)
            return t.DetrForObjectDetection(config)


def hub_folder(family, folder, seed=0):
    """Save a model with the library, with changed weights and a preprocessor configuration."""
    torch.manual_seed(seed)
    model = library_model(family)
    stir(model)
    model.save_pretrained(folder)
    wanted = {"do_normalize": True, "image_mean": MEAN, "image_std": STD, "size": {"shortest_edge": 64}}
    (folder / "preprocessor_config.json").write_text(json.dumps(wanted))
    return folder


def stir(model):
    """Change every weight and statistic, so that none has an initial value of 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value += 0.02 * (torch.rand(value.shape, generator=generator) - 0.5)


def resnet50(seed=0):
    """Return torchvision's ResNet-50 with random weights."""
    torch.manual_seed(seed)
    model = models.resnet50(weights=None)
    stir(model)
    return model.eval()


class HistoryBuffer:
    """A stand-in for the class in which mmengine stores figures of a training."""

    def __init__(self):
        """Store a few numbers."""
        self._log_history, self._max_length = np.array([0.5, 0.25]), 1_000_000


@contextmanager
def mmengine():
    """Make `HistoryBuffer` a class of mmengine while a file is written."""
    names = ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer")
    modules = {name: ModuleType(name) for name in names}
    modules[names[-1]].HistoryBuffer = HistoryBuffer
    before = HistoryBuffer.__module__
    sys.modules.update(modules)
    HistoryBuffer.__module__ = names[-1]
    try:
        yield
    finally:
        HistoryBuffer.__module__ = before
        for name in names:
            del sys.modules[name]


def mmdet_file(path, model):
    """Save a backbone as mmdetection 3.2 saves a DETR: in a dictionary with the other data of a trainer."""
    weights = {f"backbone.{k}": v for k, v in model.state_dict().items() if not k.startswith("fc.")}
    weights |= {"neck.convs.0.conv.weight": torch.zeros(4, 4, 1, 1), "bbox_head.fc_cls.bias": torch.zeros(14)}
    with mmengine():
        torch.save(
            {
                "meta": {"epoch": 400, "cfg": "model = dict(type='DETR')", "mmengine_version": "0.10.3"},
                "state_dict": weights,
                "message_hub": {
                    "log_scalars": {"train/loss": HistoryBuffer()},
                    "runtime_info": {"seed": np.int64(3)},
                },
                "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []},
            },
            path,
        )
    return path


class Identity(nn.Identity):
    """A module whose class no loader knows."""
