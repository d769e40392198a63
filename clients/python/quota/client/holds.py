"""The right thing, short: authorize, call the model, commit what was used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quota.client.connection import Connection
from quota.v1 import quota_pb2, types_pb2

SETTLE_ATTEMPTS = 8


class Denied(Exception):
    """The service did not allow the call: `answer` has every limit that did not fit."""

    def __init__(self, answer: quota_pb2.AuthorizeResponse) -> None:
        super().__init__(answer.message)
        self.answer = answer


@dataclass(slots=True, kw_only=True)
class Hold:
    """A call under way. Set `usage` to what it has used so far; it is committed at the end."""

    answer: quota_pb2.AuthorizeResponse
    usage: types_pb2.Usage | None = None

    @property
    def reservation(self) -> quota_pb2.Reservation:
        """What is held, and which model to call."""
        return self.answer.reservation


@asynccontextmanager
async def reserve(connection: Connection, request: quota_pb2.AuthorizeRequest) -> AsyncIterator[Hold]:
    """Authorizes a call and settles it, however it ends.

        async with reserve(connection, request) as hold:
            response = await provider.chat(max_tokens=hold.answer.granted_output_tokens, …)
            hold.usage = Usage(input_tokens=…, output_tokens=…)

    What `usage` says is committed; without one the hold is released. After an exception or a cancellation the
    usage is marked as estimated. Raises `Denied`, and `ApiError` where the service could not answer.
    """
    answer = await connection.call(connection.quota.Authorize, request, attempts=SETTLE_ATTEMPTS)
    if answer.decision != types_pb2.DECISION_ALLOW:
        raise Denied(answer)
    hold = Hold(answer=answer)
    try:
        yield hold
    except BaseException:
        # Shielded: the caller's cancellation must not leave the money held.
        await asyncio.shield(_settle(connection, hold, estimated=True))
        raise
    await asyncio.shield(_settle(connection, hold, estimated=False))


async def _settle(connection: Connection, hold: Hold, *, estimated: bool) -> None:
    name = hold.reservation.name
    if hold.usage is None:
        release = quota_pb2.ReleaseRequest(name=name, reason="nothing was used")
        await connection.call(connection.quota.Release, release, attempts=SETTLE_ATTEMPTS)
        return
    commit = quota_pb2.CommitRequest(name=name, usage=hold.usage, usage_estimated=estimated)
    await connection.call(connection.quota.Commit, commit, attempts=SETTLE_ATTEMPTS)
