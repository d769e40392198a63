"""What calls of Gemini's API may use at most: generateContent, streamGenerateContent, embedContent and
batchEmbedContents. Google reads every field in two spellings, `maxOutputTokens` and `max_output_tokens`.

Thoughts are output, and within maxOutputTokens. A turn costs a token more than its text: Google counts 10 for
"Hi my name is Bob" and "Hi Bob!" together.
"""

from __future__ import annotations

from typing import Any

from quota_service.edge.dialects.bounds import Tally
from quota_service.edge.dialects.calls import Kind
from quota_service.edge.dialects.fields import (
    CHOICES_MAX,
    TOKENS_MAX,
    Fields,
    fields_of,
    items_of,
    largest,
    text_of,
)
from quota_service.edge.dialects.image_sizes import size_of
from quota_service.edge.dialects.images import gemini_image_tokens
from quota_service.edge.dialects.media import (
    GEMINI_AUDIO_TOKENS_PER_SECOND,
    GEMINI_PAGE_TOKENS,
    GEMINI_VIDEO_TOKENS_PER_SECOND,
    REFERENCE_TOKENS,
    audio_seconds,
    pages,
    video_seconds,
)

TURN_TOKENS = 1
TOOL_TOKENS = 16

CONFIGURATIONS = ("generationConfig", "generation_config")
LIMITS = ("maxOutputTokens", "max_output_tokens")
CHOICES = ("candidateCount", "candidate_count")

_READ_NOT = frozenset(
    ("contents", "content", "requests", "systemInstruction", "system_instruction", "tools", "safetySettings",
     "safety_settings", "labels", "toolConfig", "tool_config", *CONFIGURATIONS)
)  # fmt: skip
"""Objects and lists that a model does not read, or that are counted by a rule of their own."""

_SCHEMAS = ("responseSchema", "response_schema", "responseJsonSchema", "response_json_schema")


def gemini_choices(fields: Fields) -> int:
    """How many answers are asked for. Raises CallMalformed."""
    return max(largest(configuration, CHOICES, CHOICES_MAX) or 1 for configuration in _configurations(fields))


def gemini_limit(fields: Fields) -> int | None:
    """The tokens of one answer, its thoughts included. Raises CallMalformed."""
    limits = (largest(configuration, LIMITS, TOKENS_MAX) for configuration in _configurations(fields))
    return max((limit for limit in limits if limit is not None), default=None)


def count_gemini(kind: Kind, fields: Fields, model: str, tally: Tally) -> None:
    """Adds what the model will read."""
    if kind is Kind.EMBED:
        for request in (fields, *items_of(fields.get("requests"))):
            _count_turns(fields_of(request).get("content"), model, "", tally)
            tally.text(text_of(fields_of(request).get("title")))
        return
    resolution = _resolution(_configurations(fields))
    for name in ("contents", "systemInstruction", "system_instruction"):
        _count_turns(fields.get(name), model, resolution, tally)
    if tools := items_of(fields.get("tools")):
        tally.add(TOOL_TOKENS * len(tools))
        tally.json(tools)
    _count_others(fields, tally)


def _count_others(fields: Fields, tally: Tally) -> None:
    for configuration in _configurations(fields):
        for name in _SCHEMAS:
            if configuration.get(name) is not None:
                tally.json(configuration[name])
    if _either(fields, "cachedContent", "cached_content") is not None:
        tally.add(REFERENCE_TOKENS)
    for name, value in fields.items():
        if name not in _READ_NOT and isinstance(value, (dict, list)):
            tally.json(value)


def _count_turns(value: object, model: str, resolution: str, tally: Tally) -> None:
    for turn in items_of(value):
        tally.add(TURN_TOKENS)
        if isinstance(turn, str):
            tally.text(turn)
        elif isinstance(turn, dict) and "parts" in turn:
            for part in items_of(turn["parts"]):
                _count_part(fields_of(part), part, model, resolution, tally)
        else:
            tally.json(turn)


def _count_part(part: Fields, value: object, model: str, resolution: str, tally: Tally) -> None:
    inline = _either(part, "inlineData", "inline_data")
    if isinstance(part.get("text"), str):
        tally.text(part["text"])
    if isinstance(inline, dict):
        tally.add(_inline_tokens(inline, part, model, _resolution([part]) or resolution))
    elif _either(part, "fileData", "file_data") is not None:
        tally.add(REFERENCE_TOKENS)
    elif "text" not in part:
        tally.json(_without_signature(value))


def _inline_tokens(inline: Fields, part: Fields, model: str, resolution: str) -> int:
    kind = text_of(_either(inline, "mimeType", "mime_type")).lower()
    data = text_of(inline.get("data"))
    if kind.startswith("audio/"):
        return audio_seconds(data) * GEMINI_AUDIO_TOKENS_PER_SECOND
    if kind.startswith("video/"):
        return video_seconds(data) * GEMINI_VIDEO_TOKENS_PER_SECOND * _frames_per_second(part)
    if kind.startswith("image/"):
        return gemini_image_tokens(size_of(data), model, resolution)
    if kind == "application/pdf":
        return pages(data) * GEMINI_PAGE_TOKENS
    return len(data)  # text, most likely: never more tokens than characters of its base64


def _frames_per_second(part: Fields) -> int:
    """One, unless the call says so; at most 24, rounded up."""
    rate = fields_of(_either(part, "videoMetadata", "video_metadata")).get("fps")
    return max(1, min(24, int(rate) + 1)) if isinstance(rate, (int, float)) and rate > 1 else 1


def _resolution(holders: list[Fields]) -> str:
    """`MEDIA_RESOLUTION_…` of a configuration, or of a part, where it is `{level: …}`."""
    for holder in holders:
        value = _either(holder, "mediaResolution", "media_resolution")
        if level := text_of(value) or text_of(fields_of(value).get("level")):
            return level
    return ""


def _configurations(fields: Fields) -> list[Fields]:
    return [fields_of(fields.get(name)) for name in CONFIGURATIONS]


def _either(fields: Fields, camel: str, snake: str) -> Any:
    value = fields.get(camel)
    return fields.get(snake) if value is None else value


def _without_signature(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {
        name: inner for name, inner in value.items() if name not in ("thoughtSignature", "thought_signature")
    }
