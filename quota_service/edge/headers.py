"""What callers say in headers, as far as the service listens; `authorization` is for `access`."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import grpc

from quota_service.edge.secrets import has_secret

REQUEST_ID = "x-request-id"
REQUEST_ID_LENGTH_MAX = 128

REASON = "x-reason"
REASON_LENGTH_MAX = 500

Context = grpc.aio.ServicerContext[Any, Any]


def request_id(context: Context) -> str:
    """The request id that the caller sent, "" where it sent none that is printable, of a sane length, and no
    secret.
    """
    value = _sent(context, REQUEST_ID)
    return value if value and len(value) <= REQUEST_ID_LENGTH_MAX and _is_sane(value) else ""


def reason(context: Context) -> str:
    """Why, percent-encoded where it is not ASCII; "" where the caller says nothing printable, or a secret.
    What is too long is cut.
    """
    value = unquote(_sent(context, REASON))
    return value[:REASON_LENGTH_MAX] if _is_sane(value) else ""


def _sent(context: Context, name: str) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == name and isinstance(value, str):
            return value
    return ""


def _is_sane(value: str) -> bool:
    return value.isprintable() and not has_secret(value.encode())
