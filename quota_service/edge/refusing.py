"""How calls end that are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from grpc.aio import AbortError

from quota_service.domain.errors import Overloaded, QuotaError
from quota_service.edge.errors import answer_to, status_of
from quota_service.edge.headers import REQUEST_ID
from quota_service.edge.traffic import OVERLOADED

STATUS_DETAILS = "grpc-status-details-bin"

Context = grpc.aio.ServicerContext[Any, Any]


async def refuse(context: Context, request_id: str, error: QuotaError) -> None:
    """Ends a call with the error's status, alone: gRPC's clients try no call again by themselves that has
    been answered with anything else. After an overload they are not to, and to end calls so is dear.
    """
    is_flood = isinstance(error, Overloaded)
    message, details = _OVERLOADED if is_flood else _told(error)
    metadata = ((STATUS_DETAILS, details), (REQUEST_ID, request_id))
    if is_flood:
        context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        context.set_details(message)
        context.set_trailing_metadata(metadata)
        return
    try:
        await context.abort(answer_to(error).code, message, metadata)
    except AbortError as ended:
        # gRPC keeps it with the call, and raises it again. With what it refers to it would keep the call in
        # turn: under a flood thousands would wait for the collector, and everybody for the collector.
        ended.__traceback__ = ended.__context__ = None


def _told(error: QuotaError) -> tuple[str, bytes]:
    status = status_of(error)
    return status.message, status.SerializeToString()


_OVERLOADED = _told(Overloaded(OVERLOADED))
"""Encoded once: a refusal must cost next to nothing."""


_CODES: Mapping[object, grpc.StatusCode] = {
    **{code.value[0]: code for code in grpc.StatusCode},
    **{code: code for code in grpc.StatusCode},
}


def code_of(context: Context) -> grpc.StatusCode:
    """The status that was set on a call; OK where none was."""
    told: Any = context.code()  # gRPC says it as a number, or not at all
    return _CODES.get(told or 0, grpc.StatusCode.UNKNOWN)
