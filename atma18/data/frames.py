"""Decoded frames: PNG files are decoded once into a memory-mapped uint8 array, cached by content."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from atma18.cache import Cache
from atma18.compute.progress import progress
from atma18.schema import (
    FRAME_FILES,
    FRAME_HEIGHT_PX,
    FRAME_WIDTH_PX,
    FrameRows,
    StrArray,
    UInt8Array,
    first_few,
    one_line,
)
from atma18.storage import memmaps, reading
from atma18.storage.png import picture_of

_SAMPLES_PER_TASK = 64
_LAYOUT = b"pixel, frame, colour"
"""Memory layout of the array: as nets read it, so that a batch is a copy of whole rows. It is part of every key."""
MOST_BYTES = 2**18
"""Largest size of a PNG file, since a decoder reads all of it: 8 times 128 x 64 uncompressed RGBA pixels."""
_BITS = 8


@dataclass(frozen=True)
class FrameStore:
    """The decoded frames of N samples."""

    frames: UInt8Array
    """(N, 3, 64, 128, 3) RGB at t, t-0.5 s, t-1.0 s, memory-mapped read-only; stored with frames inside pixels."""
    sha256: UInt8Array
    """(N, 3, 32) SHA-256 of each frame's RGB bytes."""


def encode(frame: UInt8Array) -> bytes:
    """Return an RGB picture as the bytes of a PNG file, which `decode` turns into the same pixels."""
    with BytesIO() as file:
        Image.fromarray(frame).save(file, format="PNG")
        return file.getvalue()


def decode(png: bytes, where: str) -> UInt8Array:
    """Decode one frame; `where` names it in messages.

    Returns:
        (64, 128, 3) RGB.

    Raises:
        ValueError: If it is not an image or has another size.
    """
    expected_px = (FRAME_WIDTH_PX, FRAME_HEIGHT_PX)
    if len(png) > MOST_BYTES:
        raise ValueError(f"{where}: expected a PNG image of at most {MOST_BYTES:,} bytes, found {len(png):,}")
    try:
        picture = picture_of(png)
    except ValueError as error:
        raise ValueError(f"{where}: expected a whole PNG image, found {error}") from error
    if picture.size_px != expected_px:
        expected, found = (f"{width} x {height}" for width, height in (expected_px, picture.size_px))
        raise ValueError(f"{where}: expected a frame of {expected} px, found {found}")
    if picture.bits > _BITS:
        raise ValueError(f"{where}: expected an image of {_BITS} bits per channel, found {picture.bits}")
    try:
        with Image.open(BytesIO(picture.content), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"{where}: expected a whole PNG image, found something else ({one_line(str(error))})"
        ) from error


def open_store(
    images: Path, ids: StrArray, cache: Cache, *, verify: bool = False, root: Path | None = None
) -> FrameStore:
    """Open the decoded frames of these samples; decode PNG files only if they are new or have changed.

    Args:
        images: the folder with the three files `<ID>/image_*.png` of each sample.
        ids: (N,) the samples, in the order of the result.
        cache: the cache for decoded frames.
        verify: decode every file even if its size, time of change and inode are known.
        root: the resolved folder that links inside `images` may not leave; None for `images` itself.

    Raises:
        ValueError: If a file is missing, is not a frame, is a link that leaves `root`, or changes while it is read;
            the message names the first ones.
    """
    source = _Source(images, ids, images.resolve() if root is None else root)
    status_key = "frames-seen", source.stat_key()
    if verify:
        cache.forget(*status_key)

    def decode_and_note(path: Path) -> None:
        path.write_text(_decode_and_keep(source, status_key[1], cache, replace=verify))

    content_key = cache.get(*status_key, decode_and_note).read_text()

    def decode_again(path: Path) -> None:
        if _decode_all(source, status_key[1], path) != content_key:
            raise ValueError(
                f"{images}: expected the frames of the last time, for no file has another size, time or inode, "
                "found others: read them all with verify=true"
            )

    folder = cache.get("frames", content_key, decode_again)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    return FrameStore(FrameRows.frames_first(pixels), np.load(folder / "sha256.npy"))


