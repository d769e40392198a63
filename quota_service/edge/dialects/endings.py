"""What the end of a long JSON object says, when its beginning is not kept.

Whoever wrote a text in it cannot forge what is found. A quote inside of a string has a backslash before it,
so a name with a bare quote after it, and a colon, is the end of a key indeed. And it counts only where it is
a key of the outermost object, which is known from how many brackets close after it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NAMES = (b"usage", b"usageMetadata", b"model", b"modelVersion", b"error")

_KEY = re.compile(rb'"(?:' + b"|".join(_NAMES) + rb')"\s*:')

_TOKEN = re.compile(
    rb'"(?P<text>[^"\\]*+(?:\\.[^"\\]*+)*+)(?:"(?P<key>\s*:)?|(?P<cut>\\?\Z))|(?P<open>[{\[])|[}\]]',
    re.DOTALL,
)
"""A string, perhaps a key, perhaps cut off at the end of all; or a bracket."""


class _Member(NamedTuple):
    depth: int  # against where the search began
    name: bytes
    value: bytes


class _Begun(NamedTuple):
    depth: int
    name: bytes
    start: int


def last_members(tail: bytes) -> dict[bytes, bytes]:
    """The members of a JSON object that begin in its last bytes: by their names, as JSON, where they are
    strings or objects. Only those that matter here; none where the object's end is missing.
    """
    first = _KEY.search(tail)
    if first is None:
        return {}
    members, depth = _members(tail, first.start())
    # All brackets have closed at the end, so the object's own members are one deeper than the end is.
    return {member.name: member.value for member in members if member.depth == depth + 1}


def _members(tail: bytes, start: int) -> tuple[list[_Member], int]:
    """The members that begin after the start, and how deep the end is."""
    members: list[_Member] = []
    begun: list[_Begun] = []
    name: bytes | None = None  # of the member whose value comes next
    depth = 0
    for token in _TOKEN.finditer(tail, start):
        if token["cut"] is not None:
            return [], 0
        if token["open"] is not None:
            if name is not None:
                begun.append(_Begun(depth, name, token.start()))
            depth += 1
        elif token["text"] is None:
            depth -= 1
            if begun and begun[-1].depth == depth:
                members.append(_Member(depth, begun[-1].name, tail[begun.pop().start : token.end()]))
        elif name is not None and token["key"] is None:
            members.append(_Member(depth, name, token[0]))
        name = token["text"] if token["key"] is not None and token["text"] in _NAMES else None
    return members, depth
