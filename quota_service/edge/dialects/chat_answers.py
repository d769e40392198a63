"""What OpenAI's chat completions, completions and embeddings answer: whole or in chunks of one shape."""

from __future__ import annotations

from typing import Any

import msgspec

from quota_service.edge.dialects.facts import NO_JSON, Facts, Json, decoded
from quota_service.edge.dialects.usage import chat_usage


class _Call(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    function: _Call | None = None
    custom: _Call | None = None


class _Audio(msgspec.Struct, gc=False):
    transcript: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None  # not OpenAI's own, but of many who speak its dialect
    reasoning: str | None = None  # the same; servers that send both send the same text
    tool_calls: list[_ToolCall] | None = None
    function_call: _Call | None = None
    audio: _Audio | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int | None = None
    text: str | None = None
    delta: _Message | None = None
    message: _Message | None = None


class _Document(msgspec.Struct, gc=False):
    """A document whose text is not of the shape that is known."""

    model: Any = None
    usage: Json = NO_JSON
    error: Json = NO_JSON


class _Completion(_Document, gc=False):
    choices: list[_Choice] | None = None


_COMPLETION = msgspec.json.Decoder(_Completion)
_DOCUMENT = msgspec.json.Decoder(_Document)


class ChatFacts(Facts):
    """Of chat completions and completions."""

    __slots__ = ()

    def read_event(self, document: bytes) -> bool:
        completion = decoded(_COMPLETION, document)
        if completion is None:
            return self._read_document(document)
        self._take(completion)
        self._count(completion)
        return True

    def read_whole(self, document: bytes) -> bool:
        completion = decoded(_COMPLETION, document)
        if completion is None:
            return self._read_document(document) and self._is_told
        self._take(completion)
        if not self._is_told:
            self._count(completion)
        return self._is_told or completion.choices is not None

    def _read_document(self, document: bytes) -> bool:
        rough = decoded(_DOCUMENT, document)
        if rough is not None:
            self._take(rough)
        return rough is not None

    def _take(self, document: _Document) -> None:
        self._take_model(document.model)
        self._take_usage(chat_usage(document.usage))
        self._take_error(document.error)

    def _count(self, completion: _Completion) -> None:
        for choice in completion.choices or ():
            channel = choice.index or 0
            if choice.text:
                self.tally.add(choice.text, channel)
            message = choice.delta or choice.message
            if message is not None:
                self._count_message(message, channel)

    def _count_message(self, message: _Message, channel: int) -> None:
        if message.content:
            self.tally.add(message.content, channel)
        reasoning = message.reasoning_content or message.reasoning
        if reasoning:
            self.tally.add(reasoning, channel)
        if message.refusal:
            self.tally.add(message.refusal, channel)
        if message.audio is not None:
            self.tally.add(message.audio.transcript or "", channel)
        if message.tool_calls or message.function_call:
            self._count_calls(message, channel)

    def _count_calls(self, message: _Message, channel: int) -> None:
        calls = [message.function_call]
        for tool_call in message.tool_calls or ():
            calls += (tool_call.function, tool_call.custom)
        for call in calls:
            if call is not None:
                self.tally.add(call.name or "", channel)
                self.tally.add(call.arguments or call.input or "", channel)


class EmbeddingsFacts(ChatFacts):
    """Of embeddings: no text comes out, whatever a block says."""

    __slots__ = ()

    def _take(self, document: _Document) -> None:
        super()._take(document)
        if self.usage is not None:
            self.usage = self.usage._replace(output_tokens=0)
