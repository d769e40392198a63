"""AuthorizeBatch: many requests in one call, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from quota.v1 import quota_pb2 as pb
from quota_service.application.requests import Authorizes
from quota_service.domain.errors import QuotaError
from quota_service.edge.calls import caller_has_gone
from quota_service.edge.convert import quota as convert
from quota_service.edge.errors import InternalFault, status_of

TOGETHER = 64
"""Requests that are decided at a time: a few milliseconds, after which others have their turn."""

log = structlog.get_logger(__name__)


async def authorized(
    use_case: Authorizes, requests: Sequence[pb.AuthorizeRequest]
) -> pb.AuthorizeBatchResponse:
    """One result for each request, in their order. They are asked for in that order, too."""
    response = pb.AuthorizeBatchResponse()
    for start in range(0, len(requests), TOGETHER):
        async with asyncio.TaskGroup() as together:
            for request in requests[start : start + TOGETHER]:
                together.create_task(_tell(use_case, request, response.results.add()))
    return response


async def _tell(
    use_case: Authorizes, request: pb.AuthorizeRequest, result: pb.AuthorizeBatchResponse.Result
) -> None:
    """Fills the result in, in place: to copy an answer costs half as much as to make it."""
    try:
        told = await use_case.authorize(convert.authorize_request(request))
        convert.fill_authorize_response(result.response, told)
    except QuotaError as error:
        result.error.CopyFrom(status_of(error))
    except (Exception, asyncio.CancelledError) as error:  # as around a call: no text of it leaves
        if isinstance(error, asyncio.CancelledError) and caller_has_gone():
            raise
        log.exception("unexpected", method="quota.v1.QuotaService/AuthorizeBatch")
        result.error.CopyFrom(status_of(InternalFault()))
