"""What calls in OpenAI's dialect may use at most: chat completions, completions, responses and embeddings.

The overheads are those of OpenAI's cookbook, "How to count tokens with tiktoken": 3 tokens a message, 1 for a
name, 3 that open the answer; for functions 7 each and 12 at their end. A part that is not known counts as the
text of its JSON.
"""

from __future__ import annotations

from typing import Any

from quota_service.edge.dialects.bounds import Tally
from quota_service.edge.dialects.calls import CallMalformed, Kind
from quota_service.edge.dialects.fields import (
    CHOICES_MAX,
    Fields,
    count_of,
    fields_of,
    items_of,
    largest,
    text_of,
)
from quota_service.edge.dialects.image_sizes import size_of
from quota_service.edge.dialects.images import openai_image_tokens
from quota_service.edge.dialects.media import (
    CONVERSATION_TOKENS,
    OPENAI_AUDIO_TOKENS_PER_SECOND,
    PAGE_TEXT_TOKENS,
    REFERENCE_TOKENS,
    audio_seconds,
    data_of,
    pages,
)

MESSAGE_TOKENS, ROLE_TOKENS, NAME_TOKENS, REPLY_TOKENS = 3, 1, 1, 3
FUNCTION_TOKENS, FUNCTIONS_END_TOKENS = 7, 12
CALL_TOKENS = 8  # around the name and the arguments of a function that was called
COMPLETION_DEFAULT_TOKENS = 16

LIMITS = {
    Kind.CHAT: ("max_completion_tokens", "max_tokens"),
    Kind.COMPLETIONS: ("max_tokens",),
    Kind.RESPONSES: ("max_output_tokens",),
}
"""The fields that say how long an answer may be; other servers of the dialect take both of chat's."""

_READ_NOT = frozenset(
    ("metadata", "logit_bias", "stream_options", "modalities", "audio", "stop", "reasoning", "include",
     "messages", "input", "tools", "functions", "prompt", "conversation", "truncation", "context_management")
)  # fmt: skip
"""Objects and lists that a model does not read, or that are counted by a rule of their own."""


def openai_choices(kind: Kind, fields: Fields) -> int:
    """How many answers are asked for. Raises CallMalformed."""
    if kind is Kind.CHAT:
        return count_of(fields, "n", CHOICES_MAX) or 1
    if kind is Kind.COMPLETIONS:
        best = largest(fields, ("n", "best_of"), CHOICES_MAX) or 1
        return best * max(1, len(_prompts(fields.get("prompt"))))
    return 1


def openai_limit(kind: Kind, fields: Fields) -> int | None:
    """The tokens of one answer; `None` where the call does not say. Raises CallMalformed."""
    if fields.get("background"):
        raise CallMalformed(
            "background is not possible here: nobody would see what the answer used.", "background"
        )
    limit = largest(fields, LIMITS[kind])
    return COMPLETION_DEFAULT_TOKENS if limit is None and kind is Kind.COMPLETIONS else limit


def count_openai(kind: Kind, fields: Fields, model: str, tally: Tally) -> None:
    """Adds what the model will read."""
    if kind is Kind.EMBEDDINGS:
        _count_prompts(fields.get("input"), tally)
        return
    if kind is Kind.COMPLETIONS:
        _count_prompts(fields.get("prompt"), tally)
        tally.text(text_of(fields.get("suffix")))
        return
    tally.add(REPLY_TOKENS)
    _count_tools([*items_of(fields.get("tools")), *items_of(fields.get("functions"))], tally)
    _count_others(fields, tally)
    if kind is Kind.CHAT:
        for message in items_of(fields.get("messages")):
            _count_message(message, model, tally)
    else:
        _count_responses(fields, model, tally)


def _count_responses(fields: Fields, model: str, tally: Tally) -> None:
    if instructions := fields.get("instructions"):
        _count_message({"content": instructions}, model, tally)
    given = fields.get("input")
    for item in items_of({"content": given} if isinstance(given, str) else given):
        _count_message(item, model, tally)
    for kept in ("previous_response_id", "conversation", "prompt"):
        if fields.get(kept) is not None:
            tally.add(CONVERSATION_TOKENS)
            tally.json(fields[kept])


