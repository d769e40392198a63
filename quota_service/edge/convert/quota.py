"""Requests and answers of QuotaService."""

from __future__ import annotations

from quota.v1 import quota_pb2 as pb
from quota.v1 import types_pb2
from quota_service.application.ledger_ports import LedgerRow
from quota_service.application.requests import (
    AuthorizeRequest,
    AuthorizeResult,
    CommitRequest,
    CommitResult,
    ExtendRequest,
    ExtendResult,
    RecordRequest,
    RecordResult,
    ReleaseResult,
)
from quota_service.domain.decision import Caution, Violation
from quota_service.domain.reservation import DEFAULT_TTL_MS, Hold, State
from quota_service.edge import names
from quota_service.edge.convert import amounts
from quota_service.edge.convert.ledger import ledger_entry
from quota_service.edge.convert.statuses import fill_statuses
from quota_service.edge.convert.subject import shared_subject, subject_of
from quota_service.edge.convert.times import border, duration, duration_ms, fill_timestamp, milliseconds

_STATES = {
    State.HELD: pb.Reservation.STATE_HELD,
    State.COMMITTED: pb.Reservation.STATE_COMMITTED,
    State.RELEASED: pb.Reservation.STATE_RELEASED,
    State.EXPIRED: pb.Reservation.STATE_EXPIRED,
}


def authorize_request(message: pb.AuthorizeRequest) -> AuthorizeRequest:
    estimate = message.estimate
    return AuthorizeRequest(
        idempotency_key=message.idempotency_key,
        subject=subject_of(message.subject),
        provider=message.provider,
        model=message.model,
        input_tokens=estimate.input_tokens,
        max_output_tokens=estimate.max_output_tokens if estimate.HasField("max_output_tokens") else None,
        own_cost_micros=estimate.cost_micros if estimate.HasField("cost_micros") else None,
        min_output_tokens=message.min_output_tokens,
        ttl_ms=duration_ms(message.ttl) if message.HasField("ttl") else DEFAULT_TTL_MS,
        validate_only=message.validate_only,
    )


def authorize_response(result: AuthorizeResult) -> pb.AuthorizeResponse:
    response = pb.AuthorizeResponse()
    fill_authorize_response(response, result)
    return response


def fill_authorize_response(response: pb.AuthorizeResponse, result: AuthorizeResult) -> None:
    """Fills in an empty answer, in place: messages made for its large parts first would be copied."""
    organization = result.organization
    fill_statuses(response, organization, result.statuses)
    response.decision = types_pb2.DECISION_ALLOW
    response.granted_output_tokens = result.granted_output_tokens
    if result.hold is not None:
        _fill_reservation(response.reservation, result.hold)
    if result.violations:
        response.decision = types_pb2.DECISION_DENY
        response.violations.extend([violation(organization, each) for each in result.violations])
        response.message = result.message
        if result.retry_after_ms is not None:
            response.retry_after.CopyFrom(duration(result.retry_after_ms))
    if result.cautions:
        response.warnings.extend([_warning(organization, each) for each in result.cautions])
    if result.replayed:
        response.replayed = True


def commit_request(message: pb.CommitRequest) -> CommitRequest:
    organization, reservation_id = names.parse(message.name, names.RESERVATIONS, "name")
    return CommitRequest(
        organization=organization,
        reservation=reservation_id,
        usage=amounts.usage_of(message.usage),
        keep_open=message.keep_open,
        usage_estimated=message.usage_estimated,
        provider=message.provider,
        model=message.model,
        subject=subject_of(message.subject, organization) if message.HasField("subject") else None,
    )


def commit_response(result: CommitResult) -> pb.CommitResponse:
    """Filled in place, as is an answer to Authorize."""
    response = pb.CommitResponse()
    fill_statuses(response, result.hold.organization, result.statuses)
    response.late = result.late
    response.replayed = result.replayed
    response.durability = result.durability  # type: ignore[assignment]  # the application's are the contract's
    _fill_reservation(response.reservation, result.hold)
    amounts.fill(response.charged, result.settlement.charged)
    amounts.fill(response.returned, result.settlement.returned)
    amounts.fill(response.overrun, result.settlement.overrun)
    return response