@dataclass(frozen=True)
class _Source:
    """The PNG files of N samples."""

    images: Path
    ids: StrArray
    root: Path
    """The resolved folder that links may not leave."""

    def stat_key(self) -> str:
        """Return the SHA-256 of the file status of every frame; a missing file or a link out of `root` is an error."""
        digest = hashlib.sha256(_LAYOUT + str(self.images.resolve()).encode())
        missing: list[str] = []
        for sample_id in self.ids.tolist():
            folder = f"{self.images}/{sample_id}"
            reading.check_link(folder, self.root)
            for name in FRAME_FILES:
                try:
                    file_status = reading.stat_inside(f"{folder}/{name}", self.root)
                except OSError:
                    missing.append(f"{sample_id}/{name}")
                    continue
                reading.check_plain(f"{folder}/{name}", file_status)
                digest.update(
                    f"{sample_id}/{name}:{file_status.st_size}:{file_status.st_mtime_ns}:{file_status.st_ino}\n".encode()
                )
        if missing:
            raise ValueError(
                f"{self.images}: expected {len(self.ids) * len(FRAME_FILES)} frames, missing: {first_few(missing)}: "
                "add them"
            )
        return digest.hexdigest()

    def check_unchanged(self, stat_key: str) -> None:
        """Refuse files whose status has changed since then."""
        if self.stat_key() != stat_key:
            raise ValueError(
                f"{self.images}: expected frames that stay as they are, found some that changed while they were read: "
                "run again when nobody writes there"
            )


def _decode_and_keep(source: _Source, stat_key: str, cache: Cache, *, replace: bool) -> str:
    """Decode every frame into the cache and return the content's key; `replace` overwrites an existing entry."""
    with cache.scratch("frames") as scratch:
        content_key = _decode_all(source, stat_key, scratch)
        if replace:
            cache.forget("frames", content_key)
        cache.keep(scratch, "frames", content_key)
    return content_key


def _decode_all(source: _Source, stat_key: str, folder: Path) -> str:
    """Decode every frame into a new folder and return the content's key; `stat_key` is the file status before."""
    ids = source.ids
    folder.mkdir()
    shape = (len(ids), FRAME_HEIGHT_PX, FRAME_WIDTH_PX, len(FRAME_FILES), 3)
    pixels = memmaps.create(folder / "pixels.npy", np.uint8, shape)
    sha256 = np.zeros((len(ids), len(FRAME_FILES), hashlib.sha256().digest_size), np.uint8)

    def decode_rows(start: int) -> list[str]:
        refused = []
        for row in range(start, min(start + _SAMPLES_PER_TASK, len(ids))):
            for column, name in enumerate(FRAME_FILES):
                path = source.images / str(ids[row]) / name
                try:
                    frame = decode(reading.read_bytes(path, source.root, MOST_BYTES), str(path))
                except (ValueError, FileNotFoundError) as error:
                    refused.append(str(error))
                    continue
                pixels[row, :, :, column] = frame
                sha256[row, column] = np.frombuffer(hashlib.sha256(frame.tobytes()).digest(), np.uint8)
        return refused

    starts = range(0, len(ids), _SAMPLES_PER_TASK)
    # Pillow and hashlib release the interpreter's lock, so threads use every core.
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(total=len(ids), desc="decode frames", unit="sample") as bar,
    ):
        refused = []
        for start, errors in zip(starts, pool.map(decode_rows, starts), strict=True):
            refused += errors
            bar.update(min(_SAMPLES_PER_TASK, len(ids) - start))
    source.check_unchanged(stat_key)
    if refused:
        raise ValueError(f"{first_few(refused)}: replace these files")
    pixels.flush()
    np.save(folder / "sha256.npy", sha256)
    return hashlib.sha256(_LAYOUT + sha256.tobytes()).hexdigest()
