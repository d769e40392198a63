"""The one table from errors to gRPC statuses and reasons, and how they travel.

An error travels as a `google.rpc.Status` with an `ErrorInfo`; InvalidRequest also with the faulty fields,
StoreUnavailable and Overloaded also with when to try again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from quota.v1 import errors_pb2
from quota.v1.errors_pb2 import ErrorReason
from quota_service.domain import errors
from quota_service.domain.errors import FieldProblem, InvalidRequest, QuotaError

DOMAIN = "quota.v1"
PREFIX = "ERROR_REASON_"
RETRY_AFTER_MS = 100

# Clients accept little trailing metadata (8 kB by default), so a bad request lists only its first faults.
PROBLEMS_MAX = 8
FIELD_BYTES_MAX = 100
DESCRIPTION_BYTES_MAX = 300
MESSAGE_BYTES_MAX = 600


class InternalFault(QuotaError):
    """Something that should not happen. Callers learn no more than that."""

    def __init__(self) -> None:
        super().__init__("The server has a fault, which its log describes. Quote the request id.")


class DeadlinePassed(QuotaError):
    """The server did not finish in the time that there is."""


class ServerStopping(QuotaError):
    """The server stops: what has no end of its own is ended."""


class Answer(NamedTuple):
    """How an error is told."""

    code: StatusCode
    reason: ErrorReason.ValueType


ANSWERS: Mapping[type[QuotaError], Answer] = {
    errors.InvalidRequest: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_FIELD_INVALID),
    errors.NameMalformed: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_NAME_MALFORMED),
    errors.OrganizationRequired: Answer(
        StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_ORGANIZATION_REQUIRED
    ),
    errors.ReferenceUnknown: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_REFERENCE_UNKNOWN),
    errors.ModelUnknown: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_MODEL_UNKNOWN),
    errors.PriceNotAllowed: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_PRICE_NOT_ALLOWED),
    errors.AmountTooLarge: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_AMOUNT_TOO_LARGE),
    errors.TimeInFuture: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_TIME_IN_FUTURE),
    errors.TimeZoneUnknown: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_TIME_ZONE_UNKNOWN),
    errors.PageTokenInvalid: Answer(StatusCode.INVALID_ARGUMENT, errors_pb2.ERROR_REASON_PAGE_TOKEN_INVALID),
    errors.OrganizationNotFound: Answer(StatusCode.NOT_FOUND, errors_pb2.ERROR_REASON_ORGANIZATION_NOT_FOUND),
    errors.BudgetNotFound: Answer(StatusCode.NOT_FOUND, errors_pb2.ERROR_REASON_BUDGET_NOT_FOUND),
    errors.ReservationNotFound: Answer(StatusCode.NOT_FOUND, errors_pb2.ERROR_REASON_RESERVATION_NOT_FOUND),
    errors.ApiKeyUnknown: Answer(StatusCode.NOT_FOUND, errors_pb2.ERROR_REASON_API_KEY_UNKNOWN),
    errors.NotFound: Answer(StatusCode.NOT_FOUND, errors_pb2.ERROR_REASON_RESOURCE_NOT_FOUND),
    errors.IdempotencyConflict: Answer(
        StatusCode.ALREADY_EXISTS, errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT
    ),
    errors.AlreadyExists: Answer(StatusCode.ALREADY_EXISTS, errors_pb2.ERROR_REASON_RESOURCE_EXISTS),
    errors.ReservationEnded: Answer(
        StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_RESERVATION_ENDED
    ),
    errors.EtagMismatch: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_ETAG_MISMATCH),
    errors.ResourceInUse: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_RESOURCE_IN_USE),
    errors.HeadroomMissing: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_HEADROOM_MISSING),
    errors.WindowsDiffer: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_WINDOWS_DIFFER),
    errors.NoLiveWindow: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_NO_LIVE_WINDOW),
    errors.BudgetDisabled: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_BUDGET_DISABLED),
    errors.ApiKeyRevoked: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_API_KEY_REVOKED),
    errors.PepperMissing: Answer(StatusCode.FAILED_PRECONDITION, errors_pb2.ERROR_REASON_PEPPER_MISSING),
    errors.CredentialsMissing: Answer(
        StatusCode.UNAUTHENTICATED, errors_pb2.ERROR_REASON_CREDENTIALS_MISSING
    ),
    errors.CredentialsInvalid: Answer(
        StatusCode.UNAUTHENTICATED, errors_pb2.ERROR_REASON_CREDENTIALS_INVALID
    ),
    errors.MethodNotAllowed: Answer(StatusCode.PERMISSION_DENIED, errors_pb2.ERROR_REASON_METHOD_NOT_ALLOWED),
    errors.Overloaded: Answer(StatusCode.RESOURCE_EXHAUSTED, errors_pb2.ERROR_REASON_OVERLOADED),
    errors.StoreUnavailable: Answer(StatusCode.UNAVAILABLE, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE),
    errors.BufferFull: Answer(StatusCode.UNAVAILABLE, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE),
    errors.ReservationUnknown: Answer(StatusCode.UNAVAILABLE, errors_pb2.ERROR_REASON_RESERVATION_UNKNOWN),
    ServerStopping: Answer(StatusCode.UNAVAILABLE, errors_pb2.ERROR_REASON_SERVER_STOPPING),
    errors.DeadlineTooShort: Answer(StatusCode.DEADLINE_EXCEEDED, errors_pb2.ERROR_REASON_DEADLINE_TOO_SHORT),
    DeadlinePassed: Answer(StatusCode.DEADLINE_EXCEEDED, errors_pb2.ERROR_REASON_DEADLINE_PASSED),
    InternalFault: Answer(StatusCode.INTERNAL, errors_pb2.ERROR_REASON_INTERNAL),
}


def answer_to(error: QuotaError) -> Answer:
    """The answer of the error's class, or of the nearest one above it."""
    for kind in type(error).__mro__:
        if kind in ANSWERS:
            return ANSWERS[kind]
    return ANSWERS[InternalFault]


def status_of(error: QuotaError) -> Status:
    """The error as it travels. The message is for people and may change; the reason does not."""
    answer = answer_to(error)
    details: list[Message] = [ErrorInfo(reason=reason_name(answer.reason), domain=DOMAIN)]
    if isinstance(error, InvalidRequest):
        details.append(
            BadRequest(field_violations=[_violation(problem) for problem in error.problems[:PROBLEMS_MAX]])
        )
    if isinstance(error, (errors.StoreUnavailable, errors.Overloaded)):
        details.append(RetryInfo(retry_delay=Duration(nanos=RETRY_AFTER_MS * 1_000_000)))
    code: int = answer.code.value[0]
    return Status(
        code=code,
        message=_shortened(str(error), MESSAGE_BYTES_MAX),
        details=[_packed(detail) for detail in details],
    )


def reason_name(reason: ErrorReason.ValueType) -> str:
    """A reason as it travels: without the enum's prefix."""
    return ErrorReason.Name(reason).removeprefix(PREFIX)


def _violation(problem: FieldProblem) -> BadRequest.FieldViolation:
    return BadRequest.FieldViolation(
        field=_shortened(problem.field, FIELD_BYTES_MAX),
        description=_shortened(problem.description, DESCRIPTION_BYTES_MAX),
    )


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _shortened(text: str, bytes_max: int) -> str:
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= bytes_max else raw[: bytes_max - 3].decode(errors="ignore") + "…"
