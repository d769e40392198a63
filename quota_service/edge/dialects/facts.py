"""What is known of an answer, gathered from its JSON documents: one for each event, or one in all."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from quota_service.domain.pricing import Usage
from quota_service.edge.dialects.tally import TokenTally

Document = TypeVar("Document")
Known = TypeVar("Known", bound="Facts")

Json = msgspec.Raw
"""A part of a document that is looked at later, if at all; empty where it is absent."""

NO_JSON = msgspec.Raw()

_MODEL = re.compile(r"[!-~]{1,256}")

_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
"""A half of what JSON writes for a character beyond U+FFFF."""

_NOTHING = (b"", b"null", b"false", b'""', b"{}")


class Facts:
    """What is known of an answer. Has a subclass for each API, which reads its documents. Nothing raises."""

    __slots__ = ("has_ended", "is_error", "model", "tally", "usage")

    def __init__(self, count: Callable[[str], int]) -> None:
        self.usage: Usage | None = None
        self.model = ""
        self.tally = TokenTally(count)
        self.has_ended = False
        self.is_error = False

    def read_event(self, document: bytes) -> bool:
        """Learns from a part of a stream. Whether it is one."""
        raise NotImplementedError

    def read_whole(self, document: bytes) -> bool:
        """Learns from an answer that is one document. Whether it says how much came: by a usage, by a text
        that can be counted, or by being an error. Text is counted only where there is no usage.
        """
        raise NotImplementedError

    def fork(self: Known) -> Known:
        """The same again, to go on from here on its own."""
        other = copy.copy(self)
        other.tally = self.tally.fork()
        return other

    @property
    def _is_told(self) -> bool:
        return self.usage is not None or self.is_error

    def _take_model(self, model: Any) -> None:
        if model != self.model and isinstance(model, str) and _MODEL.fullmatch(model):
            self.model = model

    def _take_usage(self, usage: Usage | None) -> None:
        if usage is not None:
            self.usage = usage

    def _take_error(self, error: Json) -> None:
        """An error is the end, too: nothing comes after it."""
        if is_something(error):
            self.is_error = True
            self.has_ended = True


def is_something(part: Json) -> bool:
    """Whether a part is there and not null."""
    return bytes(part) not in _NOTHING


def compact(part: Json) -> str:
    """A part's JSON as a model writes it, without what a server added to make it look nice; "" where it is
    none.
    """
    try:
        return msgspec.json.format(bytes(part), indent=-1).decode("utf-8", "replace") if part else ""
    except (msgspec.MsgspecError, RecursionError):
        return ""


def decoded(decoder: msgspec.json.Decoder[Document], document: bytes | Json) -> Document | None:
    """What a document says; `None` where it is none, or has other types than those asked for.

    Half characters are forgiven: servers that cut texts anywhere write them, in JSON or in UTF-8.
    """
    try:
        return decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return decoder.decode(_mended(bytes(document)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _mended(document: bytes) -> bytes:
    whole = document.decode("utf-8", "replace").encode()
    return _HALF_CHARACTER.sub(rb"\\ufffd", whole)
