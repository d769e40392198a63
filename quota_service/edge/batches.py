"""AuthorizeBatch: many requests in one call, each with its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain

import structlog

from quota.v1 import quota_pb2 as pb
from quota_service.application.requests import Authorizes
from quota_service.domain.errors import QuotaError
from quota_service.edge.convert import quota as convert
from quota_service.edge.errors import InternalFault, status_of

TOGETHER = 64
"""Requests that are decided at a time: a few milliseconds, after which others have their turn."""

log = structlog.get_logger(__name__)

Result = pb.AuthorizeBatchResponse.Result


async def results(use_case: Authorizes, requests: Sequence[pb.AuthorizeRequest]) -> list[Result]:
    """One for each request, in their order. They are asked for in that order, too."""
    parts = [
        await asyncio.gather(*(_result(use_case, each) for each in requests[start : start + TOGETHER]))
        for start in range(0, len(requests), TOGETHER)
    ]
    return list(chain.from_iterable(parts))


async def _result(use_case: Authorizes, request: pb.AuthorizeRequest) -> Result:
    try:
        answer = await use_case.authorize(convert.authorize_request(request))
        return Result(response=convert.authorize_response(answer))
    except QuotaError as error:
        return Result(error=status_of(error))
    except Exception:  # as for a call of its own: no text of it leaves, and others have their answers
        log.exception("unexpected", method="quota.v1.QuotaService/AuthorizeBatch")
        return Result(error=status_of(InternalFault()))
