"""Frames, decoded once: PNG files become one memory-mapped uint8 array, kept by content."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from atma18.cache import Cache
from atma18.progress import progress
from atma18.schema import (
    FRAME_FILES,
    FRAME_HEIGHT_PX,
    FRAME_WIDTH_PX,
    FrameRows,
    StrArray,
    UInt8Array,
    first_few,
)

_SAMPLES_PER_TASK = 64
_LAYOUT = b"pixel, frame, colour"
"""How frames lie in the store: as nets read them, so that a batch is a copy of whole rows. Part of every key."""
_EIGHT_BIT_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")


@dataclass(frozen=True)
class FrameStore:
    """The decoded frames of N samples."""

    frames: UInt8Array
    """(N, 3, 64, 128, 3) RGB at t, t-0.5 s, t-1.0 s, memory-mapped read-only; in memory, frames lie inside pixels."""
    sha256: UInt8Array
    """(N, 3, 32) digest of each frame's RGB bytes."""


def decode(png: Path | IO[bytes], where: str) -> UInt8Array:
    """Read one frame; `where` names it in messages.

    Returns:
        (64, 128, 3) RGB.

    Raises:
        ValueError: If the file is no image or has another size.
    """
    expected_px = (FRAME_WIDTH_PX, FRAME_HEIGHT_PX)
    try:
        with Image.open(png, formats=["PNG"]) as image:
            size_px, mode = image.size, image.mode
            pixels = np.asarray(image.convert("RGB")) if size_px == expected_px else None
    except UnidentifiedImageError as error:
        raise ValueError(f"{where}: expected a whole PNG image, found none") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: expected a whole PNG image, found something else ({error})") from error
    if mode not in _EIGHT_BIT_MODES:
        raise ValueError(f"{where}: expected an image of 8 bits per channel, found Pillow's mode {mode}")
    if pixels is None:
        expected, found = (f"{width} x {height}" for width, height in (expected_px, size_px))
        raise ValueError(f"{where}: expected a frame of {expected} px, found {found}")
    return pixels


def open_store(images: Path, ids: StrArray, cache: Cache, *, verify: bool = False) -> FrameStore:
    """Open the frames of these samples, decoding the PNG files only if they were never decoded or have changed.

    Args:
        images: the folder that holds `<ID>/image_t.png` and its two fellows.
        ids: (N,) the samples, in the order of the result.
        cache: where the decoded frames are kept.
        verify: decode every file even if its size, time of change and inode are known.

    Raises:
        ValueError: If a file is missing or is no frame; the first ones are named.
    """
    seen = "frames-seen", _stat_key(images, ids)
    if verify:
        cache.forget(*seen)
    content_key = cache.get(
        *seen, lambda path: path.write_text(_decode_and_keep(images, ids, cache, replace=verify))
    ).read_text()

    def decode_again(path: Path) -> None:
        if _decode_all(images, ids, path) != content_key:
            raise ValueError(
                f"{images}: expected the frames of the last time, for no file has another size, time or inode, "
                "found others: read them all with verify=true"
            )

    folder = cache.get("frames", content_key, decode_again)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return FrameStore(FrameRows.frames_first(pixels), np.load(folder / "sha256.npy"))


def _stat_key(images: Path, ids: StrArray) -> str:
    """Digest what the file system says of every frame; a missing file is an error."""
    digest = hashlib.sha256(_LAYOUT + str(images.resolve()).encode())
    missing: list[str] = []
    for sample_id in ids.tolist():
        for name in FRAME_FILES:
            try:
                stat = os.stat(f"{images}/{sample_id}/{name}")  # noqa: PTH116 - a Path each would take as long again
            except OSError:
                missing.append(f"{sample_id}/{name}")
                continue
            digest.update(f"{sample_id}/{name}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}\n".encode())
    if missing:
        raise ValueError(
            f"{images}: expected {len(ids) * len(FRAME_FILES)} frames, missing: {first_few(missing)}: add them"
        )
    return digest.hexdigest()


def _decode_and_keep(images: Path, ids: StrArray, cache: Cache, *, replace: bool) -> str:
    """Decode every frame into the cache and return the content's key; `replace` trusts nothing that is there."""
    with cache.scratch("frames") as scratch:
        content_key = _decode_all(images, ids, scratch)
        if replace:
            cache.forget("frames", content_key)
        cache.keep(scratch, "frames", content_key)
    return content_key


def _decode_all(images: Path, ids: StrArray, folder: Path) -> str:
    """Decode every frame into a new folder and return the content's key."""
    folder.mkdir()
    shape = (len(ids), FRAME_HEIGHT_PX, FRAME_WIDTH_PX, len(FRAME_FILES), 3)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    sha256 = np.zeros((len(ids), len(FRAME_FILES), hashlib.sha256().digest_size), np.uint8)

    def decode_rows(start: int) -> list[str]:
        refused = []
        for row in range(start, min(start + _SAMPLES_PER_TASK, len(ids))):
            for column, name in enumerate(FRAME_FILES):
                path = images / str(ids[row]) / name
                try:
                    frame = decode(path, str(path))
                except ValueError as error:
                    refused.append(str(error))
                    continue
                pixels[row, :, :, column] = frame
                sha256[row, column] = np.frombuffer(hashlib.sha256(frame.tobytes()).digest(), np.uint8)
        return refused

    starts = range(0, len(ids), _SAMPLES_PER_TASK)
    # Pillow and hashlib work outside the interpreter's lock, so threads use every core.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(total=len(ids), desc="decode frames", unit="sample") as bar,
    ):
        refused = []
        for start, found in zip(starts, pool.map(decode_rows, starts), strict=True):
            refused += found
            bar.update(min(_SAMPLES_PER_TASK, len(ids) - start))
    if refused:
        raise ValueError(f"{first_few(refused)}: replace these files")
    pixels.flush()
    np.save(folder / "sha256.npy", sha256)
    return hashlib.sha256(_LAYOUT + sha256.tobytes()).hexdigest()
