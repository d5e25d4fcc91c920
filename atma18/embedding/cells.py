"""Embeddings of each cell of each frame by a frozen backbone: computed once, cached by content."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from atma18 import backbones
from atma18.backbones import Backbone
from atma18.cache import Cache
from atma18.compute import inference
from atma18.config import EmbedConfig
from atma18.schema import Float32Array, FrameRows, Samples
from atma18.storage import digests, memmaps

Float16Array = NDArray[np.float16]

_SOURCES = (Path(__file__), *sorted(Path(backbones.__file__).parent.glob("*.py")), Path(inference.__file__))


def embed_cells(frames: FrameRows, backbone: Backbone, config: EmbedConfig, device: str, out: Float16Array) -> None:
    """Fill `out` (N, 3, cells, channels) with the embedding of every cell of every frame.

    Raises:
        ValueError: If an embedding leaves the range of float16.
    """

    def forward(batch: Tensor) -> Tensor:
        images = inference.single_images(batch)
        with inference.autocast(device, config.autocast):
            maps: Tensor = backbone(images)
        cells = maps.float().flatten(2).transpose(1, 2)  # (B * 3, cells, channels)
        return cells.reshape(len(batch), -1, *cells.shape[1:])

    backbone.eval()
    for rows, cells in inference.run_padded(forward, (frames,), config.inference_batch, device, "embed"):
        with np.errstate(over="ignore"):
            out[rows] = cells
        if not np.isfinite(out[rows]).all():
            raise ValueError(f"expected embeddings within float16, found up to {np.abs(cells).max():.3g}")


def cached_cells(
    samples: Samples, data_sha256: str, backbone: Backbone, config: EmbedConfig, device: str, threads: int, cache: Cache
) -> Float16Array:
    """Return (N, 3, cells, channels), memory-mapped; cached by data, backbone, precision and machine kind."""
    started = [config.backbone, weights_sha256(config), config.pixels]
    settings = [*started, config.autocast, config.inference_batch, device, threads]
    sources = [source.read_bytes() for source in _SOURCES]
    key = digests.sha256_of_records(
        [[digests.canonical_json([data_sha256, len(samples), settings])], [i.encode() for i in samples.ids], sources]
    )

    def make(path: Path) -> None:
        shape = (len(samples), 3, cell_count(backbone), backbone.channels)
        cells = memmaps.create(path, np.float16, shape)
        embed_cells(samples.frames, backbone, config, device, cells)
        cells.flush()

    return np.asanyarray(np.load(cache.get("embeddings", f"{key}.npy", make), mmap_mode="r"))


def weights_sha256(config: EmbedConfig) -> str:
    """Digest the initial weights of the backbone."""
    return backbones.weights_sha256(config.backbone, config.seed)


def cell_count(backbone: Backbone) -> int:
    """Return the number of cells per frame."""
    height, width = backbone.cells(64, 128)
    return height * width


def similarity(cells: Float16Array) -> Float32Array:
    """Return the cosine similarity of consecutive frames, cell by cell.

    Args:
        cells: (N, 3, cells, channels).

    Returns:
        (N, cells * 2) cosines, ordered by cell: t with t-0.5 s, then t-0.5 s with t-1.0 s; 0 where an embedding is 0.
    """
    out = np.empty((len(cells), cells.shape[2], 2), np.float32)
    for start in range(0, len(cells), 1024):
        c = cells[start : start + 1024].astype(np.float64)
        dot = (c[:, :-1] * c[:, 1:]).sum(axis=-1)
        norm = np.linalg.norm(c, axis=-1)
        product = norm[:, :-1] * norm[:, 1:]
        cosine = np.divide(dot, product, out=np.zeros_like(dot), where=product > 0)  # (N, 2, cells)
        out[start : start + 1024] = cosine.transpose(0, 2, 1)
    return out.reshape(len(cells), -1)
