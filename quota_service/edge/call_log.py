"""A line for every call: who, what, for whom, how it ended, how long it took. Never what was sent."""

from __future__ import annotations

from typing import Any

import grpc
import structlog

from quota.v1.types_pb2 import Decision, Subject
from quota_service.edge.access import control as access
from quota_service.edge.calls import Answer, Call

PARTS = ("organization", "team", "user", "api_key", "project")

log = structlog.get_logger("quota_service.calls")


class CallLog:
    """Implements `Observer`. Calls that an overload refuses are not told of: lines would add to it."""

    def call_ended(self, call: Call, answer: Answer, code: grpc.StatusCode, seconds: float) -> None:
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return
        log.info(
            "call",
            method=call.method.name,
            code=code.name,
            ms=round(seconds * 1000, 1),
            request_id=call.request_id,
            **_told("caller", access.name()),
            **_told("subject", _subject(call, answer)),
            **_told("decision", _decision(answer)),
        )


def _told(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _subject(call: Call, answer: Any) -> dict[str, str]:
    """Who spends, by ids: as the directory completed it, or as it was sent."""
    reservation = getattr(answer, "reservation", None)
    completed = getattr(reservation, "subject", None)
    sent = getattr(call.request, "subject", None)
    subject = completed if isinstance(completed, Subject) and completed.organization else sent
    if not isinstance(subject, Subject):
        return {}
    return {part: value for part in PARTS if (value := getattr(subject, part))}


def _decision(answer: Any) -> str:
    decision: Any = getattr(answer, "decision", 0)
    return Decision.Name(decision).removeprefix("DECISION_") if decision else ""
