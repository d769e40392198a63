"""Rate limits."""

from __future__ import annotations

from quota.v1 import budget_pb2, types_pb2
from quota_service.application.ports import Stored
from quota_service.domain.amounts import Meter
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.ratelimit import RateLimit
from quota_service.edge import names
from quota_service.edge.convert.scope import scope, scope_of
from quota_service.edge.convert.times import duration, duration_ms, timestamp

INTERVAL_MS_DEFAULT = 60_000


def rate_limit(organization: str, stored: Stored[RateLimit]) -> budget_pb2.RateLimit:
    """A rate limit as a message."""
    value = stored.value
    return budget_pb2.RateLimit(
        name=names.resource_name(organization, names.RATE_LIMITS, value.id),
        display_name=value.display_name,
        scope=scope(value.scope),
        meter=types_pb2.Meter.ValueType(value.meter + 1),
        limit=value.limit,
        interval=duration(value.interval_ms),
        burst=value.burst,
        disabled=value.disabled,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
    )


def rate_limit_of(message: budget_pb2.RateLimit, organization: str, id_: str) -> RateLimit:
    """A rate limit of a message; name, etag and times are not looked at.

    Raises InvalidRequest for what the domain has no value for.
    """
    if message.meter == types_pb2.METER_UNSPECIFIED:
        raise InvalidRequest(FieldProblem("rate_limit.meter", "is required: METER_TOKENS or METER_REQUESTS"))
    return RateLimit(
        id=id_,
        display_name=message.display_name,
        scope=scope_of(message.scope, organization, "rate_limit"),
        meter=Meter(message.meter - 1),
        limit=message.limit,
        interval_ms=duration_ms(message.interval) if message.HasField("interval") else INTERVAL_MS_DEFAULT,
        burst=message.burst,
        disabled=message.disabled,
    )
