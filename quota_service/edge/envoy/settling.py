"""Settles what Envoy's calls have used, whatever happens to the stores meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from quota_service.application.extension import Extension
from quota_service.application.requests import CommitRequest, ExtendRequest
from quota_service.application.settlement import Commits, Releases
from quota_service.application.tracking import Tracked
from quota_service.domain.errors import AmountTooLarge, QuotaError, StoreUnavailable
from quota_service.domain.pricing import Usage
from quota_service.edge.envoy.ticket import Ticket

TRIES_MAX = 120
WAIT_S, WAIT_S_MAX = 0.25, 5.0
"""Between tries, longer each time: ten minutes in all, while neither store can be told."""

WAITING_MAX = 20_000
"""Settlements under way; of more, those that no store takes are given up: some 100 MB wait by then."""

log = structlog.get_logger(__name__)


class Settling:
    """What becomes of the holds of calls that Envoy has let pass. Nobody waits for it; none of it raises."""

    def __init__(self, commits: Commits, releases: Releases, extension: Extension, tracked: Tracked) -> None:
        self._commits = commits
        self._releases = releases
        self._extension = extension
        self._tracked = tracked

        self._waiting = 0

    def commit(self, ticket: Ticket, usage: Usage, *, estimated: bool, model: str = "") -> None:
        """`model`: that answered, where it is not the one that was held."""
        request = CommitRequest(
            organization=ticket.organization,
            reservation=ticket.reservation,
            usage=usage,
            keep_open=False,
            usage_estimated=estimated,
            provider=ticket.provider,
            model=model or ticket.model,
            subject=ticket.subject,
        )
        self._tracked.start(self._settled(ticket, lambda: self._committed(request, ticket)))

    def commit_hold(self, ticket: Ticket) -> None:
        """Charges all that was held: what was used cannot be known."""
        self.commit(ticket, held(ticket), estimated=True)

    def release(self, ticket: Ticket, reason: str) -> None:
        async def released() -> None:
            await self._releases.release(ticket.organization, ticket.reservation, reason)

        self._tracked.start(self._settled(ticket, released))

    def extend(self, ticket: Ticket) -> None:
        """Lets the hold live on. Where that fails it is tried again soon enough."""
        self._tracked.start(self._extended(ticket))

    async def _committed(self, request: CommitRequest, ticket: Ticket) -> None:
        try:
            await self._commits.commit(request)
        except AmountTooLarge:
            # No model uses so much: what the provider said is not to be believed.
            await self._commits.commit(replace(request, usage=held(ticket), usage_estimated=True))

    async def _extended(self, ticket: Ticket) -> None:
        request = ExtendRequest(
            organization=ticket.organization,
            reservation=ticket.reservation,
            ttl_ms=ticket.ttl_ms,
            additional_output_tokens=0,
            request_id="",
        )
        try:
            await self._extension.extend(request)
        except QuotaError as error:
            log.debug("a hold was not extended", reservation=ticket.reservation, why=str(error))

    async def _settled(self, ticket: Ticket, settle: Callable[[], Awaitable[None]]) -> None:
        self._waiting += 1
        try:
            if not await self._told(settle):
                log.error("not settled: no store could be told", reservation=ticket.reservation)
        except QuotaError as error:
            # It was settled before, or is of nobody's: trying again would not change it.
            log.warning("not settled", reservation=ticket.reservation, why=str(error))
        finally:
            self._waiting -= 1

    async def _told(self, settle: Callable[[], Awaitable[None]]) -> bool:
        """Whether a store was told, sooner or later. Raises QuotaError."""
        wait_s = WAIT_S
        for _ in range(TRIES_MAX):
            try:
                await settle()
                return True
            except StoreUnavailable:
                if self._waiting > WAITING_MAX:
                    return False
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, WAIT_S_MAX)
        return False


def held(ticket: Ticket) -> Usage:
    """All that the hold is for."""
    return Usage(input_tokens=ticket.input_tokens, output_tokens=ticket.granted_output_tokens)
