"""The ResNet-50 of the DETR that the authors of RSUD20K trained on road scenes with mmdetection."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from atma18.backbones import vision
from atma18.backbones.backbone import BackboneSpec
from atma18.backbones.kinds import IMAGENET_MEAN, IMAGENET_STD, Found, Missing, MissingWeightsError
from atma18.config import RSUD20K

SOURCE = "https://github.com/hasibzunair/RSUD20K/releases/download/v1/detr.pth"
_SIZE = "about 170 MB, or 500 MB if it holds the state of the optimiser"  # 41.6 M parameters, once or three times
_PREFIX = "backbone."
_MODEL, _LAYER, _CHANNELS, _STRIDE_PX = "resnet50", "layer4", 2048, 32
_SIZE_PX = 800
"""The shorter side of images in training: configs/detr/detr_r50_8xb2-150e_coco.py of mmdetection 3.2."""


class DetectorKind:
    """`rsud20k:FILE`: the backbone of a DETR of mmdetection; names are torchvision's with the prefix `backbone.`."""

    def find(self, reference: str) -> Found:
        """Find the checkpoint."""
        file = _file(reference)
        if not file.is_file():
            raise MissingWeightsError(str(_missing(file)))
        spec = BackboneSpec(
            name=f"{RSUD20K}:{reference}",
            kind=RSUD20K,
            architecture={"model": _MODEL, "layer": _LAYER},
            mean_rgb=IMAGENET_MEAN,
            std_rgb=IMAGENET_STD,
            channels=_CHANNELS,
            stride_px=_STRIDE_PX,
            size_px=_SIZE_PX,
        )
        return vision.found_in(spec, file, _PREFIX)

    def draw(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Build torchvision's ResNet, which equals mmdetection's in style `pytorch`."""
        return vision.TorchvisionKind().draw(architecture)

    def fetch(self, reference: str) -> None:
        """Download the published checkpoint to the path in the name."""
        file = _file(reference)
        if not file.is_file():
            vision.download(SOURCE, file, str(_missing(file)))


def _file(reference: str) -> Path:
    if not reference:
        raise ValueError(f"expected {RSUD20K}: and where detr.pth is or shall be, such as {RSUD20K}:weights/detr.pth")
    return Path(reference).expanduser()


def _missing(file: Path) -> Missing:
    return Missing(
        name=f"{RSUD20K}:{file}",
        files=(file.name,),
        place=file.absolute().parent,
        source=SOURCE,
        size=_SIZE,
        by_path=f"{RSUD20K}:/path/of/detr.pth",
    )
