"""Reduce an untrusted PNG file to the chunks of its image.

A decoder would also read texts, profiles and animations, decompress some of them and warn of others. So they are
removed first.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PALETTE_COLOURS = 3  # the colour type of an image whose pixels are indices into a palette


@dataclass(frozen=True)
class Picture:
    """The size and depth in the header, and the file reduced to the chunks of its image."""

    size_px: tuple[int, int]
    """Width, height."""
    bits: int
    """Bits per channel."""
    content: bytes


def picture_of(content: bytes) -> Picture:
    """Parse a PNG file.

    Raises:
        ValueError: If it is no complete PNG file: truncated, changed, or without a header, a required palette, pixels
            or an end.
    """
    if not content.startswith(_SIGNATURE):
        raise ValueError("none")
    chunks = [(kind, data) for kind, data in _chunks(content) if kind in _PICTURE]
    kinds = list(dict.fromkeys(kind for kind, _ in chunks))
    header = chunks[0][1] if kinds[0] == b"IHDR" else b""
    if len(header) != 13 or [kind for kind, _ in chunks].count(b"IHDR") != 1:
        raise ValueError("something else (no header, or several)")
    width_px, height_px, bits, colours = struct.unpack(">IIBB", header[:10])
    if kinds not in ([b"IHDR", b"IDAT", b"IEND"], [b"IHDR", b"PLTE", b"IDAT", b"IEND"]):
        raise ValueError("something else (parts missing or out of order)")
    if colours == _PALETTE_COLOURS and b"PLTE" not in kinds:
        raise ValueError("something else (no palette)")
    return Picture((width_px, height_px), bits, _SIGNATURE + b"".join(_packed(*chunk) for chunk in chunks))


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and the data of each chunk up to the last one."""
    place, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if place + 12 > len(content):
            raise ValueError("something else (cut short)")
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        data, checksum = content[place + 8 : place + 8 + length], content[place + 8 + length : place + 12 + length]
        if checksum != _checksum(kind, data):
            raise ValueError("something else (cut short or changed)")
        yield kind, data
        place += 12 + length


def _packed(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data), kind) + data + _checksum(kind, data)


def _checksum(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(kind + data))
