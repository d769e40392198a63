"""Clients: they authorize, extend, commit in parts and as a whole, release, record, adjust and reallocate.
They repeat what failed under the same key on any replica, some while the first call still runs, and some give
up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from quota_service.application.administration.counters import CounterName
from quota_service.application.administration.money_requests import AdjustRequest, ReallocateRequest
from quota_service.application.requests import (
    AuthorizeRequest,
    CommitRequest,
    ExtendRequest,
    RecordRequest,
)
from quota_service.domain.amounts import Amounts
from quota_service.domain.errors import QuotaError, StoreUnavailable
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold
from tests.simulation import scene
from tests.simulation.journal import Charging, Journal, Settling, Told
from tests.simulation.network import World, brief
from tests.simulation.replica import Replica

T = TypeVar("T")
Ask = Callable[[Replica], Coroutine[Any, Any, Any]]

DEADLINE_S = 4.0
TRIES_MAX = 8


class Clients:
    """Makes so many calls, each with all that belongs to it, within some seconds."""

    def __init__(self, world: World, replicas: list[Replica], journal: Journal) -> None:
        self._world = world
        self._dice = world.dice
        self._replicas = replicas
        self._journal = journal

    async def run(self, calls: int, within_s: float) -> None:
        await asyncio.gather(*(self._one(number, within_s) for number in range(calls)))

    async def _one(self, number: int, within_s: float) -> None:
        await asyncio.sleep(self._dice.random() * within_s)
        kind = self._dice.random()
        if kind < 0.12:
            await self._record(number)
        elif kind < 0.18:
            await self._adjust(number)
        elif kind < 0.24:
            await self._reallocate(number)
        else:
            await self._call(number)

    # --- what a client does ---

    async def _call(self, number: int) -> None:
        dice = self._dice
        ttl_s = dice.choice((1.0, 2.0, 5.0, 10.0))
        request = AuthorizeRequest(
            idempotency_key=f"k{number}",
            subject=scene.subject(dice.choice(list(scene.USERS))),
            provider=scene.PROVIDER,
            model=scene.MODEL,
            input_tokens=dice.randrange(1, 80),
            max_output_tokens=dice.randrange(10, 100),
            own_cost_micros=None,
            min_output_tokens=dice.choice((0, 0, 5)),
            ttl_ms=int(ttl_s * 1000),
            validate_only=False,
        )
        told = Told(verb="authorize", key=request.idempotency_key)
        self._journal.authorizes.append(told)
        await self._ask(told, lambda replica: replica.authorization.authorize(request))
        held = [answer.hold for answer in told.answers if answer.hold is not None]
        if held:
            await asyncio.sleep(dice.random() * ttl_s * dice.choice((0.3, 0.3, 1.3)))
            await self._use(held[0], number)

    async def _use(self, hold: Hold, number: int) -> None:
        dice = self._dice
        if dice.random() < 0.2:
            await self._extend(hold, number)
        used = 0
        for _ in range(dice.choice((0, 0, 0, 1, 2))):
            used += dice.randrange(1, 30)
            await self._commit(hold, used, keep_open=True)
            await asyncio.sleep(dice.random())
        end = dice.random()
        used += dice.randrange(0, 30) + (100 if dice.random() < 0.15 else 0)
        if end < 0.7:
            await self._commit(hold, used)
        elif end < 0.8:
            await self._release(hold)
        elif end < 0.9:
            await asyncio.gather(self._release(hold), self._commit(hold, used))
        if end < 0.1:
            await asyncio.sleep(dice.random() * 4)
            await self._commit(hold, used)

    async def _extend(self, hold: Hold, number: int) -> None:
        tokens = self._dice.choice((0, 0, 20))
        request = ExtendRequest(
            organization=scene.ORGANIZATION,
            reservation=hold.reservation,
            ttl_ms=self._dice.choice((0, 2_000)) if tokens else 2_000,
            additional_output_tokens=tokens,
            request_id=f"x{number}" if tokens else "",
        )
        told = Told(verb="extend", key=hold.reservation)
        self._journal.others.append(told)
        await self._ask(told, lambda replica: replica.extension.extend(request))

    async def _commit(self, hold: Hold, output_tokens: int, *, keep_open: bool = False) -> None:
        usage = Usage(input_tokens=hold.input_tokens, output_tokens=output_tokens)
        request = CommitRequest(
            organization=scene.ORGANIZATION,
            reservation=hold.reservation,
            usage=usage,
            keep_open=keep_open,
            usage_estimated=False,
            provider=scene.PROVIDER,
            model=scene.MODEL,
            subject=hold.subject,
        )
        told = Settling(verb="commit", key=hold.reservation, total=_total(usage), keep_open=keep_open)
        self._journal.commits.append(told)
        await self._ask(told, lambda replica: replica.commits.commit(request))

    async def _release(self, hold: Hold) -> None:
        told = Told(verb="release", key=hold.reservation)
        self._journal.others.append(told)
        await self._ask(
            told,
            lambda replica: replica.releases.release(scene.ORGANIZATION, hold.reservation, "given up"),
        )

    async def _record(self, number: int) -> None:
        usage = Usage(input_tokens=self._dice.randrange(1, 60), output_tokens=self._dice.randrange(1, 60))
        request = RecordRequest(
            idempotency_key=f"r{number}",
            subject=scene.subject(self._dice.choice(list(scene.USERS))),
            provider=scene.PROVIDER,
            model=scene.MODEL,
            usage=usage,
            occur_ms=None,
        )
        told = Charging(verb="record", key=request.idempotency_key, total=_total(usage))
        self._journal.records.append(told)
        await self._ask(told, lambda replica: replica.recording.record(request))

    async def _adjust(self, number: int) -> None:
        request = AdjustRequest(
            organization=scene.ORGANIZATION,
            counter=CounterName("all", ""),
            amounts=Amounts(cost_micros=self._dice.choice((300, 300, -200))),
            reason="simulated",
            request_id=f"a{number}",
        )
        told = Told(verb="adjust", key=request.request_id)
        self._journal.adjustments.append(told)
        await self._ask(told, lambda replica: replica.money.adjust(request))

    async def _reallocate(self, number: int) -> None:
        source, destination = self._dice.sample(list(scene.USERS), 2)
        request = ReallocateRequest(
            organization=scene.ORGANIZATION,
            source=CounterName("each-user", source),
            destination=CounterName("each-user", destination),
            amounts=Amounts(cost_micros=self._dice.choice((50, 200, 600))),
            reason="simulated",
            request_id=f"m{number}",
        )
        told = Told(verb="reallocate", key=request.request_id)
        self._journal.adjustments.append(told)
        await self._ask(told, lambda replica: replica.money.reallocate(request))

    # --- how it asks ---

    async def _ask(self, told: Told, ask: Ask) -> None:
        """Asks until there is an answer, or it has had enough. Now and then twice at a time."""
        if self._dice.random() < 0.18:
            await asyncio.gather(self._patiently(told, ask), self._patiently(told, ask))
        else:
            await self._patiently(told, ask)

    async def _patiently(self, told: Told, ask: Ask) -> None:
        for _ in range(self._dice.choice((1, TRIES_MAX, TRIES_MAX, TRIES_MAX))):
            alive = [replica for replica in self._replicas if replica.alive]
            if alive and await self._once(told, self._dice.choice(alive), ask):
                return
            await asyncio.sleep(self._dice.random())

    async def _once(self, told: Told, replica: Replica, ask: Ask) -> bool:
        """Whether there is an answer."""
        who = f"client/{replica.name}"
        self._world.note(who, f"asks to {told.verb} {told.key[-4:]}")
        told.sends += 1
        task = replica.begin(ask(replica))
        await asyncio.wait((task,), timeout=DEADLINE_S)
        if not task.done():
            task.cancel()
            self._world.note(who, f"{told.verb} {told.key[-4:]}: no answer in time")
            return False
        if task.cancelled():
            self._world.note(who, f"{told.verb} {told.key[-4:]}: the replica is gone")
            return False
        error = task.exception()
        self._world.note(who, f"{told.verb} {told.key[-4:]} → {error or brief(task.result())}")
        if error is None:
            told.answers.append(task.result())
            return True
        if isinstance(error, StoreUnavailable):
            return False
        if not isinstance(error, QuotaError):
            raise error
        told.errors.append(error)
        return True


def _total(usage: Usage) -> Amounts:
    micros = scene.price_micros(usage.input_tokens, usage.output_tokens)
    return Amounts(micros, usage.input_tokens + usage.output_tokens, 1)
