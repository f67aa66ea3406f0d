"""Small pictures made without an image library: icons, and the screenshot beside a rejection."""

from __future__ import annotations

import colorsys
import struct
import zlib
from functools import lru_cache


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@lru_cache(maxsize=64)
def png(size: int, colour: tuple[int, int, int]) -> bytes:
    """A square of one colour with a white square in its middle."""
    plain, white = bytes(colour), b"\xff\xff\xff"
    low, high = size // 3, size - size // 3
    outside = b"\0" + plain * size
    inside = b"\0" + plain * low + white * (high - low) + plain * (size - high)
    rows = b"".join(inside if low <= row < high else outside for row in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def icon(number: int) -> bytes:
    """The n-th icon: its own hue."""
    red, green, blue = colorsys.hsv_to_rgb((number * 37 % 100) / 100, 0.55, 0.85)
    return png(144, (int(red * 255), int(green * 255), int(blue * 255)))
