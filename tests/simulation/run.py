"""One seed, from the first call to the audit."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from quota_service.domain.errors import StoreUnavailable
from tests.simulation import scene
from tests.simulation.auditor import Auditor
from tests.simulation.clients import Clients
from tests.simulation.database import Database
from tests.simulation.evidence import collect, is_quiet
from tests.simulation.faults import Adversary
from tests.simulation.journal import Journal
from tests.simulation.loop import SimulatedLoop, Stuck, by_owner
from tests.simulation.network import SOON_MS, START_MS, World
from tests.simulation.replica import Replica, owner
from tests.simulation.switches import Switches
from tests.simulation.valkey import SimulatedValkey

SKEW_MS = 20_000
"""By how much a replica's own clock may be wrong: far more than a hold lives, and less than a run waits."""

QUIET_S_MAX = 90
"""By when everything must have settled down after the last fault."""

CALLS, FAULTS, WITHIN_S = range(4, 9), range(1, 6), (2.0, 6.0, 12.0)
"""How much a seed does, which chooses of each: so, mutants are missed after the least time of a processor."""

UPKEEP_S = 4
"""In what time every replica does all that it does now and then."""


@dataclass(slots=True, kw_only=True)
class Mutant:
    """The product with one mechanism taken out; by default, nothing is."""

    switches: Switches = field(default_factory=Switches)
    replica: type[Replica] = Replica
    unique_keys: bool = True
    retries_scripts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was found wrong with a seed: nothing in a good one. `calls`: how often anything was asked."""

    seed: int
    findings: tuple[str, ...]
    calls: int


def run(seed: int, mutant: Mutant | None = None, trace: Callable[[str], None] | None = None) -> Outcome:
    """The same seed does the same, step by step."""
    dice = random.Random(seed)
    loop = SimulatedLoop(dice)
    loop.set_exception_handler(lambda _, context: _unhandled(world, context))
    loop.set_task_factory(cast(Any, by_owner(owner.get)))
    world = World(dice=dice, loop=loop, trace=trace, start_ms=START_MS + dice.randrange(2 * SOON_MS))
    simulation = _Simulation(world, mutant or Mutant())
    names = SimpleNamespace(urandom=dice.randbytes)
    with mock.patch("quota_service.application.intents.os", names):
        try:
            loop.run(simulation.run())
        except Stuck:
            world.found("broken", "everybody waits for ever")
    calls = sum(told.sends for told in simulation.journal.everything())
    return Outcome(seed=seed, findings=tuple(world.findings), calls=calls)


def _unhandled(world: World, context: dict[str, Any]) -> None:
    """A store that is away may leave work undone that nobody waits for; any other error is a finding."""
    error = context.get("exception")
    if not isinstance(error, StoreUnavailable):
        world.found("broken", f"{context['message']}: {error!r}")


class _Simulation:
    def __init__(self, world: World, mutant: Mutant) -> None:
        dice = world.dice
        world.retries_scripts = mutant.retries_scripts
        self._world = world
        self._mutant = mutant
        self._valkey = SimulatedValkey(world, mutant.switches)
        self._database = Database(world)
        self._database.unique = mutant.unique_keys
        self._configurations = [scene.configuration(degraded=dice.random() < 0.3)]
        self._remember_ms = dice.choice((5_000, 600_000))
        self.journal = Journal()
        self._auditor = Auditor(world, self.journal)
        self._valkey.events_max = dice.choice((5, 12, 1_000, 1_000))
        self._valkey.watch = self._auditor.granted

    async def run(self) -> None:
        dice = self._world.dice
        replicas = [self._start(name) for name in ("a", "b", "c")[: dice.choice((2, 2, 3))]]
        clients = Clients(self._world, replicas, self.journal)
        adversary = Adversary(
            self._world, replicas, self._valkey, self._database, self._configurations, self._start
        )
        calls, faults, within_s = dice.choice(CALLS), dice.choice(FAULTS), dice.choice(WITHIN_S)
        work = asyncio.ensure_future(clients.run(calls, within_s))
        await adversary.run(faults, within_s)
        await work  # in the same weather
        adversary.heal()
        await self._quiet()
        for replica in replicas:
            replica.crash()
        await asyncio.sleep(1)
        self._auditor.audit(collect(self._valkey, self._database))

    def _start(self, name: str) -> Replica:
        replica = self._mutant.replica(
            self._world,
            name,
            self._valkey,
            self._database,
            self._configurations,
            remember_ms=self._remember_ms,
            skew_ms=self._world.dice.choice((0, 0, SKEW_MS, -SKEW_MS)),
        )
        replica.start()
        return replica

    async def _quiet(self) -> None:
        """Waits until nothing is left to be done, or for as long as that may take."""
        for _ in range(QUIET_S_MAX):
            await asyncio.sleep(1)
            all_arrived = self._world.loop.time() > self._world.arrives_by_s
            if all_arrived and is_quiet(self._valkey, self._database):
                break
        await asyncio.sleep(UPKEEP_S)
