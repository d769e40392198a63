"""What OpenAI's responses answer: a response, or a stream of typed events of which the last carries one."""

from __future__ import annotations

from typing import Any

import msgspec

from quota_service.edge.dialects.facts import NO_JSON, Facts, Json, decoded, is_something
from quota_service.edge.dialects.usage import responses_usage

_TEXTS = frozenset(
    f"response.{part}.delta"
    for part in (
        "output_text",
        "refusal",
        "reasoning_text",
        "reasoning_summary_text",
        "function_call_arguments",
        "custom_tool_call_input",
        "mcp_call_arguments",
        "code_interpreter_call_code",
        "shell_call_command",
        "audio.transcript",
        "output_audio_transcript",
    )
)
"""The events whose `delta` is text. Each text comes again, whole, in an event of its own that does not
count.
"""

_ENDS = frozenset(("response.completed", "response.incomplete", "response.failed"))


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    refusal: str | None = None
    transcript: str | None = None


class _Item(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    code: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None


class _Output(msgspec.Struct, gc=False):
    output: list[_Item] | None = None


class _Response(msgspec.Struct, gc=False):
    model: Any = None
    status: Any = None
    usage: Json = NO_JSON
    error: Json = NO_JSON


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    delta: Any = None
    output_index: Any = None
    item: Json = NO_JSON
    response: Json = NO_JSON
    error: Json = NO_JSON


_EVENT = msgspec.json.Decoder(_Event)
_ITEM = msgspec.json.Decoder(_Item)
_OUTPUT = msgspec.json.Decoder(_Output)
_RESPONSE = msgspec.json.Decoder(_Response)


class ResponsesFacts(Facts):
    """Of a response."""

    __slots__ = ()

    def read_event(self, document: bytes) -> bool:
        event = decoded(_EVENT, document)
        if event is None:
            return False
        if isinstance(event.delta, str):
            if event.type in _TEXTS:
                self.tally.add(event.delta, _channel(event))
        elif is_something(event.response):
            self._take(decoded(_RESPONSE, event.response))
            self.has_ended = self.has_ended or event.type in _ENDS
        elif event.type == "response.output_item.added":
            item = decoded(_ITEM, event.item)
            self.tally.add((item and item.name) or "", _channel(event))
        elif event.type == "error":
            self.is_error = self.has_ended = True
        self._take_error(event.error)
        return True

    def read_whole(self, document: bytes) -> bool:
        self._take(decoded(_RESPONSE, document))
        return self._is_told or self._count(decoded(_OUTPUT, document))

    def _take(self, response: _Response | None) -> None:
        if response is None:
            return
        self._take_model(response.model)
        self._take_usage(responses_usage(response.usage))
        self._take_error(response.error)
        if response.status == "failed":
            self.is_error = True

    def _count(self, response: _Output | None) -> bool:
        """Counts a response's text. Whether it is one."""
        if response is None or response.output is None:
            return False
        for channel, item in enumerate(response.output or ()):
            for text in (item.name, item.arguments, item.input, item.code):
                self.tally.add(text or "", channel)
            for part in (*(item.summary or ()), *(item.content or ())):
                self.tally.add(part.text or part.refusal or part.transcript or "", channel)
        return True


def _channel(event: _Event) -> int:
    return event.output_index if isinstance(event.output_index, int) else 0