def _count_message(message: object, model: str, tally: Tally) -> None:
    """A message or another item of a conversation: all its fields but those that only tell items apart."""
    tally.add(MESSAGE_TOKENS + ROLE_TOKENS)
    if not isinstance(message, dict):
        tally.json(message)
        return
    for name, value in message.items():
        if value is None or name in ("role", "type", "id", "status"):
            continue
        if name == "name":
            tally.add(NAME_TOKENS)
        if name == "result" and message.get("type") == "image_generation_call":
            tally.add(openai_image_tokens(size_of(text_of(value)), model))
        elif name in ("content", "output", "summary"):
            _count_content(value, model, tally)
        elif name == "tool_calls":
            _count_calls(value, tally)
        elif isinstance(value, str):
            tally.text(value)
        else:
            tally.json(value)


def _count_calls(value: object, tally: Tally) -> None:
    for call in items_of(value):
        tally.add(CALL_TOKENS)
        tally.json(call)


def _count_content(value: object, model: str, tally: Tally) -> None:
    for part in items_of(value):
        if isinstance(part, str):
            tally.text(part)
        else:
            _count_part(fields_of(part), part, model, tally)


def _count_part(part: Fields, value: object, model: str, tally: Tally) -> None:
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text", "summary_text", "refusal"):
        tally.text(text_of(part.get("text")) or text_of(part.get("refusal")))
    elif kind in ("image_url", "input_image", "computer_screenshot"):
        tally.add(_image_tokens(part, model))
    elif kind == "input_audio":
        tally.add(_audio_tokens(fields_of(part.get("input_audio"))))
    elif kind in ("file", "input_file"):
        file = fields_of(part.get("file")) or part
        tally.text(text_of(file.get("filename")))
        tally.add(_file_tokens(file, model))
    else:
        tally.json(value)


def _image_tokens(part: Fields, model: str) -> int:
    """Chat has `image_url: {url, detail}`, responses have `image_url: url` and `detail` beside it."""
    image = part.get("image_url")
    inner = fields_of(image)
    url = text_of(inner.get("url")) or text_of(image)
    detail = text_of(inner.get("detail")) or text_of(part.get("detail")) or "auto"
    data = data_of(url)
    return openai_image_tokens(size_of(data[1]) if data else None, model, detail)


def _audio_tokens(audio: Fields) -> int:
    data = text_of(audio.get("data"))
    return audio_seconds(data) * OPENAI_AUDIO_TOKENS_PER_SECOND if data else REFERENCE_TOKENS


def _file_tokens(file: Fields, model: str) -> int:
    """Every page is given as its text and its image."""
    text = text_of(file.get("file_data"))
    if not text:
        return REFERENCE_TOKENS
    data = data_of(text)
    return pages(data[1] if data else text) * (PAGE_TEXT_TOKENS + openai_image_tokens(None, model))


def _count_tools(tools: list[Any], tally: Tally) -> None:
    if tools:
        tally.add(FUNCTION_TOKENS * len(tools) + FUNCTIONS_END_TOKENS)
        tally.json(tools)


def _count_others(fields: Fields, tally: Tally) -> None:
    """Response formats, schemas, predictions, and whatever comes next."""
    for name, value in fields.items():
        if name not in _READ_NOT and isinstance(value, (dict, list)):
            tally.json(value)


def _prompts(value: object) -> list[Any]:
    """One for a text or a list of tokens, or one for each of them."""
    if isinstance(value, list) and value and not isinstance(value[0], int):
        return value
    return [] if value is None or value == [] else [value]


def _count_prompts(value: object, tally: Tally) -> None:
    for prompt in _prompts(value):
        if isinstance(prompt, str):
            tally.text(prompt)
        elif isinstance(prompt, list) and all(type(token) is int for token in prompt):
            tally.add(len(prompt))
        else:
            raise CallMalformed("A prompt or input must be a text, a list of tokens, or a list of these.")
