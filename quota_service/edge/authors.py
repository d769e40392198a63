"""Who makes the changes of a call, as the audit trail is told."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import grpc

from quota_service.domain.audit import Authorship
from quota_service.edge.access import control as access
from quota_service.edge.secrets import has_secret

REASON = "x-reason"
REASON_LENGTH_MAX = 500

Context = grpc.aio.ServicerContext[Any, Any]


def authorship(method: str, request_id: str, context: Context) -> Authorship:
    """Of the call that is being answered."""
    return Authorship(access.name(), method, request_id, sent_reason(context))


def sent_reason(context: Context) -> str:
    """Why, as the caller says in the header `x-reason`, percent-encoded where it is not ASCII; "" where it
    says nothing printable, or a secret. What is too long is cut.
    """
    for key, value in context.invocation_metadata() or ():
        if key == REASON and isinstance(value, str):
            reason = unquote(value)
            is_sane = reason.isprintable() and not has_secret(reason.encode())
            return reason[:REASON_LENGTH_MAX] if is_sane else ""
    return ""
