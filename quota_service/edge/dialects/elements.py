"""The elements of a JSON array, read from bytes as they come, however they are cut.

Gemini streams like this where it is not asked for server-sent events: one array, an object for each piece.
"""

from __future__ import annotations

import re

ELEMENT_BYTES_MAX = 4 * 1024 * 1024
"""Of one element; a longer one is dropped."""

_OUTSIDE = re.compile(rb'["{}\[\]]')
"""What matters between strings."""

_INSIDE = re.compile(rb'["\\]')
"""What matters in a string."""


class ElementReader:
    """Turns chunks of an array into its elements that are objects. `has_ended`: the array's end was seen.
    `dropped`: how many elements were left out because they were too long.
    """

    __slots__ = ("_depth", "_in_string", "_is_escaped", "_is_too_long", "_kept", "dropped", "has_ended")

    def __init__(self) -> None:
        self.has_ended = False
        self.dropped = 0
        self._kept = bytearray()  # of the element so far
        self._depth = 0  # 1: in the array, 2: in an element
        self._in_string = False
        self._is_escaped = False  # the next byte is a character of the string, whatever it is
        self._is_too_long = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The elements that end in the chunk."""
        elements: list[bytes] = []
        begun = at = 0  # where the element begins or goes on; where to look next
        while not self.has_ended and (found := self._next(chunk, at)) >= 0:
            at = found + 1
            before = self._depth
            self._step(chunk[found])
            if self._depth > before == 1:
                begun = found
            elif self._depth < before == 2:
                self._keep(chunk[begun:at])
                self._end_element(elements)
        if self._depth > 1:
            self._keep(chunk[begun:])
        return elements

    def _next(self, chunk: bytes, at: int) -> int:
        """Where the next byte is that matters; -1: there is none in the chunk."""
        if self._is_escaped and at < len(chunk):
            self._is_escaped = False
            at += 1
        found = (_INSIDE if self._in_string else _OUTSIDE).search(chunk, at)
        return found.start() if found else -1

    def _step(self, byte: int) -> None:
        match byte:
            case 0x22:  # "
                self._in_string = not self._in_string
            case 0x5C:  # \
                self._is_escaped = True
            case 0x7B | 0x5B:  # { [
                self._depth += 1
            case _:  # } ]
                self._depth -= 1
                self.has_ended = self._depth <= 0

    def _keep(self, part: bytes) -> None:
        if len(self._kept) + len(part) > ELEMENT_BYTES_MAX:
            self._is_too_long = True
            self._kept.clear()
        if not self._is_too_long:
            self._kept += part

    def _end_element(self, elements: list[bytes]) -> None:
        if self._is_too_long:
            self.dropped += 1
        else:
            elements.append(bytes(self._kept))
        self._kept.clear()
        self._is_too_long = False
