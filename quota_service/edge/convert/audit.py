"""Events of the audit trail, and what its verifier finds."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from quota.v1 import audit_pb2 as pb
from quota_service.application.audit_ports import State, TrailFilter, TrailRow, WindowLimit
from quota_service.application.ports import Stored
from quota_service.application.verification import Chain, Found, Heads, Verified
from quota_service.domain.api_key import ApiKey
from quota_service.domain.audit import Head, Tampering
from quota_service.domain.budget import Adjustment, Budget
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Organization, Project, Team, User
from quota_service.edge import names
from quota_service.edge.convert import budget, catalog, directory, model_policy, ratelimit
from quota_service.edge.convert.amounts import some_amounts
from quota_service.edge.convert.times import milliseconds, timestamp

V = TypeVar("V")
M = TypeVar("M", bound=Message)

FINDINGS_MAX = 1_000
LEDGER_SEALS = "ledgerSeals"

_SENTENCES = {
    Tampering.CHANGED: "says something else than when it was written",
    Tampering.MISSING: "is gone",
    Tampering.ADDED: "was put there behind the service's back",
    Tampering.UNCHAINED: "does not follow the one before: one of both was made anew",
    Tampering.UNSEALED: "should have been sealed long ago",
    Tampering.HEAD_CHANGED: "is not the head that was known",
}


def audit_event(organization: str, row: TrailRow) -> pb.AuditEvent:
    """An event as a message."""
    event = row.event
    return pb.AuditEvent(
        name=names.resource_name(organization, names.AUDIT_EVENTS, str(event.sequence)),
        actor=event.by.actor,
        method=event.by.method,
        resource=_resource(organization, event.changed.resource),
        before=_state(organization, row.before),
        after=_state(organization, row.after),
        reason=event.by.reason,
        request_id=event.by.request_id,
        create_time=timestamp(event.create_us // 1000),
        hash=event.hash.hex(),
    )


def filter_of(request: pb.ListAuditEventsRequest, organization: str) -> TrailFilter:
    """The filter of a request. Raises InvalidRequest for what is another organization's."""
    return TrailFilter(
        actor=request.actor,
        method=request.method,
        resource=_resource_of(request.resource, organization) if request.resource else None,
        from_ms=milliseconds(request.start_time) if request.HasField("start_time") else None,
        until_ms=milliseconds(request.end_time) if request.HasField("end_time") else None,
    )


def heads_of(message: pb.TrailHead) -> Heads:
    """Heads that somebody has kept."""
    return Heads(
        Head(message.event, bytes.fromhex(message.event_hash)),
        Head(message.seal, bytes.fromhex(message.seal_hash)),
    )


def verified(organization: str, stretch: Verified, page_token: str) -> pb.VerifyAuditTrailResponse:
    """What was found in a stretch."""
    return pb.VerifyAuditTrailResponse(
        findings=[_tampering(organization, found) for found in stretch.findings[:FINDINGS_MAX]],
        unnamed_findings=max(0, len(stretch.findings) - FINDINGS_MAX),
        verified_events=stretch.events,
        verified_ledger_entries=stretch.entries,
        unsealed_ledger_entries=stretch.unsealed,
        head=None if stretch.heads is None else _head(stretch.heads),
        next_page_token=page_token,
    )


def _head(heads: Heads) -> pb.TrailHead:
    return pb.TrailHead(
        event=heads.events.sequence,
        event_hash=heads.events.hash.hex(),
        seal=heads.seals.sequence,
        seal_hash=heads.seals.hash.hex(),
    )


def _tampering(organization: str, found: Found) -> pb.Tampering:
    tampering, number, in_seals = found.finding
    collection, what = names.AUDIT_EVENTS, "The event"
    if found.chain is Chain.SEALS:
        is_seal = in_seals or tampering is Tampering.HEAD_CHANGED
        collection, what = (
            (LEDGER_SEALS, "The seal") if is_seal else (names.LEDGER_ENTRIES, "The ledger entry")
        )
    return pb.Tampering(
        kind=pb.Tampering.Kind.Value(f"KIND_{tampering}"),
        name=names.resource_name(organization, collection, str(number)),
        message=f"{what} {number} {_SENTENCES[tampering]}.",
    )


def _resource(organization: str, resource: str) -> str:
    name = names.organization_name(organization)
    return f"{name}/{resource}" if resource else name


def _resource_of(name: str, organization: str) -> str:
    own = names.organization_name(organization)
    if name != own and not name.startswith(f"{own}/"):
        raise InvalidRequest(FieldProblem("resource", f"must be {own} or a name inside of it"))
    return name.removeprefix(own).removeprefix("/")


def _state(organization: str, state: State | None) -> pb.AuditedState | None:
    match state:
        case None:
            return None
        case Organization():
            return pb.AuditedState(organization=_bare(directory.organization(_stored(state))))
        case Team():
            return pb.AuditedState(team=_bare(directory.team(organization, _stored(state))))
        case User():
            return pb.AuditedState(user=_bare(directory.user(organization, _stored(state))))
        case Project():
            return pb.AuditedState(project=_bare(directory.project(organization, _stored(state))))
        case ApiKey():
            return pb.AuditedState(api_key=_bare(directory.api_key(organization, _stored(state))))
        case Budget():
            adjustments = [_adjustment(each) for each in state.adjustments]
            shown = _bare(budget.budget(organization, _stored(state)))
            return pb.AuditedState(budget=shown, adjustments=adjustments)
        case RateLimit():
            return pb.AuditedState(rate_limit=_bare(ratelimit.rate_limit(organization, _stored(state))))
        case ModelPolicy():
            policy = model_policy.model_policy(organization, _stored(state))
            return pb.AuditedState(model_policy=_bare(policy))
        case Model():
            return pb.AuditedState(model=_bare(catalog.model(organization, _stored(state))))
        case _:
            windows = [_window_limit(organization, limit) for limit in state]
            return pb.AuditedState(window_limits=pb.WindowLimits(windows=windows))


def _adjustment(value: Adjustment) -> pb.LastingAdjustment:
    return pb.LastingAdjustment(
        each_value=value.each_value,
        change=some_amounts(value.amounts),
        until=timestamp(value.until_ms),
        reason=value.reason,
    )


def _window_limit(organization: str, limit: WindowLimit) -> pb.WindowLimit:
    return pb.WindowLimit(
        source=names.resource_name(organization, names.BUDGETS, limit.window.budget),
        each_value=limit.window.each_value,
        window_start=timestamp(limit.window.start_ms),
        change=some_amounts(limit.change),
    )


def _stored(value: V) -> Stored[V]:
    return Stored(value=value, etag="", create_ms=0, update_ms=0)


def _bare(message: M) -> M:
    """Without the times, which an event has of its own."""
    message.ClearField("create_time")
    message.ClearField("update_time")
    return message
