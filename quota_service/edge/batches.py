"""AuthorizeBatch: many requests in one call, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from google.rpc.status_pb2 import Status

from quota.v1 import quota_pb2 as pb
from quota_service.application.requests import Authorizes
from quota_service.domain.errors import QuotaError
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
        together = requests[start : start + TOGETHER]
        for told in await asyncio.gather(*(_told(use_case, each) for each in together)):
            result = response.results.add()
            if isinstance(told, Status):
                result.error.MergeFrom(told)
            else:
                result.response.MergeFrom(told)
    return response


async def _told(use_case: Authorizes, request: pb.AuthorizeRequest) -> pb.AuthorizeResponse | Status:
    try:
        return convert.authorize_response(await use_case.authorize(convert.authorize_request(request)))
    except QuotaError as error:
        return status_of(error)
    except Exception:  # as for a call of its own: no text of it leaves, and others have their answers
        log.exception("unexpected", method="quota.v1.QuotaService/AuthorizeBatch")
        return status_of(InternalFault())
