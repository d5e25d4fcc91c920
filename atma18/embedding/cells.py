"""Embeddings of each cell of each image by a frozen backbone: computed once, cached by content."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atma18 import backbones
from atma18.backbones import Backbone
from atma18.backbones.engine import Engine
from atma18.cache import Cache
from atma18.compute import inference
from atma18.config import EmbedConfig
from atma18.geometry import images, path_grid
from atma18.geometry.camera import COMPETITION_CAMERA
from atma18.geometry.images import images_of
from atma18.schema import FRAME_SHAPE, Float32Array, FloatArray, FrameCamera, FrameRows, Samples
from atma18.storage import digests, memmaps

Float16Array = NDArray[np.float16]

_SOURCES = (Path(__file__), *sorted(Path(backbones.__file__).parent.glob("*.py")), Path(inference.__file__))
_SOURCES_OF_GRIDS = (Path(images.__file__), Path(path_grid.__file__))


def embed_cells(images: FrameRows, engine: Engine, config: EmbedConfig, device: str, out: Float16Array) -> None:
    """Fill `out` (N, F, cells, channels) with the embedding of every cell of N images of F frames.

    Raises:
        ValueError: If an embedding leaves the range of float16.
    """

    def forward(batch: Tensor) -> Tensor:
        maps = engine(inference.single_images(batch))
        cells = maps.flatten(2).transpose(1, 2)  # (B * F, cells, channels)
        return cells.reshape(len(batch), -1, *cells.shape[1:])

    batches = inference.run_in_batches(
        forward, (images,), config.inference_batch, device, "embed", padded=engine.batch_is_fixed
    )
    for rows, cells in batches:
        with np.errstate(over="ignore"):
            out[rows] = cells
        if not np.isfinite(out[rows]).all():
            raise ValueError(f"expected embeddings within float16, found up to {np.abs(cells).max():.3g}")


def cached_cells(
    samples: Samples,
    data_sha256: str,
    engine: Engine,
    config: EmbedConfig,
    device: str,
    threads: int,
    cache: Cache,
    motion: FloatArray | None = None,
    camera: FrameCamera = COMPETITION_CAMERA,
) -> Float16Array:
    """Return (N, F, cells, channels), memory-mapped; cached by data, backbone, engine, precision, view and machine.

    Args:
        samples: N samples.
        data_sha256: the digest of their dataset.
        engine: the frozen backbone.
        config: the view, the precision and what the backbone is made from.
        device: where the backbone runs.
        threads: the number of threads.
        cache: where the cells are kept.
        motion: the numbers of the fold's motion model, for view path.
        camera: the camera of the training frames, for frames that do not know theirs.
    """
    started = [config.backbone, weights_sha256(config), config.pixels]
    settings = [*started, engine.name, config.autocast, config.inference_batch, device, threads]
    sources = list(_SOURCES)
    if config.view == "path":
        laid_by = samples.frames.camera or camera
        settings += [config.image_shape, np.asarray(motion).tolist(), laid_by.to_json_dict()]
        sources += _SOURCES_OF_GRIDS
    key = digests.sha256_of_records(
        [
            [digests.canonical_json([data_sha256, len(samples), settings])],
            [i.encode() for i in samples.ids],
            [source.read_bytes() for source in sources],
        ]
    )

    def make(path: Path) -> None:
        cells = memmaps.create(path, np.float16, shape_of(len(samples), engine.backbone, config))
        embed_cells(images_of(config, samples, np.asarray(motion), camera), engine, config, device, cells)
        cells.flush()

    return np.asanyarray(np.load(cache.get("embeddings", f"{key}.npy", make), mmap_mode="r"))


def shape_of(count: int, backbone: Backbone, config: EmbedConfig) -> tuple[int, int, int, int]:
    """Return the shape of so many samples' embeddings: (N, F, cells, channels)."""
    return count, config.image_shape[0], cell_count(backbone), backbone.channels


def weights_sha256(config: EmbedConfig) -> str:
    """Digest the initial weights of the backbone."""
    return backbones.weights_sha256(config.backbone, config.seed)


def cell_count(backbone: Backbone) -> int:
    """Return the number of cells of a frame, and of a grid."""
    height, width = backbone.cells(*FRAME_SHAPE[1:3])
    return height * width


def similarity(cells: Float16Array) -> Float32Array:
    """Return the cosine similarity of consecutive frames, cell by cell.

    Args:
        cells: (N, F, cells, channels).

    Returns:
        (N, cells * (F - 1)) cosines, ordered by cell: t with t-0.5 s, then t-0.5 s with t-1.0 s; 0 where an embedding
        is 0.
    """
    out = np.empty((len(cells), cells.shape[2], cells.shape[1] - 1), np.float32)
    for start in range(0, len(cells), 1024):
        c = cells[start : start + 1024].astype(np.float64)
        dot = (c[:, :-1] * c[:, 1:]).sum(axis=-1)
        norm = np.linalg.norm(c, axis=-1)
        product = norm[:, :-1] * norm[:, 1:]
        cosine = np.divide(dot, product, out=np.zeros_like(dot), where=product > 0)  # (N, F - 1, cells)
        out[start : start + 1024] = cosine.transpose(0, 2, 1)
    return out.reshape(len(cells), -1)
