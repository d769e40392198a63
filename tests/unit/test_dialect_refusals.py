"""Refusals make the providers' own libraries raise what they always raise, with our message in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google.genai import errors

from quota_service.edge.dialects.calls import Dialect
from quota_service.edge.dialects.refusals import refusal_body
from tests.support.sdks import Answering, answering, anthropic_client, gemini_client, openai_client

MESSAGE = "The budget “acme-monthly” is spent until 1 December."

STATUSES = (400, 401, 403, 413, 415, 429, 500, 503)

OPENAI_ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    413: openai.APIStatusError,
    415: openai.APIStatusError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}

ANTHROPIC_ERRORS: dict[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    413: anthropic.APIStatusError,
    415: anthropic.APIStatusError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    503: anthropic.InternalServerError,
}


def call_openai(answer: Answering) -> None:
    openai_client(answer).chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi."}])


def call_anthropic(answer: Answering) -> None:
    anthropic_client(answer).messages.create(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi."}]
    )


def call_gemini(answer: Answering) -> None:
    gemini_client(answer).models.generate_content(model="m", contents="Hi.")


CALLS: dict[Dialect, Callable[[Answering], None]] = {
    Dialect.OPENAI: call_openai,
    Dialect.ANTHROPIC: call_anthropic,
    Dialect.GEMINI: call_gemini,
}


def refused(
    status: int, dialect: Dialect | None, code: str = "budget_exhausted"
) -> tuple[Answering, list[int]]:
    """An answer that refuses for good, and the attempts that it will have seen."""
    attempts: list[int] = []
    told = refusal_body(dialect, status, code, MESSAGE)
    answer = answering(told, status=status, headers={"x-should-retry": "false", "retry-after": "86400"})

    def counting(request: httpx2.Request) -> httpx2.Response:
        attempts.append(status)
        return answer(request)

    return counting, attempts


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, None])
@pytest.mark.parametrize("status", STATUSES)
def test_the_library_of_openai_raises_its_own_error_and_does_not_try_again(
    status: int, dialect: Dialect | None
) -> None:
    answer, attempts = refused(status, dialect)
    with pytest.raises(OPENAI_ERRORS[status], match=MESSAGE) as raised:
        call_openai(answer)
    assert attempts == [status]
    assert raised.value.status_code == status
    assert raised.value.code == "budget_exhausted"


@pytest.mark.parametrize("dialect", [Dialect.ANTHROPIC, None])
@pytest.mark.parametrize("status", STATUSES)
def test_the_library_of_anthropic_raises_its_own_error_and_does_not_try_again(
    status: int, dialect: Dialect | None
) -> None:
    answer, attempts = refused(status, dialect)
    with pytest.raises(ANTHROPIC_ERRORS[status]) as raised:
        call_anthropic(answer)
    assert attempts == [status]
    assert raised.value.status_code == status
    assert MESSAGE in raised.value.message


@pytest.mark.parametrize("dialect", [Dialect.GEMINI, None])
@pytest.mark.parametrize("status", STATUSES)
def test_the_library_of_gemini_raises_its_own_error_and_does_not_try_again(
    status: int, dialect: Dialect | None
) -> None:
    answer, attempts = refused(status, dialect)
    kind = errors.ClientError if status < 500 else errors.ServerError
    with pytest.raises(kind) as raised:
        call_gemini(answer)
    assert attempts == [status]
    assert raised.value.code == status
    assert raised.value.message == MESSAGE
    assert raised.value.status


@pytest.mark.parametrize("dialect", [Dialect.OPENAI, Dialect.ANTHROPIC])
def test_without_the_header_a_library_would_try_again(dialect: Dialect) -> None:
    attempts = []
    told = refusal_body(dialect, 429, "rate_limited", MESSAGE)

    def answer(request: httpx2.Request) -> httpx2.Response:
        attempts.append(request)
        return answering(told, status=429, headers={"retry-after-ms": "1"})(request)

    with pytest.raises((openai.RateLimitError, anthropic.RateLimitError)):
        CALLS[dialect](answer)
    assert len(attempts) > 1


def error_of(dialect: Dialect | None, status: int, code: str, param: str = "") -> dict[str, Any]:
    error: dict[str, Any] = json.loads(refusal_body(dialect, status, code, MESSAGE, param))["error"]
    return error


def test_openai_is_told_money_that_is_spent_apart_from_a_limit_that_passes() -> None:
    assert error_of(Dialect.OPENAI, 429, "budget_exhausted")["type"] == "insufficient_quota"
    for code in ("rate_limited", "budget_held"):
        assert error_of(Dialect.OPENAI, 429, code)["type"] == "rate_limit_exceeded"


def test_the_faulty_part_of_a_call_is_named() -> None:
    assert error_of(Dialect.OPENAI, 400, "invalid_argument", "max_tokens")["param"] == "max_tokens"
    assert error_of(Dialect.OPENAI, 400, "invalid_argument")["param"] is None
    details = error_of(Dialect.GEMINI, 400, "invalid_argument", "maxOutputTokens")["details"]
    assert details[1]["fieldViolations"] == [{"field": "maxOutputTokens", "description": MESSAGE}]


def test_gemini_is_told_the_reason_with_its_domain() -> None:
    error = error_of(Dialect.GEMINI, 429, "budget_exhausted")
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "BUDGET_EXHAUSTED",
            "domain": "quota.v1",
        }
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (404, "invalid_request_error"),
        (504, "api_error"),
    ],
)
def test_anthropic_is_told_its_own_name_of_the_status(status: int, kind: str) -> None:
    told = json.loads(refusal_body(Dialect.ANTHROPIC, status, "some_reason", MESSAGE))
    assert told == {"type": "error", "error": {"type": kind, "message": MESSAGE}}
