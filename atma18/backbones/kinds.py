"""What a kind of backbone knows: where its weights are, how to build its body, and how to fetch what is missing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from atma18.backbones.backbone import BackboneSpec
from atma18.storage import digests

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of RGB in [0, 1]: what torchvision, transformers and mmdetection normalise with, https://docs.pytorch.org/vision."""


@dataclass(frozen=True)
class Found:
    """A backbone by name: what it is, and where its weights are on this machine."""

    spec: BackboneSpec
    read: Callable[[], Mapping[str, Tensor]] | None = None
    """Reads the weights by the names of the body; None where they are drawn."""
    files: tuple[Path, ...] = ()
    """What they are read from."""
    revision: str | None = None
    """The commit of the hub that the files belong to."""
    is_head: Callable[[str], bool] = lambda name: False
    """Whether a weight belongs to what was cut off."""

    @property
    def origin(self) -> str:
        """Where the weights come from, in one line: files with their SHA-256, or nowhere."""
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
    """Of the backbone."""
    files: tuple[str, ...]
    place: Path
    """Where they are looked for."""
    source: str
    """Where they can be downloaded."""
    size: str
    by_path: str
    """A backbone's name with the place where somebody has put them."""

    def __str__(self) -> str:
        return (
            f"expected {' and '.join(self.files)} for backbone {self.name} in {self.place}, found none. Nothing is "
            f"downloaded unless asked: mlflow run . -e fetch -P backbone={self.name}\n"
            f"Or take it ({self.size}) from {self.source} to this machine and say backbone={self.by_path}"
        )


class MissingWeightsError(ValueError):
    """The weights that a name stands for are not on this machine."""


class Kind(Protocol):
    """Backbones that are named and built alike. `reference` is what follows the kind's name in a backbone's."""

    def find(self, reference: str) -> Found:
        """Find a backbone without any network.

        Raises:
            MissingWeightsError: If its weights are not here.
            ValueError: If the reference is none of this kind.
        """

    def draw(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Build a body, (B, 3, H, W) normalised to (B, C, h, w), with weights drawn from torch's generator."""

    def fetch(self, reference: str) -> None:
        """Download what `find` needs, whole or not at all.

        Raises:
            MissingWeightsError: If the source cannot be reached.
        """
