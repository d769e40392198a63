"""Refusals as a dialect tells its errors, so that its client libraries raise what they always raise, with
our message in it.

Libraries choose the exception by the HTTP status alone. The rest is for the people and programs that look
into it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, assert_never

import msgspec

from quota_service.edge.dialects.calls import Dialect

ERROR_DOMAIN = "quota.v1"
"""Whose `code` it is, as in the errors of the gRPC service."""


class _Words(NamedTuple):
    """What the dialects call an HTTP status."""

    openai: str
    anthropic: str
    gemini: str


_INVALID = _Words("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
_INTERNAL = _Words("server_error", "api_error", "INTERNAL")

_WORDS = {
    400: _INVALID,
    401: _Words("authentication_error", "authentication_error", "UNAUTHENTICATED"),
    403: _Words("permission_error", "permission_error", "PERMISSION_DENIED"),
    413: _Words("invalid_request_error", "request_too_large", "INVALID_ARGUMENT"),
    415: _INVALID,
    429: _Words("insufficient_quota", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    500: _INTERNAL,
    503: _Words("server_error", "overloaded_error", "UNAVAILABLE"),
}

_WAITS = frozenset(("rate_limited", "budget_held"))
"""Codes of a 429 that pass by themselves soon. OpenAI tells them from money that is spent by another type."""


def refusal_body(dialect: Dialect | None, status: int, code: str, message: str, param: str = "") -> bytes:
    """The JSON body of an error. `dialect`: `None` where it is not known; then one that all libraries
    understand. `status`: of HTTP. `code`: the reason, such as `budget_exhausted`. `param`: the faulty
    part of the call.
    """
    words = _WORDS.get(status) or (_INVALID if status < 500 else _INTERNAL)
    match dialect:
        case Dialect.OPENAI:
            return msgspec.json.encode(_openai(words, code, message, param))
        case Dialect.ANTHROPIC:
            return msgspec.json.encode(_anthropic(words, message))
        case Dialect.GEMINI:
            return msgspec.json.encode(_gemini(words, status, code, message, param))
        case None:
            return msgspec.json.encode(_for_all(words, code, message, param))
        case _:
            assert_never(dialect)


def _openai(words: _Words, code: str, message: str, param: str) -> dict[str, Any]:
    kind = "rate_limit_exceeded" if code in _WAITS else words.openai
    return {"error": {"message": message, "type": kind, "param": param or None, "code": code}}


def _anthropic(words: _Words, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": words.anthropic, "message": message}}


def _gemini(words: _Words, status: int, code: str, message: str, param: str) -> dict[str, Any]:
    details: list[dict[str, Any]] = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": code.upper(),
            "domain": ERROR_DOMAIN,
        }
    ]
    if param:
        violation = {"field": param, "description": message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]})
    return {"error": {"code": status, "message": message, "status": words.gemini, "details": details}}


def _for_all(words: _Words, code: str, message: str, param: str) -> dict[str, Any]:
    """Anthropic's frame with its types, OpenAI's parameter and code, Gemini's status: they do not clash, but
    for Gemini's code, which its library takes from the HTTP status where there is one.
    """
    error = {"type": words.anthropic, "message": message, "param": param or None, "code": code}
    return {"type": "error", "error": {**error, "status": words.gemini}}
