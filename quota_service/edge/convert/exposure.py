"""The worst case."""

from __future__ import annotations

from quota.v1 import exposure_pb2 as pb
from quota_service.domain.exposure import Exposure, Part, PartKind
from quota_service.edge import names
from quota_service.edge.convert.times import border

_KINDS = {
    PartKind.HARD_CEILING: pb.Exposure.KIND_HARD_CEILING,
    PartKind.UNBOUNDED: pb.Exposure.KIND_UNBOUNDED,
    PartKind.DEGRADED: pb.Exposure.KIND_DEGRADED,
}


def exposure(organization: str, value: Exposure) -> pb.Exposure:
    """The worst case as a message."""
    return pb.Exposure(
        bounded=value.bounded,
        total_micros=value.total_micros,
        parts=[_part(organization, part) for part in value.parts],
        reset_time=border(value.end_ms),
    )


def _part(organization: str, part: Part) -> pb.Exposure.Part:
    return pb.Exposure.Part(
        kind=_KINDS[part.kind],
        source=names.resource_name(organization, names.BUDGETS, part.budget) if part.budget else "",
        counters=part.counters,
        amount_micros=part.amount_micros,
        spent_micros=part.spent_micros,
        held_micros=part.held_micros,
        reset_time=border(part.window.end_ms) if part.window is not None else None,
        explanation=part.explanation,
    )
