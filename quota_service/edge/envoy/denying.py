"""Denials as HTTP answers, in the caller's dialect.

A denial is always gRPC OK with a `denied_response`: any other status is an error to Envoy, which its
`failure_mode_allow` may let pass, and that is not for Envoy to decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from google.rpc.status_pb2 import Status
from grpc import StatusCode

from quota_service.application.requests import AuthorizeResult
from quota_service.domain import errors
from quota_service.domain.decision import Reason, Violation, decisive
from quota_service.domain.errors import QuotaError
from quota_service.edge import errors as edge_errors
from quota_service.edge.dialects.calls import Dialect
from quota_service.edge.dialects.refusals import refusal_body
from quota_service.edge.envoy.api.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from quota_service.edge.envoy.api.envoy.service.auth.v3.external_auth_pb2 import (
    CheckResponse,
    DeniedHttpResponse,
)
from quota_service.edge.envoy.api.envoy.type.v3.http_status_pb2 import HttpStatus
from quota_service.edge.envoy.limit_headers import limit_headers

PATIENCE_MS = 30_000
"""A longer wait is nothing for an SDK to sit out: its caller is told at once."""

ERROR_RETRY_MS = 1_000

_FORBIDDEN = frozenset(
    {
        Reason.MODEL_UNKNOWN,
        Reason.MODEL_NOT_ALLOWED,
        Reason.SUBJECT_DISABLED,
        Reason.API_KEY_REVOKED,
        Reason.SUBJECT_UNKNOWN,
        Reason.SUBJECT_CONTRADICTORY,
        Reason.DIMENSION_REQUIRED,
    }
)

_GRPC: Mapping[int, StatusCode] = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    503: StatusCode.UNAVAILABLE,
}


class HttpAnswer(NamedTuple):
    """A status, and what the error is called."""

    status: int
    code: str


_ANSWERS: Mapping[type[QuotaError], HttpAnswer] = {
    errors.CredentialsMissing: HttpAnswer(401, "credentials_missing"),
    errors.CredentialsInvalid: HttpAnswer(401, "credentials_invalid"),
    errors.ApiKeyUnknown: HttpAnswer(401, "api_key_unknown"),
    errors.ApiKeyRevoked: HttpAnswer(403, "api_key_revoked"),
    errors.OrganizationRequired: HttpAnswer(401, "organization_required"),
    errors.NotFound: HttpAnswer(403, "not_found"),
    errors.InvalidRequest: HttpAnswer(400, "invalid_request"),
    errors.StoreUnavailable: HttpAnswer(503, "store_unavailable"),
    errors.Overloaded: HttpAnswer(503, "overloaded"),
    edge_errors.ServerStopping: HttpAnswer(503, "server_stopping"),
    errors.DeadlineTooShort: HttpAnswer(503, "deadline_too_short"),
    edge_errors.DeadlinePassed: HttpAnswer(503, "deadline_passed"),
}
_FAULT = HttpAnswer(503, "gateway_fault")
"""Whatever else there is, Envoy's own credential included, is no fault of the caller's."""


def of_result(dialect: Dialect, result: AuthorizeResult, now_ms: int) -> CheckResponse:
    """A request that did not fit."""
    found = result.violations
    status = _status(found)
    headers = [*_retry_headers(status, result.retry_after_ms), *limit_headers(dialect, found, now_ms)]
    return denied(dialect, status, decisive(found).reason.name.lower(), result.message, headers)


def of_error(dialect: Dialect | None, error: QuotaError) -> CheckResponse:
    """A request that could not be decided on. `dialect` `None`: it is not known yet."""
    answer = next((_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS), _FAULT)
    headers = _retry_headers(answer.status, ERROR_RETRY_MS) if answer.status == 503 else []
    return denied(dialect, answer.status, answer.code, str(error), headers)


def of_fault(error: QuotaError) -> CheckResponse:
    """A call of Envoy's own that the service refuses: whoever waits behind Envoy can do nothing about it."""
    answer = _ANSWERS.get(type(error), _FAULT)
    if answer.status != 503:
        return denied(None, 503, _FAULT.code, "The gateway may not ask the quota service.", [])
    return of_error(None, error)


def denied(
    dialect: Dialect | None,
    status: int,
    code: str,
    message: str,
    headers: Iterable[tuple[str, str]] = (),
    param: str = "",
) -> CheckResponse:
    """`code`: what the error is called, in lower case."""
    body = refusal_body(dialect, status, code, message, param).decode()
    all_headers = (("content-type", "application/json"), *headers)
    return CheckResponse(
        status=Status(code=_GRPC.get(status, StatusCode.PERMISSION_DENIED).value[0]),
        denied_response=DeniedHttpResponse(
            status=HttpStatus(code=status),  # type: ignore[arg-type]  # its numbers are those of HTTP
            headers=[header_option(name, value) for name, value in all_headers],
            body=body,
        ),
    )


def header_option(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _status(found: tuple[Violation, ...]) -> int:
    """What no waiting and no money changes comes first."""
    reasons = {each.reason for each in found}
    if reasons & _FORBIDDEN:
        return 403
    return 503 if Reason.STORE_UNAVAILABLE in reasons else 429


def _retry_headers(status: int, retry_ms: int | None) -> list[tuple[str, str]]:
    """`retry_ms` `None`: waiting does not help."""
    if status not in (429, 503):
        return []
    headers = [] if retry_ms is None else [("retry-after", str(-(-retry_ms // 1_000)))]
    if retry_ms is None or retry_ms > PATIENCE_MS:
        headers.append(("x-should-retry", "false"))
    return headers
