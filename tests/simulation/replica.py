"""One replica: the real application, wired over the simulated stores."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from quota_service.application.administration.counters import LiveCounters
from quota_service.application.administration.lasting import LastingAdjustments
from quota_service.application.administration.money import Money
from quota_service.application.administration.money_requests import Past
from quota_service.application.authorization import Authorization
from quota_service.application.configurations import Configurations
from quota_service.application.delivery import Delivery
from quota_service.application.extension import Extension
from quota_service.application.health import Health
from quota_service.application.ledger_ports import WindowBalance
from quota_service.application.memory import Memory
from quota_service.application.offline import Offline
from quota_service.application.opening import Openings
from quota_service.application.outage import Outages
from quota_service.application.publishing import Publishing
from quota_service.application.recording import Recording
from quota_service.application.recovery import Recovery
from quota_service.application.settlement import Commits, Releases
from quota_service.application.statuses import Statuses
from quota_service.application.tracking import Tracked
from quota_service.application.upkeep import Upkeep, UpkeepSettings
from quota_service.application.writing import LedgerWriter, WriterSettings
from quota_service.domain.configuration import Configuration, ModelKey
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.ledger import Entry
from tests.simulation.database import Database
from tests.simulation.keystore import KeyStore
from tests.simulation.loop import Tasks
from tests.simulation.network import Link, World
from tests.simulation.postgres import ConfigurationStore, Epochs, Ledger
from tests.simulation.scene import ORGANIZATION
from tests.simulation.valkey import Events, Holds, Runner, SimulatedValkey

T = TypeVar("T")

owner: contextvars.ContextVar[Tasks | None] = contextvars.ContextVar("owner", default=None)
"""To which replica the running code belongs."""

UPKEEP = UpkeepSettings(
    sweep_every_ms=3_000, epochs_every_ms=1_500, repair_every_ms=3_000, left_behind_ms=3_000, batch=5
)
WRITER = WriterSettings(batch_max=8, queue_max=50, answer_ms=2_000, pause_ms=250)


class _Parts:
    """What has been made so far; gives each use case what its parameters name."""

    def __init__(self, **made: object) -> None:
        self._made = made

    def make(self, name: str, type_: Callable[..., T], **more: object) -> T:
        known = {**self._made, **more}
        part = type_(**{each: known[each] for each in _parameters(type_)})
        self._made[name] = part
        return part


@functools.cache
def _parameters(type_: Callable[..., object]) -> tuple[str, ...]:
    return tuple(inspect.signature(type_).parameters)


class _Aliases:
    def resolve(self, provider: str, model: str) -> ModelKey | None:
        return None


class _Observer:
    """Notes what the application reports."""

    def __init__(self, world: World, who: str) -> None:
        self._world = world
        self._who = who

    def batch_written(self, entries: int, conflicts: int) -> None:
        if conflicts:
            self._world.note(self._who, f"{conflicts} of {entries} entries are in conflict")

    def work_failed(self, work: str, error: Exception) -> None:
        self._world.note(self._who, f"{work} failed: {error!r}")
        if not isinstance(error, StoreUnavailable | TimeoutError):
            self._world.found("broken", f"{work} failed: {error!r}")

    def recovered(self, organization: str, epoch: int) -> None:
        self._world.note(self._who, f"epoch {epoch} has begun")

    def entry_refused(self, organization: str, key: str, error: str, tries: int) -> None:
        self._world.found("broken", f"the ledger refuses {key}: {error}")

    def dead_letter(self, organization: str, key: str, error: str) -> None:
        self._world.found("broken", f"{key} is a dead letter: {error}")

    def stopped(self, *_: object) -> None: ...

    def denied(self, *_: object) -> None: ...


class _Watch:
    """Looks at balances: a call to PostgreSQL, which may fail as any other."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def charged(self, balances: Sequence[WindowBalance]) -> None:
        await self._link.call("look at balances", lambda: None)


