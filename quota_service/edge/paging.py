"""Page tokens: where a list goes on, bound to the request that the token was given for.

A token is a digest and a position, in an alphabet in which it can look like no secret. The digest covers the
position and every other field of the request (its page size excepted), so a token of another list, parent or
filter is refused. It is no secret and grants nothing: whoever may list may list from anywhere.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode

from google.protobuf.message import Message

from quota_service.domain.errors import PageTokenInvalid

PAGE_SIZE_DEFAULT = 50
NUMBER_MAX = 2**63 - 1
_DIGEST_BYTES = 12
_ALTERNATIVES = b"~!"
"""Without `-` and `_`, which secrets have behind their first letters."""


def page_size(request: Message, default: int = PAGE_SIZE_DEFAULT) -> int:
    """How many items to answer to a list request."""
    size: int = request.page_size  # type: ignore[attr-defined]  # every list request has it
    return size or default


def position(request: Message) -> str:
    """Where the page begins, "" at the beginning. Raises PageTokenInvalid."""
    given: str = request.page_token  # type: ignore[attr-defined]  # every list request has it
    if not given:
        return ""
    try:
        raw = b64decode(given.encode() + b"=" * (-len(given) % 4), altchars=_ALTERNATIVES, validate=True)
        found = raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise PageTokenInvalid from None
    if not found or raw[:_DIGEST_BYTES] != _digest(request, found):
        raise PageTokenInvalid
    return found


def number(request: Message) -> int | None:
    """The same where positions are numbers; `None` at the beginning. Raises PageTokenInvalid."""
    told = position(request)
    return parsed(told) if told else None


def parsed(told: str) -> int:
    """A number of a position. Raises PageTokenInvalid."""
    if not told.isascii() or not told.isdecimal() or len(told) > len(str(NUMBER_MAX)):
        raise PageTokenInvalid
    found = int(told)
    if found > NUMBER_MAX:
        raise PageTokenInvalid
    return found


def token(request: Message, next_position: str) -> str:
    """The token for the page that begins at a position; "" where nothing follows."""
    if not next_position:
        return ""
    raw = _digest(request, next_position) + next_position.encode()
    return b64encode(raw, altchars=_ALTERNATIVES).decode().rstrip("=")


def _digest(request: Message, next_position: str) -> bytes:
    bound = type(request)()
    bound.CopyFrom(request)
    bound.ClearField("page_token")
    bound.ClearField("page_size")
    content = bound.SerializeToString(deterministic=True)
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.blake2s(
        b"\0".join((name, content, next_position.encode())), digest_size=_DIGEST_BYTES
    ).digest()
