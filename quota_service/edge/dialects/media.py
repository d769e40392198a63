"""What audio, video and documents cost in tokens, by the rules that providers publish, or a bound.

Their base64 is never read as text. How long a recording takes stands in a WAV file's header; of other
formats only the bytes are known, and a low bitrate is assumed. A document's pages are counted by the marks
in its file. What is only referred to (a URL, a file's id) counts as REFERENCE_TOKENS: settling corrects it.
"""

from __future__ import annotations

import base64
import binascii
import re

from quota_service.edge.dialects.image_sizes import decoded_prefix

REFERENCE_TOKENS = 50_000
"""For a document, a recording or a cached prompt that is somewhere else."""

CONVERSATION_TOKENS = 20_000
"""For a conversation or a prompt template that the provider keeps and a call goes on with."""

OPENAI_AUDIO_TOKENS_PER_SECOND = 17
"""OpenAI: a token per 100 ms, or about 1,000 a minute; the larger."""

GEMINI_AUDIO_TOKENS_PER_SECOND = 32
GEMINI_VIDEO_TOKENS_PER_SECOND = 300
"""Google: 258 for the frame of each second, 32 for the sound, and the time: about 300."""

PAGE_TEXT_TOKENS = 3_000
"""Anthropic: 1,500 to 3,000 tokens of text on a page, besides its image. Assumed of OpenAI's too."""

GEMINI_PAGE_TOKENS = 1_120
"""Google: 258 a page up to Gemini 2, then 560, or 1,120 in high resolution."""

SPEECH_BYTES_PER_SECOND = 2_000  # 16 kbit/s
VIDEO_BYTES_PER_SECOND = 16_000  # 128 kbit/s
PAGE_BYTES = 4_096
PAGES_MOST = 3_000

_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_COUNT = re.compile(rb"/Count\s+(\d{1,5})(?!\d)")


def audio_seconds(data: str) -> int:
    """How long a recording in base64 takes at most, rounded up."""
    size = decoded_bytes(data)
    rate = _wav_bytes_per_second(decoded_prefix(data, 4_096))
    return -(-size // (rate or SPEECH_BYTES_PER_SECOND))


def video_seconds(data: str) -> int:
    """How long a film in base64 takes at most, rounded up."""
    return -(-decoded_bytes(data) // VIDEO_BYTES_PER_SECOND)


def pages(data: str) -> int:
    """The pages of a PDF in base64, at least 1: what its page tree says or the pages that are seen, whichever
    is more. Where both are compressed, one per 4 KiB.
    """
    raw = _decoded(data)
    counts = (int(found[1]) for found in _COUNT.finditer(raw))
    known = max(sum(1 for _ in _PAGE.finditer(raw)), max(counts, default=0))
    return min(PAGES_MOST, known or -(-decoded_bytes(data) // PAGE_BYTES) or 1)


def decoded_bytes(data: str) -> int:
    """How many bytes are behind a base64 text."""
    return (len(data) - data[-2:].count("=")) * 3 // 4


def data_of(url: str) -> tuple[str, str] | None:
    """The media type and the base64 of a `data:` URL; `None` for another URL."""
    head, mark, data = url.partition(",")
    if not mark or not head.startswith("data:"):
        return None
    return head.removeprefix("data:").partition(";")[0], data


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        return b""


def _wav_bytes_per_second(head: bytes) -> int | None:
    """Of the format chunk, where it says something that sound can have: 8 kbit/s to 192 kHz × 8 × 32 bit."""
    if not head.startswith(b"RIFF") or head[8:12] != b"WAVE":
        return None
    position = head.find(b"fmt ", 12)
    if position == -1:
        return None
    rate = int.from_bytes(head[position + 16 : position + 20], "little")
    return rate if 1_000 <= rate <= 6_144_000 else None
