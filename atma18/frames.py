"""Frames, decoded once: PNG files become one memory-mapped uint8 array, kept by content."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from tqdm import tqdm

from atma18.cache import Cache
from atma18.schema import FRAME_FILES, FRAME_HEIGHT_PX, FRAME_SHAPE, FRAME_WIDTH_PX, StrArray, UInt8Array, first_few

_SAMPLES_PER_TASK = 64


@dataclass(frozen=True)
class FrameStore:
    """The decoded frames of N samples."""

    frames: UInt8Array
    """(N, 3, 64, 128, 3) RGB at t, t-0.5 s, t-1.0 s, memory-mapped read-only."""
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
            size_px = image.size
            pixels = np.asarray(image.convert("RGB")) if size_px == expected_px else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where}: expected a whole PNG image, found something else ({error})") from error
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
    stat_key = _stat_key(images, ids)
    known = cache.place("frames-seen", stat_key)
    if verify or not known.exists() or not cache.place("frames", known.read_text()).exists():
        content_key = _decode_all(images, ids, cache)
        known.unlink(missing_ok=True)
        cache.get("frames-seen", stat_key, lambda path: _write_text(path, content_key))
    folder = cache.place("frames", known.read_text())
    return FrameStore(np.load(folder / "frames.npy", mmap_mode="r"), np.load(folder / "sha256.npy"))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)


def _stat_key(images: Path, ids: StrArray) -> str:
    """Digest what the file system says of every frame; a missing file is an error."""
    digest = hashlib.sha256(str(images.resolve()).encode())
    missing: list[str] = []
    for sample_id in ids.tolist():
        for name in FRAME_FILES:
            try:
                stat = os.stat(f"{images}/{sample_id}/{name}")  # noqa: PTH116 - a Path each would take as long again
            except FileNotFoundError:
                missing.append(f"{sample_id}/{name}")
                continue
            digest.update(f"{sample_id}/{name}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}\n".encode())
    if missing:
        raise ValueError(f"{images}: expected {len(ids) * len(FRAME_FILES)} frames, missing: {first_few(missing)}")
    return digest.hexdigest()


def _decode_all(images: Path, ids: StrArray, cache: Cache) -> str:
    """Decode every frame into a new cache entry and return its key."""
    with cache.scratch("frames") as scratch:
        scratch.mkdir()
        store = np.lib.format.open_memmap(
            scratch / "frames.npy", mode="w+", dtype=np.uint8, shape=(len(ids), *FRAME_SHAPE)
        )
        sha256 = np.zeros((len(ids), len(FRAME_FILES), hashlib.sha256().digest_size), np.uint8)

        def decode_rows(start: int) -> int:
            rows = range(start, min(start + _SAMPLES_PER_TASK, len(ids)))
            for row in rows:
                for column, name in enumerate(FRAME_FILES):
                    path = images / str(ids[row]) / name
                    frame = decode(path, str(path))
                    store[row, column] = frame
                    sha256[row, column] = np.frombuffer(hashlib.sha256(frame.tobytes()).digest(), np.uint8)
            return len(rows)

        starts = range(0, len(ids), _SAMPLES_PER_TASK)
        # Pillow and hashlib work outside the interpreter's lock, so threads use every core.
        with (
            ThreadPoolExecutor(os.cpu_count()) as pool,
            tqdm(total=len(ids), desc="decode frames", unit="sample", disable=None) as bar,
        ):
            for count in pool.map(decode_rows, starts):
                bar.update(count)
        store.flush()
        np.save(scratch / "sha256.npy", sha256)
        content_key = hashlib.sha256(sha256.tobytes()).hexdigest()
        cache.keep(scratch, "frames", content_key)
    return content_key
