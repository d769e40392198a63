"""What can be said of a body that was cut off somewhere: its first fields, and how much text is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from quota_service.edge.dialects.bounds import Tally
from quota_service.edge.dialects.fields import fields_of, without_lone_surrogates
from quota_service.edge.dialects.gemini_requests import CONFIGURATIONS

TOKENS_READ_MAX = 200_000
"""Of JSON, not of a model: strings, numbers, brackets. Fields that come later are not seen."""

BASE64_BYTES_MIN = 1_024
BASE64_BYTES_PER_TOKEN = 32
"""For images, audio and documents in one: a page of 100 kB with its 4,600 tokens, an image of 150 kB."""

_TOKEN = re.compile(
    rb'[\s,:]*+(?:(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<open>[{\[])|(?P<close>[}\]])'
    rb'|(?P<other>[^\s,:"{}\[\]]++))',
    re.DOTALL,
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{%d,}+={0,2}+" % BASE64_BYTES_MIN)


def visible_fields(body: bytes) -> dict[str, Any]:
    """The fields of the object that are there as a whole and are no objects or lists themselves; those of
    Gemini's configuration, too, as far as they are there.
    """
    fields: dict[str, Any] = {}
    for path, raw in _scalars(body):
        if len(path) == 1:
            fields[path[0]] = _value(raw)
        elif len(path) == 2 and path[0] in CONFIGURATIONS:
            inner = fields_of(fields.get(path[0]))
            fields[path[0]] = {**inner, path[1]: _value(raw)}
    return fields


def visible_tokens(body: bytes, tally: Tally) -> int:
    """The tokens of what is there, with its JSON, but without long runs of base64: these count a token per
    BASE64_BYTES_PER_TOKEN bytes.
    """
    text = _BASE64.sub(b"", body)
    tally.add((len(body) - len(text)) // BASE64_BYTES_PER_TOKEN)
    tally.text(text.decode(errors="replace"))
    return tally.tokens


def _scalars(body: bytes) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Strings, numbers and literals that are the value of a name, with the names that lead there. A value
    that the end of the body touches may go on, and is left out.
    """
    walk = _Walk()
    position = 0
    for _ in range(TOKENS_READ_MAX):
        found = _TOKEN.match(body, position)
        if found is None or found.end() == len(body):
            return
        position = found.end()
        if found["open"] is not None:
            walk.enter(found["open"] == b"{")
        elif found["close"] is not None:
            walk.leave()
        elif (raw := found["string"] or found["other"]) and (path := walk.value(raw)) is not None:
            yield path, raw
        if walk.is_over:
            return


class _Walk:
    """Where in the JSON one is: the names that lead there, and whether a name or a value comes next."""

    def __init__(self) -> None:
        self._names: list[str] = []  # one for each level: the name whose value is being read
        self._is_object: list[bool] = []
        self._expects_name = False
        self.is_over = False

    def enter(self, is_object: bool) -> None:
        self._is_object.append(is_object)
        self._names.append("")
        self._expects_name = is_object

    def leave(self) -> None:
        del self._is_object[-1:], self._names[-1:]
        self.is_over = not self._is_object
        self._expects_name = not self.is_over and self._is_object[-1]

    def value(self, raw: bytes) -> tuple[str, ...] | None:
        """Takes a token that is no bracket; its path ("" for a list), where it is a value and not deep."""
        if not self._is_object:
            self.is_over = True  # a text or a number alone: no object
            return None
        if self._expects_name:
            self._names[-1] = str(_value(raw))
            self._expects_name = False
            return None
        self._expects_name = self._is_object[-1]
        return tuple(self._names) if len(self._names) <= 2 else None


def _value(raw: bytes) -> object:
    """What a token says; `...`, which no field may be, for what is no JSON."""
    try:
        return msgspec.json.decode(raw)
    except ValueError:
        pass
    try:
        return msgspec.json.decode(without_lone_surrogates(raw))
    except ValueError:
        return ...