class _NoSeals:
    async def seal(self) -> None:
        """Nobody tampers here."""


class _NoDeadLetters:
    """The simulated ledger takes every entry: one that it refused would be a finding."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def reason_of(self, error: Exception) -> str:
        return repr(error)

    async def takes_entries(self) -> bool:
        return await self._link.call("probe", lambda: True)

    async def put(self, entry: Entry, error: str, tries: int) -> bool:
        return False


class Replica:
    """From its start to its crash; what comes after a crash is another one."""

    writer_type: Callable[..., LedgerWriter] = LedgerWriter
    """A mutant has another one."""

    def __init__(
        self,
        world: World,
        name: str,
        valkey: SimulatedValkey,
        database: Database,
        configurations: list[Configuration],
        *,
        remember_ms: int,
        skew_ms: int = 0,
    ) -> None:
        self.name = name
        self.alive = True
        self.to_valkey = Link(world, name, valkey, 0.5)
        self.to_postgres = Link(world, name, database, 1.0)
        self._world = world
        self._tasks = Tasks()
        self._wire(
            Runner(self.to_valkey, valkey, remember_ms, skew_ms),
            ConfigurationStore(self.to_postgres, configurations),
            database,
        )

    def _wire(self, runner: Runner, store: ConfigurationStore, database: Database) -> None:
        link, observer = self.to_postgres, _Observer(self._world, self.name)
        holds = Holds(runner, 0.6)
        self._publishing = Publishing(holds)
        ledger = Ledger(link, database)
        parts = _Parts(
            store=store,
            configuration=store,
            aliases=_Aliases(),
            holds=holds,
            publisher=self._publishing,
            windows=holds,
            limits=holds,
            log=Events(runner),
            events=Events(runner),
            keys=KeyStore(runner),
            ledger=ledger,
            balances=ledger,
            epochs=Epochs(link, database, store),
            dead_letters=_NoDeadLetters(link),
            registration=None,  # nobody is registered
            changes=None,  # no adjustment lasts
            watch=_Watch(link),
            observer=observer,
            alerts=observer,
            seals=_NoSeals(),
            counts=observer,
            now_ms=holds.now_ms,
            clock=self._world.loop.time,
            tracked=Tracked(),
            health=Health(),
        )
        parts.make("configurations", Configurations)
        parts.make("delivery", Delivery, settings=None)
        parts.make("memory", Memory)
        self.writer = parts.make("writer", self.writer_type, settings=WRITER)
        recovery = parts.make("recovery", Recovery)
        runner.establish = recovery.establish
        parts.make("offline", Offline)
        parts.make("openings", Openings)
        parts.make("outages", Outages, processes=1)
        self.recording = parts.make("recording", Recording)
        self.authorization = parts.make("authorization", Authorization)
        self.commits = parts.make("commits", Commits)
        self.releases = parts.make("releases", Releases)
        self.extension = parts.make("extension", Extension)
        parts.make("statuses", Statuses)
        parts.make("counters", LiveCounters)
        parts.make("past", Past)
        parts.make("lasting", LastingAdjustments)
        self.money = parts.make("money", Money)
        self.upkeep = parts.make("upkeep", Upkeep, settings=UPKEEP)

    def start(self) -> None:
        """Begins the work beside the calls."""
        self.begin(self.writer.run())
        self.begin(self.upkeep.run())

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begins work that ends with the replica."""
        context = contextvars.copy_context()
        context.run(owner.set, self._tasks)
        return context.run(asyncio.get_running_loop().create_task, work)

    async def publish(self, version: int) -> None:
        """Tells the deciding store of a change of the configuration, if it can be reached."""
        with contextlib.suppress(StoreUnavailable):
            await self._publishing.publish_version(ORGANIZATION, version)

    def crash(self) -> None:
        """All that it was doing ends; nothing of it reaches a store any more but what is on its way."""
        self.alive = False
        self.to_valkey.dead = self.to_postgres.dead = True
        self._tasks.kill()
