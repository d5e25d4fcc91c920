"""Image backbones by name: RGB frames in, one map of cell embeddings out.

`backbone` holds the common class, `kinds` the protocol of a kind; `lite0`, `cnn`, `vision`, `hub` (with its `families`)
and `detector` are the kinds; `checkpoint` reads weights from untrusted files, and `precision` is the rule for bfloat16.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from atma18.backbones import checkpoint
from atma18.backbones.backbone import Backbone, BackboneSpec, inflate
from atma18.backbones.cnn import CnnKind
from atma18.backbones.detector import DetectorKind
from atma18.backbones.hub import HubKind
from atma18.backbones.kinds import Found, Kind, MissingWeightsError
from atma18.backbones.lite0 import Lite0Kind
from atma18.backbones.vision import TorchvisionKind
from atma18.config import BACKBONES, CNN, HF, LITE0, RSUD20K, TORCHVISION, Pixels
from atma18.schema import shown

__all__ = [
    "HF",
    "KINDS",
    "Backbone",
    "BackboneSpec",
    "Found",
    "MissingWeightsError",
    "build",
    "fetch",
    "find",
    "untrained",
    "weights_sha256",
]

KINDS: dict[str, Kind] = {
    LITE0: Lite0Kind(),
    CNN: CnnKind(),
    TORCHVISION: TorchvisionKind(),
    HF: HubKind(),
    RSUD20K: DetectorKind(),
}
"""Kinds by the part of a backbone's name before the colon."""


def find(name: str) -> Found:
    """Find the description and the weights of a backbone on this machine; no network is used.

    Raises:
        MissingWeightsError: If its weights are not on this machine; the message says how to get them.
        ValueError: If the name is unknown, or its files cannot be used.
    """
    kind, reference = _parse(name)
    return kind.find(reference)


def fetch(name: str) -> Found:
    """Download missing files of a backbone into the cache of its library, and find it.

    Raises:
        MissingWeightsError: If the download fails; no incomplete file remains.
        ValueError: If the name is unknown.
    """
    kind, reference = _parse(name)
    kind.fetch(reference)
    return kind.find(reference)


def build(name: str, *, in_frames: int = 1, seed: int = 0, pixels: Pixels = "normalised") -> Backbone:
    """Build a backbone with its weights on the CPU, in training mode; torch's global generator does not change.

    Args:
        name: see `config.BACKBONES`.
        in_frames: number of RGB frames stacked in the channels of one input. Weights for one frame are divided evenly,
            so that a repeated frame gives the same result as one frame.
        seed: seed of the weights that are not pretrained.
        pixels: the normalisation of the input.

    Raises:
        MissingWeightsError: If its weights are not on this machine.
        ValueError: If the name is unknown, the weights do not fit, or `in_frames` is below 1.
    """
    found = find(name)
    with _drawn_from(seed):
        body = KINDS[found.spec.kind].draw(found.spec.architecture)
    if found.read is not None:
        checkpoint.fill(body, found.read(), name, found.is_head)
    return _finished(found.spec.reading(pixels), body, in_frames)


def untrained(spec: BackboneSpec, *, in_frames: int = 1, seed: int = 0) -> Backbone:
    """Build a backbone with random weights from its description; the caller loads a state dict next.

    Raises:
        ValueError: If the kind is unknown, or `in_frames` is below 1.
    """
    if spec.kind not in KINDS:
        raise ValueError(f"expected a kind of backbone that this version knows, found {shown(spec.kind)}")
    with _drawn_from(seed):
        body = KINDS[spec.kind].draw(spec.architecture)
    return _finished(spec, body, in_frames)


@lru_cache(maxsize=8)
def weights_sha256(name: str, seed: int = 0) -> str:
    """Return the SHA-256 of a backbone's normalisation and initial weights (names, types, shapes and bytes)."""
    backbone = build(name, seed=seed)
    digest = hashlib.sha256(f"{backbone.spec.mean_rgb} {backbone.spec.std_rgb}".encode())
    for key, value in backbone.state_dict().items():
        data = value.contiguous().numpy().tobytes()
        head = f"{key} {value.dtype} {tuple(value.shape)} {len(data)}".encode()
        digest.update(len(head).to_bytes(8, "little") + head + data)
    return digest.hexdigest()


def _parse(name: str) -> tuple[Kind, str]:
    kind = re.split("[:@]", name, maxsplit=1)[0]
    if kind not in KINDS:
        raise ValueError(f"expected a backbone among {BACKBONES}; found {shown(name)}")
    return KINDS[kind], name.removeprefix(kind).removeprefix(":")


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed the GPUs too
        yield


def _finished(spec: BackboneSpec, body: torch.nn.Module, in_frames: int) -> Backbone:
    if in_frames < 1:
        raise ValueError(f"expected in_frames of at least 1, found {in_frames}")
    if in_frames > 1:
        inflate(body, in_frames)
    return Backbone(spec, body.float().train(), in_frames=in_frames)
