"""Authorize for a caller who may give up: a hold of which nobody heard returns at once."""

from __future__ import annotations

import asyncio
from typing import Any

from quota_service.application.authorization import Authorization
from quota_service.application.requests import AuthorizeRequest, AuthorizeResult
from quota_service.application.settlement import Releases
from quota_service.application.tracking import Tracked
from quota_service.domain.errors import DeadlineTooShort, QuotaError
from quota_service.edge.calls import Context

GAVE_UP = "the gateway gave up before it was answered"

ANSWER_S = 0.02
"""How long an answer may be on its way. With less time left, whoever asked may have given up as it comes."""


class Attempts:
    """Authorizes in tasks that a cancelled call does not cancel: the store may have decided by then."""

    def __init__(self, authorization: Authorization, releases: Releases, tracked: Tracked) -> None:
        self._authorization = authorization
        self._releases = releases
        self._tracked = tracked

    async def authorize(self, request: AuthorizeRequest, context: Context) -> AuthorizeResult:
        """As the use case. To be called in the task of the call that is answered with it. Raises
        DeadlineTooShort where the answer would come too late.
        """
        deciding = self._tracked.start(self._authorization.authorize(request))
        call = asyncio.current_task()
        assert call is not None
        call.add_done_callback(lambda ended: self._ended(ended, deciding))
        try:
            result = await asyncio.shield(deciding)
        except asyncio.CancelledError:
            self._give_up(deciding)
            raise
        remaining_s: float | None = context.time_remaining()
        if result.hold is not None and remaining_s is not None and remaining_s < ANSWER_S:
            self._give_up(deciding)
            raise DeadlineTooShort("The quota service could not decide in time.")
        return result

    def _ended(self, call: asyncio.Task[Any], deciding: asyncio.Task[AuthorizeResult]) -> None:
        """Cancelled after all: while its answer was on its way."""
        if call.cancelled():
            self._give_up(deciding)

    def _give_up(self, deciding: asyncio.Task[AuthorizeResult]) -> None:
        self._tracked.start(self._returned(deciding))

    async def _returned(self, deciding: asyncio.Task[AuthorizeResult]) -> None:
        """Twice is as good as once. Where a store is away, the hold returns when its time is over."""
        try:
            result = await deciding
            if result.hold is not None:
                await self._releases.release(result.hold.organization, result.hold.reservation, GAVE_UP)
        except QuotaError:
            pass
