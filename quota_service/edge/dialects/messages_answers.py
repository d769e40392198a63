"""What Anthropic's messages answer: a message, or a stream of events that build one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from quota_service.edge.dialects.facts import NO_JSON, Facts, Json, compact, decoded, is_something
from quota_service.edge.dialects.usage import MessagesCounts, messages_counts


class _Block(msgspec.Struct, gc=False):
    """A part of a message, or what is added to one. Redacted thinking and signatures are not for anybody to
    read: they have no text here.
    """

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    name: str | None = None
    input: Json = NO_JSON


class _Content(msgspec.Struct, gc=False):
    content: list[_Block] | None = None


class _Message(msgspec.Struct, gc=False):
    model: Any = None
    usage: Json = NO_JSON
    error: Json = NO_JSON


class _Event(msgspec.Struct, gc=False):
    type: Any = None
    index: Any = None
    delta: Json = NO_JSON
    content_block: Json = NO_JSON
    message: Json = NO_JSON
    usage: Json = NO_JSON
    error: Json = NO_JSON


_EVENT = msgspec.json.Decoder(_Event)
_BLOCK = msgspec.json.Decoder(_Block)
_MESSAGE = msgspec.json.Decoder(_Message)
_CONTENT = msgspec.json.Decoder(_Content)


class MessagesFacts(Facts):
    """Of a message. `counts`: its usage as far as it was told."""

    __slots__ = ("counts",)

    def __init__(self, count: Callable[[str], int]) -> None:
        super().__init__(count)
        self.counts = MessagesCounts()

    def read_event(self, document: bytes) -> bool:
        event = decoded(_EVENT, document)
        if event is None:
            return False
        match event.type:
            case "content_block_delta":
                self._count(decoded(_BLOCK, event.delta), event.index)
            case "content_block_start":
                self._count(decoded(_BLOCK, event.content_block), event.index)
            case "message_start":
                self._take(decoded(_MESSAGE, event.message))
            case "message_delta":
                self._take_counts(event.usage)
            case "message_stop":
                self.has_ended = True
            case "error":
                self.is_error = self.has_ended = True
        self._take_error(event.error)
        return True

    def read_whole(self, document: bytes) -> bool:
        self._take(decoded(_MESSAGE, document))
        if self._is_told:
            return True
        message = decoded(_CONTENT, document)
        for index, block in enumerate((message and message.content) or ()):
            self._count(block, index)
        return message is not None and message.content is not None

    def _take(self, message: _Message | None) -> None:
        if message is None:
            return
        self._take_model(message.model)
        self._take_counts(message.usage)
        self._take_error(message.error)

    def _take_counts(self, block: Json) -> None:
        counts = messages_counts(block)
        if counts is not None:
            self.counts = self.counts.then(counts)
            self.usage = self.counts.usage()

    def _count(self, block: _Block | None, index: Any) -> None:
        if block is None:
            return
        channel = index if isinstance(index, int) else 0
        self.tally.add(block.text or block.thinking or block.partial_json or "", channel)
        if block.name:
            self.tally.add(block.name, channel)
            # A stream begins with an empty object and adds the JSON in pieces.
            if is_something(block.input):
                self.tally.add(compact(block.input), channel)
