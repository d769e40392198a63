"""How large an image is, by the first bytes of its file: PNG, JPEG, GIF and WebP."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

HEADER_BYTES = 64
JPEG_HEADER_BYTES = 256 * 1024
"""A JPEG's size stands behind its camera's notes and its color profile."""

EDGE_PIXELS_MAX = 65_535
"""A header that says more is not believed."""


class Size(NamedTuple):
    """In pixels, both at least 1."""

    width: int
    height: int


def size_of(data: str) -> Size | None:
    """The size of an image that is given in base64; `None` where its header does not tell."""
    head = decoded_prefix(data, HEADER_BYTES)
    if head.startswith(b"\xff\xd8"):
        return _plausible(_jpeg(decoded_prefix(data, JPEG_HEADER_BYTES)))
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
        return _plausible((_big(head[16:20]), _big(head[20:24])))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _plausible((_little(head[6:8]), _little(head[8:10])))
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _plausible(_webp(head))
    return None


def decoded_prefix(data: str, size_bytes: int) -> bytes:
    """The first bytes behind a base64 text, of either alphabet; b"" where it is none."""
    start = data[: size_bytes * 4 // 3 + 4].translate(_STANDARD_ALPHABET)
    try:
        return base64.b64decode(start[: len(start) // 4 * 4])[:size_bytes]
    except (binascii.Error, ValueError):
        return b""


_STANDARD_ALPHABET = str.maketrans("-_", "+/")


def _plausible(size: tuple[int, int] | None) -> Size | None:
    if size is None or not (0 < size[0] <= EDGE_PIXELS_MAX and 0 < size[1] <= EDGE_PIXELS_MAX):
        return None
    return Size(*size)


def _jpeg(raw: bytes) -> tuple[int, int] | None:
    """From the first frame header (SOF), past all segments before it."""
    position = 2
    while position + 9 <= len(raw) and raw[position] == 0xFF:
        marker = raw[position + 1]
        if marker == 0xFF:  # padding
            position += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big(raw[position + 7 : position + 9]), _big(raw[position + 5 : position + 7])
        else:
            position += 2 + max(2, _big(raw[position + 2 : position + 4]))
    return None


def _webp(head: bytes) -> tuple[int, int] | None:
    form = head[12:16]
    if form == b"VP8X":
        return _little(head[24:27]) + 1, _little(head[27:30]) + 1
    if form == b"VP8L":
        bits = _little(head[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if form == b"VP8 ":
        return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF
    return None


def _big(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
