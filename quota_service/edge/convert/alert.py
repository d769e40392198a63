"""Alerts and counts of denials."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import alert_pb2, types_pb2
from quota_service.application.alert_messages import sentence
from quota_service.application.alert_ports import (
    AlertFilter,
    Consumer,
    DenialCount,
    DenialFilter,
    StoredAlert,
)
from quota_service.domain.decision import Reason
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.subject import Subject
from quota_service.edge import names
from quota_service.edge.convert.ladder import ladder_step
from quota_service.edge.convert.subject import subject
from quota_service.edge.convert.times import milliseconds, timestamp


def alert(organization: str, stored: StoredAlert) -> alert_pb2.Alert:
    """An alert as a message."""
    value = stored.alert
    return alert_pb2.Alert(
        name=names.resource_name(organization, names.ALERTS, str(stored.id)),
        source=names.resource_name(organization, names.BUDGETS, value.window.budget),
        each_value=value.window.each_value,
        meter=value.meter + 1,  # type: ignore[arg-type]  # the domain's meters begin at 0
        mode=value.mode,  # type: ignore[arg-type]  # and its modes have the contract's numbers
        step=ladder_step(value.step),
        repeat=value.repeat,
        limit=value.limit,
        spent=value.spent,
        held=value.held,
        window_start=timestamp(value.window.start_ms),
        reset_time=_timestamp(value.window.end_ms),
        subject=None if value.subject == Subject() else subject(value.subject),
        create_time=timestamp(stored.create_ms),
        message=sentence(stored),
        top_consumers=[_consumer(each) for each in stored.consumers],
        forecast_time=_timestamp(stored.forecast_ms),
    )


def alert_filter_of(request: alert_pb2.ListAlertsRequest, organization: str) -> AlertFilter:
    """The filter of a request. Raises InvalidRequest for another organization's budget."""
    source = _source_of(request.source, organization)
    return AlertFilter(
        budget=source.rpartition("/")[2],
        from_ms=milliseconds(request.start_time) if request.HasField("start_time") else None,
        until_ms=milliseconds(request.end_time) if request.HasField("end_time") else None,
    )


def denial_count(organization: str, value: DenialCount) -> alert_pb2.DenialCount:
    """A count as a message."""
    key = value.key
    return alert_pb2.DenialCount(
        minute=timestamp(key.minute_ms),
        subject=types_pb2.Subject(
            organization=organization,
            team=key.team,
            user=key.user,
            api_key=key.api_key,
            project=key.project,
        ),
        provider=key.provider,
        model=key.model,
        reason=key.reason,  # type: ignore[arg-type]  # the domain's reasons have the contract's numbers
        source=f"{names.organization_name(organization)}/{key.source}" if key.source else "",
        count=value.count,
        message=value.message,
    )


def denial_filter_of(request: alert_pb2.ListDenialsRequest, organization: str) -> DenialFilter:
    """The filter of a request. Raises InvalidRequest for another organization's source."""
    return DenialFilter(
        team=request.team,
        user=request.user,
        api_key=request.api_key,
        project=request.project,
        provider=request.provider,
        model=request.model,
        reason=Reason(request.reason) if request.reason else None,
        source=_source_of(request.source, organization),
        from_ms=milliseconds(request.start_time) if request.HasField("start_time") else None,
        until_ms=milliseconds(request.end_time) if request.HasField("end_time") else None,
    )


def _consumer(value: Consumer) -> alert_pb2.Consumer:
    return alert_pb2.Consumer(
        dimension=value.dimension,  # type: ignore[arg-type]  # the domain's have the contract's numbers
        id=value.id,
        amount=value.amount,
    )


def _source_of(name: str, organization: str) -> str:
    """The name without its organization: `budgets/team`; "" stays ""."""
    prefix = f"{names.organization_name(organization)}/"
    if name and not name.startswith(prefix):
        raise InvalidRequest(FieldProblem("source", f"is not of organization “{organization}”"))
    return name.removeprefix(prefix)


def _timestamp(instant_ms: int | None) -> Timestamp | None:
    return None if instant_ms is None else timestamp(instant_ms)
