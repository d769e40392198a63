"""Images, sound, films and documents cost what the providers' rules say, and their base64 is never text."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quota_service.edge.dialects import media
from quota_service.edge.dialects.image_sizes import Size, size_of
from quota_service.edge.dialects.images import (
    anthropic_image_tokens,
    gemini_image_tokens,
    openai_image_tokens,
)
from scripts.request_texts import encoded, jpeg, pdf, png, wav
from tests.support.bodies import CHAT, GENERATE, MESSAGES, read

GIF = b"GIF89a" + struct.pack("<HH", 320, 200)
WEBP_SIMPLE = b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 320, 200)
WEBP_LOSSLESS = b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 319 | 199 << 14)
WEBP_EXTENDED = (
    b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0" + (319).to_bytes(3, "little") + (199).to_bytes(3, "little")
)
JPEG_WITH_TABLES_FIRST = b"\xff\xd8\xff\xc4\x00\x14" + bytes(18) + jpeg(320, 200)[2:]
JPEG_WITH_NOTES = b"\xff\xd8\xff\xe1\xff\xff" + b"x" * 65_533 + jpeg(320, 200)[2:]


@pytest.mark.parametrize(
    "raw",
    [
        png(320, 200),
        jpeg(320, 200),
        JPEG_WITH_NOTES,
        JPEG_WITH_TABLES_FIRST,
        GIF,
        WEBP_SIMPLE,
        WEBP_LOSSLESS,
        WEBP_EXTENDED,
    ],
    ids=[
        "png",
        "jpeg",
        "jpeg-with-notes",
        "jpeg-with-tables-first",
        "gif",
        "webp",
        "webp-lossless",
        "webp-extended",
    ],
)
def test_an_image_says_its_size_in_its_first_bytes(raw: bytes) -> None:
    assert size_of(encoded(raw)) == Size(320, 200)


@pytest.mark.parametrize(
    "raw", [b"", b"<svg/>", png(320, 200)[:16], jpeg(320, 200)[:30], GIF[:7], b"\xff\xd8" * 99]
)
def test_what_says_no_size_has_none(raw: bytes) -> None:
    assert size_of(encoded(raw)) is None


def test_a_size_that_cannot_be_is_not_believed() -> None:
    assert size_of(encoded(png(1, 1)[:16] + struct.pack(">II", 0, 10) + b"\0" * 40)) is None
    assert size_of(encoded(png(1, 1)[:16] + struct.pack(">II", 2**31, 10) + b"\0" * 40)) is None


@given(data=st.text(max_size=200) | st.binary(max_size=200).map(encoded))
def test_any_text_in_place_of_base64_is_read(data: str) -> None:
    size_of(data)
    assert media.pages(data) >= 1
    assert media.audio_seconds(data) >= 0


@pytest.mark.parametrize(
    ("size", "model", "detail", "tokens"),
    [
        (Size(1024, 1024), "gpt-4o", "high", 765),  # the four examples of OpenAI's guide
        (Size(2048, 4096), "gpt-4o", "high", 1105),
        (Size(4096, 8192), "gpt-4o", "low", 85),
        (Size(1024, 1024), "gpt-4.1-mini", "high", 1659),
        (Size(512, 512), "openai/gpt-4o-2024-11-20", "auto", 255),
        (Size(1024, 1024), "gpt-4o-mini", "high", 2833 + 4 * 5667),
        (Size(1024, 1024), "o1", "high", 75 + 4 * 150),
        (Size(1024, 1024), "gpt-5", "high", 70 + 4 * 140),
        (Size(64, 64), "o4-mini", "high", 7),
        (None, "gpt-4o", "high", 85 + 8 * 170),
        (None, "gpt-4.1-nano", "high", 3779),
        (Size(8000, 8000), "gpt-5.4", "original", 12_000),
        (None, "llama-4-maverick", "high", 6404),
    ],
)
def test_openai_counts_tiles_or_patches(size: Size | None, model: str, detail: str, tokens: int) -> None:
    assert openai_image_tokens(size, model, detail) == tokens


@pytest.mark.parametrize(
    ("size", "model", "least", "most"),
    [
        (Size(200, 200), "claude-opus-4-6", 54, 64),  # the examples of Anthropic's guide
        (Size(1000, 1000), "claude-opus-4-6", 1334, 1334),
        (Size(1092, 1092), "claude-opus-4-6", 1590, 1600),
        (Size(8000, 8000), "claude-opus-4-6", 1600, 1600),
        (Size(8000, 100), "claude-opus-4-6", 42, 60),
        (Size(1920, 1080), "claude-opus-4-7", 2691, 2765),
        (Size(8000, 8000), "claude-opus-4-7", 4784, 4784),
        (None, "claude-haiku-4-5", 1600, 1600),
        (None, "claude-opus-5", 4784, 4784),
    ],
)
def test_anthropic_counts_pixels(size: Size | None, model: str, least: int, most: int) -> None:
    assert least <= anthropic_image_tokens(size, model) <= most


@pytest.mark.parametrize(
    ("size", "model", "resolution", "tokens"),
    [
        (Size(384, 384), "gemini-2.5-pro", "", 258),
        (Size(960, 540), "gemini-2.5-pro", "", 6 * 258),  # the example of Google's guide
        (Size(1536, 1536), "gemini-2.0-flash", "", 4 * 258),
        (None, "gemini-1.5-pro", "", 16 * 258),
        (Size(64, 64), "gemini-3-pro", "", 1120),
        (None, "gemini-3-pro", "MEDIA_RESOLUTION_LOW", 280),
        (None, "gemini-4-argon", "MEDIA_RESOLUTION_ULTRA_HIGH", 2240),
    ],
)
def test_gemini_counts_tiles_or_a_resolution(
    size: Size | None, model: str, resolution: str, tokens: int
) -> None:
    assert gemini_image_tokens(size, model, resolution) == tokens


def test_sound_lasts_as_long_as_its_header_says_or_as_a_low_bitrate() -> None:
    assert media.audio_seconds(encoded(wav(7))) == 8  # 7 seconds and a header
    assert media.audio_seconds(encoded(b"ID3" + b"x" * 19_997)) == 10
    lying = wav(2)[:28] + struct.pack("<I", 2**32 - 1) + wav(2)[32:]
    assert media.audio_seconds(encoded(lying)) == 9  # at 16 kbit/s


@pytest.mark.parametrize("count", [1, 2, 25])
def test_a_document_has_the_pages_that_it_says(count: int) -> None:
    assert media.pages(encoded(pdf(count))) == count


def test_a_document_that_says_no_pages_has_one_per_four_kilobytes() -> None:
    assert media.pages(encoded(b"%PDF-1.7 " + b"\0" * 40_000)) == 10
    assert media.pages("") == 1
    assert media.pages(encoded(b"/Count 99999")) == media.PAGES_MOST


LARGE = encoded(png(2000, 2000) + b"\x55\xaa\x13\x07" * 100_000)


def test_the_base64_of_an_image_is_never_counted_as_text() -> None:
    url = f"data:image/png;base64,{LARGE}"
    openai = {"type": "image_url", "image_url": {"url": url}}
    anthropic = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": LARGE}}
    gemini = {"inlineData": {"mimeType": "image/png", "data": LARGE}}
    shown = read(CHAT, {"model": "gpt-4o", "messages": [{"role": "user", "content": [openai]}]})
    assert shown.input_tokens == 765 + 7
    shown = read(
        MESSAGES, {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": [anthropic]}]}
    )
    assert shown.input_tokens == 1600 + 7
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [anthropic]}
    shown = read(MESSAGES, {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": [nested]}]})
    assert shown.input_tokens < 1700
    shown = read(GENERATE, {"contents": [{"role": "user", "parts": [gemini]}]})
    assert shown.input_tokens == 9 * 258 + 1


def test_films_count_by_their_time_and_their_frames() -> None:
    inline = {"mime_type": "video/mp4", "data": encoded(b"\0" * 160_000)}  # ten seconds at 128 kbit/s
    part = {"inline_data": inline}
    assert read(GENERATE, {"contents": [{"parts": [part]}]}).input_tokens == 3_001
    faster = {**part, "videoMetadata": {"fps": 3.5}}
    assert read(GENERATE, {"contents": [{"parts": [faster]}]}).input_tokens == 12_001


def test_what_is_elsewhere_counts_as_an_assumed_amount() -> None:
    file = {"type": "file", "file": {"file_id": "file-1"}}
    assert read(CHAT, {"model": "gpt-4o", "messages": [{"content": [file]}]}).input_tokens == 50_007
    document = {"type": "document", "source": {"type": "file", "file_id": "f"}}
    assert (
        read(MESSAGES, {"model": "claude-opus-5", "messages": [{"content": [document]}]}).input_tokens
        == 50_007
    )
    assert read(GENERATE, {"contents": [{"parts": [{"fileData": {"fileUri": "u"}}]}]}).input_tokens == 50_001
    assert read(GENERATE, {"contents": [], "cachedContent": "cachedContents/1"}).input_tokens == 50_000
