"""The simulated Valkey, and the application's ports on it as one replica has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from quota_service.application.ports import Page
from quota_service.domain import commands, limit_changes
from quota_service.domain.commands import Event
from quota_service.domain.errors import BufferFull, StoreUnavailable
from quota_service.domain.opening import Open, OpenAnswer
from quota_service.domain.reservation import Hold
from tests.simulation.keys import Keys
from tests.simulation.network import Link, Server, World
from tests.simulation.switches import Switches

T = TypeVar("T")

FENCES_MAX = 3


class _Fenced:
    def __repr__(self) -> str:
        return "FENCED"


_FENCED = _Fenced()


class SimulatedValkey(Server):
    """Holds an organization's keys; can forget them, or go back to what they were at some time."""

    def __init__(self, world: World, switches: Switches) -> None:
        super().__init__("valkey")
        self.keys = Keys()
        self.switches = switches
        self._world = world
        self.events_max = 1_000  # in bytes in the product
        self._copies: list[Keys] = []
        self.watch: Callable[[Keys, Any, Any], None] = lambda keys, command, answer: None

    def run(self, fence: str, script: Callable[[Keys, int], T]) -> T | _Fenced:
        """Runs a script, all of it or, where the fence is another, nothing."""
        if self.switches.fenced and self.keys.fence != fence:
            return _FENCED
        self.keys.epoch = int(fence.partition(" ")[0])
        if self.switches.forgets_keys:
            self.keys.book.reservations.clear()
            self.keys.book.records.clear()
        return script(self.keys, self._world.now_ms())

    def is_full(self, keys: Keys, command: Any, now_ms: int) -> bool:
        """Whether too many events wait for one more, which new money reaches sooner than what ends a hold."""
        keys.begin(now_ms)  # whatever is due is retired, however much waits
        percent = 70 if isinstance(command, commands.Authorize | commands.Extend) else 100
        return not isinstance(command, Open) and len(keys.events) * 100 >= self.events_max * percent

    def answer_when_full(self, keys: Keys, script: Callable[[Keys, int], T], now_ms: int) -> T:
        """Repeats and refusals, which no event tells of. Raises BufferFull for what one would."""
        trial = keys.copy()
        answer = script(trial, now_ms)
        if trial.appended != keys.appended:
            raise BufferFull("Too many events wait for the ledger.")
        return answer

    def keep_copy(self) -> None:
        """What a lagging replica has from now on, or a file that somebody keeps."""
        self._copies.append(self.keys.copy())

    def restart(self, copy: str) -> None:
        """Another run, on the `same` data, on an `older` copy of it, or on `none`."""
        self.starts += 1
        if copy == "same":
            return
        self._world.losses_ms.append(self._world.now_ms())
        older = self._copies[self._world.dice.randrange(len(self._copies))] if self._copies else Keys()
        self.keys = older.copy() if copy == "older" else Keys()


class Runner:
    """As the product's: runs a script behind the fence; where that is another, has the keys established."""

    def __init__(self, link: Link, server: SimulatedValkey, remember_ms: int, skew_ms: int) -> None:
        self.link = link
        self.server = server
        self.remember_ms = remember_ms
        self.epochs: dict[str, int] = {}
        self.establish: Callable[[str], Awaitable[object]] = _nobody
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        """The store's clock once it was heard, the replica's own until then."""
        return self.link.world.now_ms() + self._skew_ms

    async def run(
        self,
        organization: str,
        what: str,
        script: Callable[[Keys, int], T],
        *,
        epoch: int | None = None,
        patience_s: float | None = None,
    ) -> T:
        for _ in range(FENCES_MAX):
            known = self.epochs.get(organization, 0) if epoch is None else epoch
            fence = f"{known} {await self.link.connected()}"
            answer = await self.link.call(what, lambda fence=fence: self.server.run(fence, script))  # type: ignore[misc]
            self._skew_ms = 0
            if not isinstance(answer, _Fenced):
                return answer
            if epoch is not None:
                break
            await self._established(organization, patience_s)
        raise StoreUnavailable("The keys are being made what the ledger says; nothing was done.")

    async def _established(self, organization: str, patience_s: float | None) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await self.establish(organization)
        except TimeoutError:
            raise StoreUnavailable("The keys are being made what the ledger says.") from None


async def _nobody(organization: str) -> None:
    raise StoreUnavailable(f"Nobody establishes the keys of {organization}.")


