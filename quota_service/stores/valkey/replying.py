"""What Valkey's replies mean: its errors, and what it says of itself."""

from __future__ import annotations

from typing import Any

import hiredis

from quota_service.domain.errors import StoreUnavailable

_NOT_THE_MASTER = ("READONLY", "MASTERDOWN")
_UNAVAILABLE = (
    *_NOT_THE_MASTER,
    "LOADING",
    "BUSY",
    "OOM",
    "EXECABORT",
    "CLUSTERDOWN",
    "NOREPLICAS",
    "MISCONF",
    "TRYAGAIN",
)
"""Replies that say: not now. Nothing was done."""


class ReplyError(Exception):
    """Valkey refused a command, which is a mistake of ours."""


class NotTheMaster(StoreUnavailable):
    """The server is a replica, or has become one: the master is another."""


def checked(reply: Any) -> Any:
    """The reply itself. Raises what it means where it is an error: StoreUnavailable, or ReplyError."""
    if not isinstance(reply, hiredis.ReplyError):
        return reply
    text = str(reply)
    if text.startswith(_NOT_THE_MASTER):
        raise NotTheMaster("Valkey is a replica and decides nothing.") from reply
    if text.startswith(_UNAVAILABLE):
        raise StoreUnavailable("Valkey cannot take the command now.") from reply
    raise ReplyError(text)


def information(reply: bytes) -> dict[str, str]:
    """What INFO answers, by name."""
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}
