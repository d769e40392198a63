"""The way between a replica and a store: everything that can happen to a call on it happens here.

A call is one request and one reply. What was asked is done at one point in time, at the store: before it, the
request may be delayed, lost, or overtaken by the caller's own timeout; after it, the reply may be. So each
`await` on a store is a place where a seed may let a call fail that was done, or one that was not.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from quota_service.application.ledger_ports import WriteResult
from quota_service.domain import commands
from quota_service.domain.errors import QuotaError, StoreUnavailable
from quota_service.domain.reservation import Hold

T = TypeVar("T")

SOON_MS = 20_000
START_MS = 1_795_392_000_000 - SOON_MS
"""Before this nothing has happened: soon it is midnight, of a day in November 2026."""


@dataclass(slots=True, kw_only=True)
class Weather:
    """How likely it is that a call's request or reply is lost, or that the request arrives when nobody waits
    for it any more (a `straggler`).
    """

    lost_request: float = 0.0
    lost_reply: float = 0.0
    straggler: float = 0.0
    delay_s_max: float = 0.02


CALM = Weather()


@dataclass(slots=True, kw_only=True)
class World:
    """What everything in a run shares: the dice, the clock, the weather, and what was noticed."""

    dice: random.Random
    loop: asyncio.AbstractEventLoop
    start_ms: int = START_MS
    weather: Weather = field(default_factory=Weather)
    findings: list[str] = field(default_factory=list)
    trace: Callable[[str], None] | None = None
    retries_scripts: bool = False  # a mutant: calls are repeated where their reply is missing
    arrives_by_s: float = 0.0  # whatever is under way
    losses_ms: list[int] = field(default_factory=list)  # when Valkey came back with other data

    @property
    def lost_data(self) -> bool:
        return bool(self.losses_ms)

    def now_ms(self) -> int:
        return self.start_ms + int(self.loop.time() * 1000 + 0.5)

    def found(self, guarantee: str, text: str) -> None:
        """A guarantee is broken."""
        self.findings.append(f"{guarantee}: {text}")
        self.note("auditor", f"!! {guarantee}: {text}")

    def note(self, who: str, text: str) -> None:
        """For whoever reads the trace of a seed."""
        if self.trace is not None:
            self.trace(f"{self.loop.time():9.4f}  {who:<12} {text}")


class Server:
    """A store. With each of its starts it has another run id; what was sent to an earlier one is lost."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.up = True
        self.starts = 1

    @property
    def run_id(self) -> str:
        return f"{self.name}-run{self.starts}"

    def may_wait(self, operation: Callable[[], Any]) -> bool:
        """Whether this may take longer than its way."""
        return False

    def serve(
        self, operation: Callable[[], Any], finish: Callable[[Any], None], is_over: Callable[[], bool]
    ) -> None:
        """Does what is asked, now or when it can be, and tells the result."""
        finish(outcome(operation))


def outcome(operation: Callable[[], Any]) -> Any:
    """The result of what was asked; or the error, where it is one that a store answers with."""
    try:
        return operation()
    except QuotaError as error:
        return error


class _NoReply(StoreUnavailable):
    """What was asked may have been done, or not."""


