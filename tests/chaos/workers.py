"""The load: each worker makes one request after the other, from Authorize to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from quota.client import Connection
from quota.v1 import quota_pb2, types_pb2
from tests.chaos.calls import Answer, Caller
from tests.chaos.client import Client
from tests.chaos.essence import spent
from tests.chaos.journal import (
    Granted,
    Journal,
    LimitChange,
    MoneyChanged,
    Recorded,
    Released,
    Settled,
)
from tests.chaos.requests import SHORT_TTL_S, TTL_S, Source, Work, duration
from tests.chaos.scene import charge_of

AUTHORIZE_S = 2.0
AUTHORIZE_ATTEMPTS_MAX = 8
LANE_PERCENT = 30


class Worker:
    """`pause_s`: at most how long it waits between two requests."""

    def __init__(
        self, caller: Caller, journal: Journal, source: Source, random: Random, pause_s: float
    ) -> None:
        self._client = Client(caller, journal, random)
        self._journal = journal
        self._source = source
        self._random = random
        self._pause_s = pause_s
        self.stopping = False
        self._flows: dict[Callable[[Work], Any], int] = {
            self._commits: 44,
            self._overruns: 5,
            self._commits_in_parts: 12,
            self._extends: 10,
            self._releases: 8,
            self._abandons: 5,
            self._commits_late: 4,
            self._releases_and_commits: 2,
            self._records: 8,
            self._adjusts: 4,
            self._reallocates: 3,
        }
        self._lane_flows = {self._commits: 8, self._releases: 1, self._abandons: 1}

    async def run(self) -> None:
        """Until it is told to stop; what it has begun it ends."""
        while not self.stopping:
            in_lane = self._random.randrange(100) < LANE_PERCENT
            flows = self._lane_flows if in_lane else self._flows
            [flow] = self._random.choices(list(flows), list(flows.values()))
            await flow(self._source.work(in_lane=in_lane))
            await asyncio.sleep(self._random.uniform(0, self._pause_s))

    async def _commits(self, work: Work) -> None:
        if (granted := await self._authorized(work)) is not None:
            await self._model()
            await self._commit(work, granted, work.used_tokens)

    async def _overruns(self, work: Work) -> None:
        if (granted := await self._authorized(work)) is not None:
            await self._commit(work, granted, work.estimate_tokens + self._random.randrange(1, 500))

    async def _commits_in_parts(self, work: Work) -> None:
        granted = await self._authorized(work)
        if granted is None:
            return
        for part in (1, 2):
            await self._commit(work, granted, work.used_tokens * part // 3, keep_open=True)
            await self._model()
        await self._commit(work, granted, work.used_tokens)

    async def _extends(self, work: Work) -> None:
        granted = await self._authorized(work)
        if granted is None:
            return
        request = quota_pb2.ExtendRequest(name=granted.reservation, request_id=self._source.key())
        request.ttl.CopyFrom(duration(TTL_S[1]))
        request.additional_output_tokens = self._random.choice((0, 100))
        answer = await self._client.ask(
            "Extend", request.request_id, lambda c: c.quota.Extend, request, granted
        )
        await self._model()
        extended = answer is not None and answer.message is not None
        expire_s = _seconds(answer.message.reservation.expire_time) if extended else granted.expire_s  # type: ignore[union-attr]
        await self._commit(work, granted, work.used_tokens, expire_s=expire_s)

    async def _releases(self, work: Work) -> None:
        if (granted := await self._authorized(work)) is not None:
            await self._release(granted)

    async def _abandons(self, work: Work) -> None:
        await self._authorized(work)

    async def _commits_late(self, work: Work) -> None:
        if (granted := await self._authorized(work, ttl_s=SHORT_TTL_S)) is not None:
            await asyncio.sleep(SHORT_TTL_S + 0.2)
            await self._commit(work, granted, work.used_tokens)

    async def _releases_and_commits(self, work: Work) -> None:
        if (granted := await self._authorized(work)) is not None:
            await self._release(granted)
            await self._commit(work, granted, work.used_tokens)

    async def _records(self, work: Work) -> None:
        charged = charge_of(work.model, work.input_tokens, work.used_tokens)
        self._journal.records_asked[work.key] = charged
        answer = await self._client.ask("Record", work.key, lambda c: c.quota.Record, work.record())
        if answer is not None and answer.message is not None:
            in_ledger = answer.message.durability == types_pb2.DURABILITY_LEDGER
            self._count("Record", in_ledger)
            self._journal.tell(
                Recorded(
                    key=work.key,
                    charged=charged,
                    in_ledger=in_ledger,
                    asked_s=answer.asked_s,
                    at_s=answer.at_s,
                )
            )

    async def _adjusts(self, _: Work) -> None:
        request, changes = self._source.adjust()
        await self._changes_money("AdjustBudget", lambda c: c.budgets.AdjustBudget, request, changes)

    async def _reallocates(self, _: Work) -> None:
        request, changes = self._source.reallocate()
        await self._changes_money("ReallocateBudget", lambda c: c.budgets.ReallocateBudget, request, changes)

    async def _changes_money(
        self,
        verb: str,
        method: Callable[[Connection], Any],
        request: Any,
        changes: tuple[LimitChange, ...],
    ) -> None:
        key = request.request_id
        self._journal.changes_asked[key] = changes
        answer = await self._client.ask(
            verb, key, method, request, expected=("HEADROOM_MISSING", "FIELD_INVALID")
        )
        if answer is not None and answer.message is not None:
            self._journal.answers[verb, "OK"] += 1
            self._journal.tell(MoneyChanged(key=key, changes=changes, at_s=answer.at_s))

    async def _authorized(self, work: Work, ttl_s: float | None = None) -> Granted | None:
        request = work.authorize(ttl_s or self._random.uniform(*TTL_S))
        attempts = self._random.randint(1, AUTHORIZE_ATTEMPTS_MAX)
        answer = await self._client.caller.ask(
            "Authorize",
            work.key,
            lambda c: c.quota.Authorize,
            request,
            timeout_s=AUTHORIZE_S,
            attempts=attempts,
        )
        if answer is None:
            return None
        if answer.error is not None:
            # Granted by an attempt whose answer was lost, and over before the next one.
            if answer.error.reason != "RESERVATION_ENDED":
                self._client.refused("Authorize", work.key, answer)
            return None
        return await self._told(work, request, answer)

    async def _told(self, work: Work, request: quota_pb2.AuthorizeRequest, answer: Answer) -> Granted | None:
        message: quota_pb2.AuthorizeResponse = answer.message
        if message.decision != types_pb2.DECISION_ALLOW:
            reasons = {types_pb2.Reason.Name(each.reason) for each in message.violations}
            self._journal.answers["Authorize", f"DENY {'+'.join(sorted(reasons))}"] += 1
            return None
        held = message.reservation
        self._journal.answers["Authorize", "ALLOW" + " degraded" * held.degraded] += 1
        granted = Granted(
            reservation=held.name,
            asked_s=answer.asked_s,
            at_s=answer.at_s,
            expire_s=_seconds(held.expire_time),
            degraded=held.degraded,
        )
        self._journal.tell(granted)
        if granted.expire_s > answer.at_s + AUTHORIZE_S:
            await self._client.again(
                "Authorize", work.key, lambda c: c.quota.Authorize, request, answer, excusable=True
            )
        return granted

    async def _commit(
        self,
        work: Work,
        granted: Granted,
        output_tokens: int,
        *,
        keep_open: bool = False,
        expire_s: float | None = None,
    ) -> None:
        complete = granted.reservation[-1] in "01234567"  # half of the clients, the same for every repeat
        request = work.commit(granted.reservation, output_tokens, keep_open=keep_open, complete=complete)
        total = charge_of(work.model, work.input_tokens, output_tokens)
        self._journal.totals_asked[granted.reservation].add(total)
        answer = await self._client.ask(
            "Commit", granted.reservation, lambda c: c.quota.Commit, request, granted
        )
        if answer is None or answer.message is None:
            return
        message: quota_pb2.CommitResponse = answer.message
        in_ledger = message.durability == types_pb2.DURABILITY_LEDGER
        self._count("Commit (part)" if keep_open else "Commit", in_ledger, late=message.late)
        self._journal.tell(
            Settled(
                reservation=granted.reservation,
                total=total,
                told=spent(message.reservation.committed),
                final=not keep_open,
                late=message.late,
                in_ledger=in_ledger,
                asked_s=answer.asked_s,
                at_s=answer.at_s,
            )
        )

    async def _release(self, granted: Granted) -> None:
        request = quota_pb2.ReleaseRequest(name=granted.reservation, reason="chaos")
        answer = await self._client.ask(
            "Release", granted.reservation, lambda c: c.quota.Release, request, granted
        )
        if answer is not None and answer.message is not None:
            state = quota_pb2.Reservation.State.Name(answer.message.reservation.state)
            self._journal.answers["Release", state] += 1
            self._journal.tell(Released(reservation=granted.reservation, at_s=answer.at_s))

    def _count(self, verb: str, in_ledger: bool, late: bool = False) -> None:
        self._journal.answers[verb, ("LEDGER" if in_ledger else "BUFFERED") + " late" * late] += 1

    async def _model(self) -> None:
        """The model takes its time."""
        await asyncio.sleep(self._random.uniform(0.0, 0.3))


def _seconds(timestamp: Any) -> float:
    return float(timestamp.ToNanoseconds() / 1e9)
