"""What nets read and answer: images as tensors, bfloat16, and batches of a fixed size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from atma18.compute.progress import progress
from atma18.schema import Float32Array


class Rows(Protocol):
    """N rows of an array-like, read slice by slice."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> NDArray[Any]: ...


@contextmanager
def autocast(device: str, enabled: bool) -> Iterator[None]:
    """Compute in bfloat16 if `enabled`; the caller converts results back to float32."""
    with torch.autocast(device, torch.bfloat16, enabled=enabled):
        yield


def images(pixels: Tensor) -> Tensor:
    """Convert (B, H, W, C) bytes to (B, C, H, W) floats in [0, 1], in channels-last memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(255.0)


def single_images(frames: Tensor) -> Tensor:
    """Convert (B, 3, H, W, 3) bytes to (B * 3, 3, H, W) floats in [0, 1], in channels-last memory."""
    return images(_packed(frames, frame_dim=1).flatten(0, 1))


def stacked_images(frames: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Convert (B, 3, H, W, 3) bytes to (B, 9, h, w) floats in [0, 1], frame after frame, in channels-last memory.

    Args:
        frames: RGB frames.
        size_px: height and width of the resized frames.
    """
    return images(stacked(frames, size_px))


def stacked(frames: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Convert (B, 3, H, W, 3) bytes to resized (B, h, w, 9) bytes, frame after frame in each pixel."""
    return _packed(resized(frames, size_px).permute(0, 2, 3, 1, 4), frame_dim=3).flatten(3)


def resized(frames: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Resize (B, 3, H, W, 3) bytes to (B, 3, h, w, 3) bytes by bicubic interpolation, as Pillow does."""
    if tuple(frames.shape[2:4]) == size_px:
        return frames
    planes = _packed(frames, frame_dim=1).flatten(0, 1).permute(0, 3, 1, 2)
    if frames.device.type == "cpu":  # torch interpolates bytes directly, several times as fast
        scaled = F.interpolate(planes, size_px, mode="bicubic", antialias=True)
    else:
        floats = F.interpolate(planes.float(), size_px, mode="bicubic", antialias=True)
        scaled = floats.round_().clamp_(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).reshape(*frames.shape[:2], *size_px, 3)


def _packed(values: Tensor, frame_dim: int) -> Tensor:
    """Copy bytes to contiguous memory; `frame_dim` holds the three frames, the last dimension the three colours."""
    if values.device.type != "cpu" or values.is_contiguous():
        return values.contiguous()
    packed = torch.empty(values.shape, dtype=values.dtype)
    source, target = (np.moveaxis(tensor.numpy(), frame_dim, -2) for tensor in (values, packed))
    for frame, colour in np.ndindex(target.shape[-2:]):  # nine long copies are much faster than many of three bytes
        target[..., frame, colour] = source[..., frame, colour]
    return packed


def run_in_batches(
    forward: Callable[..., Tensor],
    arrays: tuple[Rows, ...],
    batch: int,
    device: str,
    what: str,
    *,
    padded: bool = True,
) -> Iterator[tuple[slice, Float32Array]]:
    """Run a net over samples in batches of a fixed size; the last one is padded with zeros.

    With a fixed size, a sample's result does not depend on the number of other samples.

    Args:
        forward: one (batch, …) tensor on the device per array → (batch, …) of any type.
        arrays: each (N, …), read batch by batch.
        batch: samples per batch.
        device: the device of `forward`.
        what: the text of the progress bar.
        padded: False for a `forward` whose results do not depend on the size of a batch, which gets no zeros.

    Yields:
        The rows and their (rows, …) float32 results.
    """
    starts = range(0, len(arrays[0]), batch)
    for start in progress(starts, desc=what, unit="batch", leave=False) if len(starts) > 1 else starts:
        rows = slice(start, min(start + batch, len(arrays[0])))
        chunks = [_padded(array[rows], batch) if padded else array[rows] for array in arrays]
        with torch.inference_mode():
            result = forward(*(torch.from_numpy(chunk).to(device) for chunk in chunks))
        yield rows, result[: rows.stop - start].float().cpu().numpy()


def _padded(chunk: NDArray[Any], batch: int) -> NDArray[Any]:
    if len(chunk) == batch:
        return chunk
    padded = np.zeros((batch, *chunk.shape[1:]), chunk.dtype)
    padded[: len(chunk)] = chunk
    return padded