class Link:
    """One replica's connection to one store."""

    def __init__(self, world: World, who: str, server: Server, timeout_s: float) -> None:
        self.world = world
        self.who = who
        self.server = server
        self.cut = False
        self.dead = False
        self.run_id = ""
        self._timeout_s = timeout_s

    async def connected(self) -> str:
        """The run id of the server that this is connected to; connects where need be."""
        if not self.run_id:
            await self.call("hello", lambda: None)
        return self.run_id

    def call(self, what: str, operation: Callable[[], T]) -> Coroutine[Any, Any, T]:
        """The result. Raises StoreUnavailable: it may have been done, or be done yet."""
        ask = self._until_answered if self.world.retries_scripts else self._call
        return ask(what, operation)

    async def _until_answered(self, what: str, operation: Callable[[], T]) -> T:
        """What a mutant does where a reply is missing."""
        while True:
            try:
                return await self._call(what, operation)
            except _NoReply:
                if self.cut or not self.server.up:
                    raise

    async def _call(self, what: str, operation: Callable[[], T]) -> T:
        if self.dead:
            raise asyncio.CancelledError
        dice, weather, loop = self.world.dice, self.world.weather, self.world.loop
        if self.cut or not self.server.up:
            await asyncio.sleep(dice.choice((0.0, 0.01, self._timeout_s)))
            raise StoreUnavailable(f"{self.server.name} cannot be reached.")
        if self.run_id != self.server.run_id:
            self.run_id = self.server.run_id
        reply: asyncio.Future[T] = loop.create_future()
        there_s, back_s = dice.random() * weather.delay_s_max, dice.random() * weather.delay_s_max
        fate, back = dice.random(), None
        if (fate := fate - weather.lost_request) < 0:
            self.world.note(self.who, f"{what}: the request is lost")
        elif fate < weather.straggler:
            there_s = self._timeout_s * (1 + dice.choice((1, 1, 8)) * dice.random())
            loop.call_later(there_s, self._deliver, what, operation, reply, self.run_id, 0.0)
            self.world.arrives_by_s = max(self.world.arrives_by_s, loop.time() + there_s)
        else:
            back = None if fate - weather.straggler < weather.lost_reply else back_s
            loop.call_later(there_s, self._deliver, what, operation, reply, self.run_id, back)
        # A connection that breaks is noticed at once; one that falls silent is not.
        patience_s = dice.choice((0.03, self._timeout_s)) if fate < 0 else self._timeout_s
        if back is not None and not self.server.may_wait(operation):
            return await reply  # there will be one in time: no need for an alarm
        timer = loop.call_later(patience_s, self._refuse, what, reply)
        try:
            return await reply
        finally:
            timer.cancel()

    def _deliver(
        self,
        what: str,
        operation: Callable[[], T],
        reply: asyncio.Future[T],
        sent_to: str,
        back: float | None,
    ) -> None:
        if self.cut or not self.server.up or self.server.run_id != sent_to:
            self.world.note(self.who, f"{what}: does not reach {self.server.name}")
            self._refuse(what, reply)
            return

        def finish(result: Any) -> None:
            if back is None:
                self.world.note(self.who, f"{what}: done, but the reply is lost")
            elif reply.done():
                self.world.note(self.who, f"{what}: done, when nobody waits for it any more")
            else:
                if self.world.trace is not None:
                    self.world.note(self.who, f"{what} → {brief(result)}")
                self.world.loop.call_later(back, _answer, reply, result)

        self.server.serve(operation, finish, reply.done)

    def _refuse(self, what: str, reply: asyncio.Future[T]) -> None:
        if not reply.done():
            reply.set_exception(_NoReply(f"{self.server.name} did not answer {what}."))


def brief(result: Any) -> str:
    """A result in a line of a trace."""
    match result:
        case commands.Event(entry=entry):
            return f"{entry.key[-14:]}@{entry.origin.epoch if entry.origin else '-'}"
        case WriteResult(results=results):
            return ", ".join(each.name for each in results)
        case Hold():
            return f"{result.reservation[-4:]} {result.state} held {result.held} charged {result.charged}"
        case commands.Settled() | commands.Granted() | commands.Recorded():
            event = brief(result.event) if result.event else "no event"
            hold = "" if isinstance(result, commands.Recorded) else brief(result.hold)
            return f"{type(result).__name__}{' again' if result.replayed else ''} {hold} ({event})"
        case commands.Denied():
            return "Denied"
        case list() | tuple() if not hasattr(result, "_fields"):
            return f"[{'; '.join(map(brief, result))}]"
        case _ if hasattr(result, "hold") or hasattr(result, "entry"):
            return f"{type(result).__name__} {getattr(result, 'durability', '')}"
        case _:
            return str(result) if len(str(result)) < 160 else f"{str(result)[:160]}…"


def _answer(reply: asyncio.Future[Any], result: Any) -> None:
    if reply.done():
        return
    if isinstance(result, Exception):
        reply.set_exception(result)
    else:
        reply.set_result(result)
