"""What an image costs in tokens, by the rule that its provider publishes.

Sizes are read from the image's header. An image that nobody here can look at (a URL, a file's id) counts as
the largest that the rule allows.
"""

from __future__ import annotations

from typing import NamedTuple

from quota_service.edge.dialects.bounds import is_older_claude, is_openai
from quota_service.edge.dialects.image_sizes import Size


class _Tiles(NamedTuple):
    """OpenAI: fit into 2,048 pixels, the shorter side to 768, then a price a tile of 512, and a base."""

    base: int
    tile: int


class _Patches(NamedTuple):
    """OpenAI: patches of 32 pixels, at most so many, times a factor in percent."""

    most: int
    percent: int


_OPENAI_RULES: tuple[tuple[str, _Tiles | _Patches], ...] = (
    ("gpt-4o-mini", _Tiles(2_833, 5_667)),
    ("gpt-4.1-mini", _Patches(1_536, 162)),
    ("gpt-4.1-nano", _Patches(1_536, 246)),
    ("gpt-5-mini", _Patches(1_536, 162)),
    ("gpt-5-nano", _Patches(1_536, 246)),
    ("o4-mini", _Patches(1_536, 172)),
    ("gpt-5-", _Tiles(70, 140)),
    ("gpt-5.", _Patches(2_500, 120)),
    ("gpt-5", _Tiles(70, 140)),
    ("gpt-4", _Tiles(85, 170)),
    ("chatgpt-4o", _Tiles(85, 170)),
    ("o1", _Tiles(75, 150)),
    ("o3", _Tiles(75, 150)),
    ("computer-use", _Tiles(65, 129)),
)
"""By the beginning of a model's name, the first that fits. OpenAI's guide to images, "Calculating costs"."""

_OPENAI_NEWEST = _Patches(2_500, 246)
"""For models that have no rule here."""

_ORIGINAL_DETAIL_PATCHES = 10_000
_TILES_MOST = 8  # 2,048 × 768, on the way there 768 × 2,048
_OTHERS_TILE, _OTHERS_TILE_PIXELS = 1_601, 560
"""Vision models behind OpenAI's dialect: Llama's at most four tiles of 560 pixels, 1,601 tokens each."""


def openai_image_tokens(size: Size | None, model: str, detail: str = "auto") -> int:
    """An image for a model behind OpenAI's dialect. `detail`: "low", "high", "auto" or "original"."""
    name = model.rpartition("/")[2].removeprefix("ft:")
    rule = next((rule for start, rule in _OPENAI_RULES if name.startswith(start)), _OPENAI_NEWEST)
    if isinstance(rule, _Tiles):
        return rule.base + (0 if detail == "low" else rule.tile * _tiles(size))
    most = max(rule.most, _ORIGINAL_DETAIL_PATCHES) if detail == "original" else rule.most
    patches = most if size is None else min(most, _across(size.width, 32) * _across(size.height, 32))
    tokens = _across(patches * rule.percent, 100)
    return tokens if is_openai(model) else max(tokens, _others_tiles(size) * _OTHERS_TILE)


def anthropic_image_tokens(size: Size | None, model: str) -> int:
    """Anthropic: a token per 750 pixels, or per 28 × 28 where that is more; a larger image is made smaller,
    to 1,568 pixels and about 1,600 tokens, from Claude 4.7 on to 2,576 pixels and 4,784 tokens.
    """
    edge, most = (1_568, 1_600) if is_older_claude(model) else (2_576, 4_784)
    if size is None:
        return most
    width, height = _within(size, edge)
    return min(most, max(_across(width * height, 750), _across(width, 28) * _across(height, 28)))


_GEMINI_RESOLUTIONS = {"LOW": 280, "MEDIUM": 560, "HIGH": 1_120, "ULTRA_HIGH": 2_240}
_GEMINI_TILE = 258
_GEMINI_TILES_MOST = 16  # 3,072 × 3,072 pixels in tiles of 768


def gemini_image_tokens(size: Size | None, model: str, resolution: str = "") -> int:
    """Gemini up to 2: 258 where both sides are up to 384 pixels, else 258 a tile; a tile is as wide as the
    shorter side / 1.5, between 256 and 768. From 3 on by `resolution` ("MEDIA_RESOLUTION_HIGH"), by default
    the high one.
    """
    if not is_older_gemini(model):
        return _GEMINI_RESOLUTIONS.get(
            resolution.removeprefix("MEDIA_RESOLUTION_"), _GEMINI_RESOLUTIONS["HIGH"]
        )
    if size is None:
        return _GEMINI_TILES_MOST * _GEMINI_TILE
    if max(size) <= 384:
        return _GEMINI_TILE
    tile = min(768, max(256, min(size) * 2 // 3))
    return _GEMINI_TILE * min(_GEMINI_TILES_MOST, _across(size.width, tile) * _across(size.height, tile))


def is_older_gemini(model: str) -> bool:
    """Whether that is a Gemini 1 or 2, which sees images in tiles."""
    return model.rpartition("/")[2].startswith(("gemini-1.", "gemini-2.", "gemini-pro"))


def _tiles(size: Size | None) -> int:
    if size is None:
        return _TILES_MOST
    width, height = _within(size, 2_048)
    shorter = min(width, height)
    if shorter > 768:
        width, height = _across(width * 768, shorter), _across(height * 768, shorter)
    return _across(width, 512) * _across(height, 512)


def _others_tiles(size: Size | None) -> int:
    if size is None:
        return 4
    return min(2, _across(size.width, _OTHERS_TILE_PIXELS)) * min(
        2, _across(size.height, _OTHERS_TILE_PIXELS)
    )


def _within(size: Size, edge: int) -> Size:
    """Made smaller, if need be, until its longer side is no more than `edge`; rounded up."""
    longer = max(size)
    if longer <= edge:
        return size
    return Size(_across(size.width * edge, longer), _across(size.height * edge, longer))


def _across(pixels: int, step: int) -> int:
    return -(-pixels // step)
