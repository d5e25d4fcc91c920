"""The model of `embed`: a backbone, and the SVD bases and the probe of each fold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from safetensors.numpy import save_file

from atma18 import backbones
from atma18.backbones import Backbone, BackboneSpec, graph
from atma18.backbones.engine import Engine
from atma18.config import EMBEDDING, EmbedConfig
from atma18.embedding.cells import Float16Array, cell_count, embed_cells, shape_of
from atma18.embedding.probe import FoldEmbedding
from atma18.embedding.tables import EmbeddingFeatures
from atma18.geometry.baseline import Baseline
from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.geometry.images import images_of
from atma18.schema import FloatArray, FrameCamera, Samples
from atma18.storage import tensors


class Embedded(Protocol):
    """Samples whose embedding is computed."""

    def embedding(self, name: str, fold: int) -> EmbeddingFeatures:
        """Return the embedding of N samples in this fold's basis."""


@dataclass(frozen=True)
class EmbedModel:
    """The backbone, with the SVD bases and the probe of every fold."""

    config: EmbedConfig
    backbone: Backbone
    folds: tuple[FoldEmbedding, ...]
    causal: bool = True
    needs: tuple[str, ...] = ()
    """The upstreams that it reads: none, because it embeds the samples itself."""
    camera: FrameCamera = COMPETITION_CAMERA
    """The camera of the training frames."""
    made: Engine | None = None
    """What computes the backbone's maps, if it is made already."""

    @cached_property
    def engine(self) -> Engine:
        """What computes the backbone's maps."""
        return self.made or _engine(self.config, self.backbone)

    @property
    def count(self) -> int:
        """The number of folds."""
        return len(self.folds)

    @property
    def spec(self) -> BackboneSpec:
        """The description of the backbone."""
        return self.backbone.spec

    def predict(self, fold: int, samples: Samples, inputs: Embedded, device: str) -> FloatArray:
        """Predict (N, 18) waypoints in metres, vehicle frame at t, with the probe of one fold."""
        probe = self.folds[fold]
        baseline = Baseline(self.config.target, self.config.by_speed, probe.motion)
        return baseline.metres(samples, probe.probe(inputs.embedding(EMBEDDING, fold)))

    def cells(self, fold: int, samples: Samples, device: str) -> Float16Array:
        """Return (N, F, cells, channels) embeddings; with view frame they are the same in every fold."""
        out = np.empty(shape_of(len(samples), self.backbone, self.config), np.float16)
        motion = self.folds[fold].motion if self.config.view == "path" else np.empty(0)
        images = images_of(self.config, samples, motion, self.camera)
        embed_cells(images, self.engine, self.config, device, out)
        return out

    def describe(self) -> dict[str, Any]:
        """Return the configuration, the description of the backbone, and with view path the camera."""
        described = {"config": asdict(self.config), "backbone": asdict(self.spec)}
        return described | ({"camera": self.camera.to_json_dict()} if self.config.view == "path" else {})

    def save(self, folder: Path) -> None:
        """Write the backbone and each fold as safetensors, and the backbone's graph."""
        state = {name: tensor.cpu().contiguous().numpy() for name, tensor in self.backbone.state_dict().items()}
        save_file(state, folder / "backbone.safetensors")
        graph.save(self.engine.graph, folder)
        for k, fold in enumerate(self.folds):
            save_file({name: np.ascontiguousarray(v) for name, v in vars(fold).items()}, folder / _fold_file(k))

    @classmethod
    def load(
        cls,
        config: EmbedConfig,
        spec: BackboneSpec,
        files: Mapping[str, Path],
        device: str,
        camera: FrameCamera = COMPETITION_CAMERA,
    ) -> Self:
        """Read the model that `save` wrote; `spec` describes its backbone."""
        state = tensors.read(files["backbone.safetensors"])
        with torch.device("meta"):  # shapes are checked before memory is allocated
            tensors.check_fit(state, backbones.untrained(spec).state_dict())
        backbone = backbones.untrained(spec)
        backbone.load_state_dict(state)
        count = sum(name.startswith("fold") for name in files)
        folds = tuple(_load_fold(files[_fold_file(k)], config, backbone) for k in range(count))
        engine = _engine(config, backbone.to(device).freeze(), graph.load(files))
        return cls(config, backbone, folds, camera=camera, made=engine)


def _engine(config: EmbedConfig, backbone: Backbone, given: bytes | None = None) -> Engine:
    return Engine.of(backbone, config.image_shape[1:], autocast=config.autocast, given=given)


def _load_fold(file: Path, config: EmbedConfig, backbone: Backbone) -> FoldEmbedding:
    fold = FoldEmbedding(**{name: tensor.numpy() for name, tensor in tensors.read(file).items()})
    cells, _, channels = fold.components.shape
    if (cells, channels) != (cell_count(backbone), backbone.channels):
        raise ValueError(f"expected bases of this backbone's cells, found {fold.components.shape}")
    Baseline(config.target, config.by_speed, fold.motion)
    return fold


def _fold_file(k: int) -> str:
    return f"fold{k}.safetensors"
