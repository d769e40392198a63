"""Authorize for a caller who may give up: a hold of which nobody heard returns at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from quota_service.application.requests import AuthorizeRequest, AuthorizeResult, Authorizes
from quota_service.application.settlement import Releases
from quota_service.application.tracking import Tracked
from quota_service.domain.errors import DeadlineTooShort, QuotaError
from quota_service.edge.calls import Context
from quota_service.edge.errors import DeadlinePassed

T = TypeVar("T")

GAVE_UP = "the gateway gave up before it was answered"

ANSWER_S = 0.02
"""How long an answer may be on its way. With less time left, whoever asked may have given up as it comes."""

DECIDING_SHARE = 0.8
"""Of the time that Envoy gives. The rest is for a denial to arrive, on a server that is slow already."""


class Attempts:
    """Authorizes in tasks that a cancelled call does not cancel: the store may have decided by then."""

    def __init__(self, authorization: Authorizes, releases: Releases, tracked: Tracked) -> None:
        self._authorization = authorization
        self._releases = releases
        self._tracked = tracked
        self._answered: set[asyncio.Task[Any]] = set()

    async def in_time(self, decision: Coroutine[Any, Any, T], context: Context) -> T:
        """What is decided while Envoy can still hear it: a call of which it hears nothing may be let pass,
        and that is not for Envoy to decide. Raises DeadlinePassed, and what the decision raises.
        """
        remaining_s: float | None = context.time_remaining()
        deciding = self._tracked.start(decision)
        try:
            # Not by a time limit around it: what is cancelled may wait as long for a silent store as before.
            await asyncio.wait(
                (deciding,), timeout=None if remaining_s is None else remaining_s * DECIDING_SHARE
            )
            if not deciding.done():
                raise DeadlinePassed("The quota service could not decide in time.")
            result = deciding.result()
        finally:
            deciding.cancel()
        self._answered.add(_this_task())
        return result

    async def authorize(
        self, request: AuthorizeRequest, context: Context, call: asyncio.Task[Any]
    ) -> AuthorizeResult:
        """As the use case. `call`: the task of the call that is answered with it. Raises DeadlineTooShort
        where the answer would come too late.
        """
        deciding = self._tracked.start(self._authorization.authorize(request))
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
        """Not with the decision, or cancelled while that was on its way."""
        if call.cancelled() or call not in self._answered:
            self._give_up(deciding)
        self._answered.discard(call)

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


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
