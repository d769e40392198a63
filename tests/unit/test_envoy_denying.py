"""Which HTTP status, headers and words a denial has."""

from __future__ import annotations

import json

import pytest

from quota_service.application.requests import AuthorizeResult
from quota_service.domain import errors
from quota_service.domain.amounts import Meter
from quota_service.domain.decision import Reason, Violation, retry_after_ms
from quota_service.domain.errors import QuotaError
from quota_service.edge.dialects.calls import Dialect
from quota_service.edge.envoy import denying
from quota_service.edge.envoy.api.envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from quota_service.edge.errors import DeadlinePassed, InternalFault, ServerStopping
from tests.support.envoy import error, status, told

NOW_MS = 1_795_000_000_000
FORBIDDEN = {
    Reason.MODEL_UNKNOWN,
    Reason.MODEL_NOT_ALLOWED,
    Reason.SUBJECT_DISABLED,
    Reason.API_KEY_REVOKED,
    Reason.SUBJECT_UNKNOWN,
    Reason.SUBJECT_CONTRADICTORY,
    Reason.DIMENSION_REQUIRED,
}
DENIALS = [reason for reason in Reason if reason <= Reason.STORE_UNAVAILABLE]


def denied(*violations: Violation, dialect: Dialect = Dialect.OPENAI) -> CheckResponse:
    result = AuthorizeResult(
        organization="acme",
        violations=violations,
        retry_after_ms=retry_after_ms(violations),
        message="There is no room.",
    )
    return denying.of_result(dialect, result, NOW_MS)


def a_limit(meter: Meter, *, wait_ms: int | None = 1_500, spent: int = 90, source: str = "rpm") -> Violation:
    return Violation(
        reason=Reason.RATE_LIMITED,
        message="Full.",
        source=f"rateLimits/{source}",
        meter=meter,
        limit=100,
        ceiling=100,
        spent=spent,
        requested=50,
        retryable=True,
        retry_ms=wait_ms,
    )


@pytest.mark.parametrize("reason", DENIALS)
def test_every_reason_has_its_status_and_its_name(reason: Reason) -> None:
    answer = denied(Violation(reason, "No."))
    expected = 403 if reason in FORBIDDEN else 503 if reason is Reason.STORE_UNAVAILABLE else 429
    assert (status(answer), error(answer)["code"]) == (expected, reason.name.lower())
    assert answer.status.code != 0
    assert error(answer)["message"] == "There is no room."


def test_what_no_money_changes_decides_the_status() -> None:
    both = (Violation(Reason.BUDGET_EXHAUSTED, "Spent."), Violation(Reason.SUBJECT_DISABLED, "Off."))
    assert status(denied(*both)) == status(denied(*reversed(both))) == 403


@pytest.mark.parametrize(
    ("wait_ms", "headers"),
    [
        (1, {"retry-after": "1"}),
        (1_001, {"retry-after": "2"}),
        (30_000, {"retry-after": "30"}),
        (30_001, {"retry-after": "31", "x-should-retry": "false"}),
        (None, {"x-should-retry": "false"}),
    ],
)
def test_a_wait_is_told_and_a_long_one_is_not_to_be_sat_out(
    wait_ms: int | None, headers: dict[str, str]
) -> None:
    answer = denied(Violation(Reason.BUDGET_EXHAUSTED, "Spent.", retry_ms=wait_ms))
    assert {name: value for name, value in told(answer).items() if "retry" in name} == headers


def test_forbidden_is_nothing_to_wait_for() -> None:
    assert set(told(denied(Violation(Reason.MODEL_NOT_ALLOWED, "No.")))) == {"content-type"}


def test_every_limit_that_did_not_fit_is_named_and_the_tightest_in_the_dialects_words() -> None:
    limits = (a_limit(Meter.REQUESTS), a_limit(Meter.REQUESTS, spent=99, source="each-user"))
    headers = told(denied(*limits))
    assert headers["ratelimit-policy"] == '"rpm";q=100;qu="requests", "each-user";q=100;qu="requests"'
    assert headers["ratelimit"] == '"rpm";r=10;t=2, "each-user";r=1;t=2'
    assert {name: value for name, value in headers.items() if name.startswith("x-ratelimit")} == {
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "2s",
    }


def test_anthropics_callers_read_anthropics_headers() -> None:
    headers = told(denied(a_limit(Meter.TOKENS), dialect=Dialect.ANTHROPIC))
    assert headers["anthropic-ratelimit-tokens-remaining"] == "10"
    assert headers["anthropic-ratelimit-tokens-reset"] == "2026-11-18T11:06:42Z"


def test_money_has_no_headers_of_a_dialect_and_no_wait_where_none_helps() -> None:
    money = a_limit(Meter.COST, wait_ms=None, spent=120)
    headers = told(denied(money))
    assert headers["ratelimit-policy"] == '"rpm";q=100;qu="micro-usd"'
    assert headers["ratelimit"] == '"rpm";r=0'
    assert not [name for name in headers if name.startswith("x-ratelimit")]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (errors.CredentialsMissing("Who?"), 401),
        (errors.CredentialsInvalid("No."), 401),
        (errors.ApiKeyUnknown("No."), 401),
        (errors.ApiKeyRevoked("Over."), 403),
        (errors.OrganizationNotFound("None."), 403),
        (errors.InvalidRequest(errors.FieldProblem("model", "is bad")), 400),
        (errors.AmountTooLarge("Too much."), 400),
        (errors.StoreUnavailable("Away."), 503),
        (errors.BufferFull("Away."), 503),
        (errors.Overloaded("Full."), 503),
        (ServerStopping("Stops."), 503),
        (DeadlinePassed("Late."), 503),
        (InternalFault(), 503),
    ],
)
def test_every_error_is_an_answer(fault: QuotaError, expected: int) -> None:
    for dialect in (*Dialect, None):
        answer = denying.of_error(dialect, fault)
        assert status(answer) == expected
        assert ("retry-after" in told(answer)) == (expected == 503)
        assert json.loads(answer.denied_response.body)


@pytest.mark.parametrize(
    "fault",
    [errors.CredentialsMissing("x"), errors.MethodNotAllowed("x"), errors.InvalidRequest(), InternalFault()],
)
def test_faults_of_the_gateways_own_are_closed_and_tell_callers_nothing(fault: QuotaError) -> None:
    answer = denying.of_fault(fault)
    assert (status(answer), error(answer)["code"]) == (503, "gateway_fault")
    assert "credential" not in error(answer)["message"]


def test_a_server_that_sheds_load_says_when_to_come_back() -> None:
    answer = denying.of_fault(errors.Overloaded("The server has too many calls under way."))
    assert (status(answer), told(answer)["retry-after"]) == (503, "1")
