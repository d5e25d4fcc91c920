"""The protocol of a kind of backbone: find the weights, build the body, and download missing files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from atma18.backbones.backbone import BackboneSpec
from atma18.storage import digests

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of RGB in [0, 1] in torchvision, transformers and mmdetection, from
https://docs.pytorch.org/vision."""


@dataclass(frozen=True)
class Found:
    """The description of a backbone and its weights on this machine."""

    spec: BackboneSpec
    read: Callable[[], Mapping[str, Tensor]] | None = None
    """Reads the weights by the names of the body; None for random weights."""
    files: tuple[Path, ...] = ()
    """The files of the weights."""
    revision: str | None = None
    """The commit of the files on the hub."""
    is_head: Callable[[str], bool] = lambda name: False
    """Whether a weight belongs to the removed head."""

    @property
    def origin(self) -> str:
        """The source of the weights, in one line: files with their SHA-256, or none."""
        if self.read is None:
            return "weights drawn from the seed, not pretrained"
        files = ", ".join(f"{path.name} (SHA-256 {digests.file_sha256(path)})" for path in self.files)
        return files if self.revision is None else f"revision {self.revision}: {files}"

    def __str__(self) -> str:
        spec = self.spec
        shape = f"{spec.channels} channels per {spec.stride_px} x {spec.stride_px} px, made for {spec.size_px} px"
        return f"backbone {spec.name}, {shape}: {self.origin}"


@dataclass(frozen=True)
class Missing:
    """Weights that are not on this machine."""

    name: str
    """The name of the backbone."""
    files: tuple[str, ...]
    place: Path
    """The place where they are expected."""
    source: str
    """The address where they can be downloaded."""
    size: str
    by_path: str
    """The form of a backbone's name with the path of the weights."""

    def __str__(self) -> str:
        return (
            f"expected {' and '.join(self.files)} for backbone {self.name} in {self.place}, found none. Nothing is "
            f"downloaded unless asked: mlflow run . -e fetch -P backbone={self.name}\n"
            f"Or take it ({self.size}) from {self.source} to this machine and say backbone={self.by_path}"
        )


class MissingWeightsError(ValueError):
    """The weights of a backbone are not on this machine."""


class Kind(Protocol):
    """Backbones that are named and built alike. `reference` is the part of a backbone's name after the kind's name."""

    def find(self, reference: str) -> Found:
        """Find a backbone without a network.

        Raises:
            MissingWeightsError: If its weights are not on this machine.
            ValueError: If the reference is not valid for this kind.
        """

    def draw(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Build a body, from normalised (B, 3, H, W) to (B, C, h, w), with random weights of torch's generator."""

    def fetch(self, reference: str) -> None:
        """Download the files that `find` needs; no incomplete file remains.

        Raises:
            MissingWeightsError: If the source cannot be reached.
        """