def release_response(result: ReleaseResult) -> pb.ReleaseResponse:
    return pb.ReleaseResponse(
        reservation=reservation(result.hold),
        returned=amounts.amounts(result.returned),
        replayed=result.replayed,
    )


def extend_request(message: pb.ExtendRequest) -> ExtendRequest:
    organization, reservation_id = names.parse(message.name, names.RESERVATIONS, "name")
    return ExtendRequest(
        organization=organization,
        reservation=reservation_id,
        ttl_ms=duration_ms(message.ttl) if message.HasField("ttl") else 0,
        additional_output_tokens=message.additional_output_tokens,
        request_id=message.request_id,
    )


def extend_response(result: ExtendResult) -> pb.ExtendResponse:
    denied = bool(result.violations)
    return pb.ExtendResponse(
        decision=types_pb2.DECISION_DENY if denied else types_pb2.DECISION_ALLOW,
        reservation=reservation(result.hold),
        violations=[violation(result.hold.organization, each) for each in result.violations],
    )


def record_request(message: pb.RecordRequest) -> RecordRequest:
    return RecordRequest(
        idempotency_key=message.idempotency_key,
        subject=subject_of(message.subject),
        provider=message.provider,
        model=message.model,
        usage=amounts.usage_of(message.usage),
        occur_ms=milliseconds(message.occur_time) if message.HasField("occur_time") else None,
    )


def record_response(result: RecordResult) -> pb.RecordResponse:
    row = LedgerRow(id=result.entry_id, entry=result.entry, create_ms=result.create_ms)
    return pb.RecordResponse(
        entry=ledger_entry(result.organization, row),
        durability=result.durability,  # type: ignore[arg-type]  # the application's numbers are the contract's
        replayed=result.replayed,
    )


def reservation(hold: Hold) -> pb.Reservation:
    message = pb.Reservation()
    _fill_reservation(message, hold)
    return message


def _fill_reservation(message: pb.Reservation, hold: Hold) -> None:
    message.name = names.resource_name(hold.organization, names.RESERVATIONS, hold.reservation)
    message.state = _STATES[hold.state]
    message.subject.CopyFrom(shared_subject(hold.subject))
    message.provider = hold.provider
    message.model = hold.model
    message.requested_model = hold.requested_model
    if hold.downgraded:
        message.downgraded = True
    if hold.degraded:
        message.degraded = True
    amounts.fill(message.held, hold.held)
    amounts.fill(message.committed, hold.charged)
    message.granted_output_tokens = hold.granted_output_tokens
    fill_timestamp(message.create_time, hold.create_ms)
    fill_timestamp(message.expire_time, hold.expire_ms)
    if hold.end_ms:
        fill_timestamp(message.end_time, hold.end_ms)


def violation(organization: str, value: Violation) -> types_pb2.Violation:
    """Amounts of a violation that is not about an amount are 0."""
    return types_pb2.Violation(
        reason=value.reason,  # type: ignore[arg-type]  # the domain's reasons have the contract's numbers
        source=_source(organization, value.source),
        each_value=value.each_value,
        meter=types_pb2.METER_UNSPECIFIED if value.meter is None else value.meter + 1,  # type: ignore[arg-type]
        limit=value.limit,
        ceiling=value.ceiling,
        spent=value.spent,
        held=value.held,
        requested=value.requested,
        holds=value.holds,
        reset_time=border(value.reset_ms),
        retryable=value.retryable,
        message=value.message,
    )


def _warning(organization: str, value: Caution) -> types_pb2.Warning:
    return types_pb2.Warning(
        reason=value.reason,  # type: ignore[arg-type]  # the domain's reasons have the contract's numbers
        source=_source(organization, value.source),
        each_value=value.each_value,
        message=value.message,
    )


def _source(organization: str, source: str) -> str:
    return f"organizations/{organization}/{source}" if source else ""