class Holds:
    """Implements `HoldStore`, `WindowStore` and `LimitStore`."""

    def __init__(self, runner: Runner, patience_s: float) -> None:
        self._runner = runner
        self._patience_s = patience_s

    def now_ms(self) -> int:
        return self._runner.now_ms()

    def epoch_of(self, organization: str) -> int:
        return self._runner.epochs.get(organization, 0)

    async def authorize(self, command: commands.Authorize) -> commands.AuthorizeAnswer:
        return await self._decide(
            command.basis.organization, command, lambda keys, now: keys.authorize(command, now)
        )

    async def commit(self, command: commands.Commit) -> commands.CommitAnswer:
        return await self._decide(command.organization, command, lambda keys, now: keys.commit(command, now))

    async def release(self, command: commands.Release) -> commands.ReleaseAnswer:
        return await self._decide(command.organization, command, lambda keys, now: keys.release(command, now))

    async def extend(self, command: commands.Extend) -> commands.ExtendAnswer:
        return await self._decide(
            command.basis.organization, command, lambda keys, now: keys.extend(command, now)
        )

    async def record(self, command: commands.Record) -> commands.RecordAnswer:
        return await self._decide(
            command.basis.organization, command, lambda keys, now: keys.record(command, now)
        )

    async def adjust(self, command: limit_changes.Adjust) -> limit_changes.AdjustAnswer:
        return await self._decide(
            command.basis.organization, command, lambda keys, now: keys.adjust(command, now)
        )

    async def open(self, command: Open) -> OpenAnswer:
        return await self._decide(
            command.basis.organization, command, lambda keys, now: keys.open(command, now)
        )

    async def inspect(self, command: commands.Inspect, *, is_urgent: bool = False) -> commands.InspectAnswer:
        return await self._decide(
            command.basis.organization, command, lambda keys, now: keys.inspect(command, now)
        )

    async def _decide(self, organization: str, command: Any, script: Callable[[Keys, int], T]) -> T:
        def watched(keys: Keys, now_ms: int) -> T:
            server = self._runner.server
            if server.is_full(keys, command, now_ms):
                return server.answer_when_full(keys, script, now_ms)
            answer = script(keys, now_ms)
            server.watch(keys, command, answer)
            return answer

        return await self._runner.run(organization, _what(command), watched, patience_s=self._patience_s)

    async def get(self, organization: str, reservation: str) -> Hold | None:
        def script(keys: Keys, now_ms: int) -> Hold | None:
            return keys.get(reservation, now_ms)

        return await self._runner.run(organization, "get", script, patience_s=self._patience_s)

    async def live(self, organization: str, after: str, count: int) -> Page[Hold]:
        raise AssertionError("nobody lists holds in a simulation")

    def place(self, hold: Hold) -> str:
        raise AssertionError("nobody lists holds in a simulation")

    async def reallocate(self, command: limit_changes.Reallocate) -> limit_changes.ReallocateAnswer:
        return await self._decide(
            command.basis.organization, command, lambda keys, now: keys.reallocate(command, now)
        )

    async def claim(self, organization: str, key: str, content_hash: str) -> bool:
        raise AssertionError("no change lasts in a simulation")

    async def restore(self, hold: Hold, epoch: int) -> None:
        keep_ms = self._runner.remember_ms
        await self._runner.run(
            hold.organization,
            "restore",
            lambda keys, now: keys.restore(hold, keep_ms, now),
            epoch=epoch,
            patience_s=self._patience_s,
        )

    async def sweep(self, organization: str) -> int:
        def script(keys: Keys, now_ms: int) -> int:
            return keys.sweep(now_ms)

        return await self._runner.run(organization, "sweep", script)

    async def publish_version(self, organization: str, version: int) -> None:
        await self._runner.run(organization, "publish", lambda keys, now: keys.publish(version))


class Events:
    """Implements `EventLog`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    async def older_than(self, organization: str, age_ms: int, count: int) -> Sequence[Event]:
        def script(keys: Keys, now_ms: int) -> Sequence[Event]:
            return keys.older_than(age_ms, count, now_ms)

        return await self._runner.run(organization, "left behind", script)

    async def acknowledge(self, organization: str, events: Sequence[Event]) -> None:
        remember_ms = self._runner.remember_ms
        await self._runner.run(
            organization,
            f"acknowledge {[event.entry.key for event in events]}",
            lambda keys, now: keys.acknowledge(events, remember_ms, now),
        )


def _what(command: Any) -> str:
    match command:
        case commands.Authorize():
            return f"authorize {command.alternatives[0].hold.idempotency_key}"
        case commands.Commit() | commands.Release() | commands.Extend():
            return f"{type(command).__name__.lower()} {command.reservation[-4:]}"
        case commands.Record() | limit_changes.Adjust() | limit_changes.Reallocate():
            return command.key
        case _:
            return type(command).__name__.lower()
