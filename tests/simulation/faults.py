"""What goes wrong besides single calls: replicas crash, stores go away, come back empty or in the past."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from quota_service.domain.configuration import Configuration
from tests.simulation.database import Database
from tests.simulation.network import CALM, Weather, World
from tests.simulation.replica import Replica
from tests.simulation.valkey import SimulatedValkey

PATIENCE_S = 5.0
"""How long who changes the configuration waits until the deciding store knows of it."""

Fault = Callable[[], Coroutine[Any, Any, None]]

WEATHERS = (
    CALM,
    Weather(lost_request=0.02, lost_reply=0.04),
    Weather(lost_request=0.02, lost_reply=0.06, straggler=0.02, delay_s_max=0.05),
    Weather(lost_request=0.05, lost_reply=0.05, straggler=0.02, delay_s_max=0.2),
)


class Adversary:
    """Lets as many faults happen as a seed wants, and heals everything in the end."""

    def __init__(
        self,
        world: World,
        replicas: list[Replica],
        valkey: SimulatedValkey,
        database: Database,
        configurations: list[Configuration],
        start: Callable[[str], Replica],
    ) -> None:
        self._world = world
        self._dice = world.dice
        self._replicas = replicas
        self._valkey = valkey
        self._database = database
        self._configurations = configurations
        self._start = start

    async def run(self, faults: int, within_s: float) -> None:
        self._world.weather = replace(self._dice.choice(WEATHERS))
        await asyncio.gather(
            self._copies(within_s), *(self._one(self._dice.random() * within_s) for _ in range(faults))
        )

    def heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self._world.weather = replace(CALM)
        self._valkey.up = self._database.up = True
        for place, replica in enumerate(self._replicas):
            replica.to_valkey.cut = replica.to_postgres.cut = False
            if not replica.alive:
                self._replicas[place] = self._start(replica.name)

    async def _copies(self, within_s: float) -> None:
        for _ in range(4):
            self._valkey.keep_copy()
            await asyncio.sleep(within_s / 4)

    async def _one(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        fault = self._dice.choice(
            (
                self._crash,
                self._crash,
                self._valkey_restarts,
                self._valkey_is_lost,
                self._valkey_goes_back,
                self._valkey_is_away,
                self._postgres_is_away,
                self._cut_from_valkey,
                self._cut_from_postgres,
                self._configuration_changes,
            )
        )
        self._world.note("adversary", fault.__name__.strip("_").replace("_", " "))
        await fault()

    async def _crash(self) -> None:
        place = self._dice.randrange(len(self._replicas))
        replica = self._replicas[place]
        if replica.alive:
            replica.crash()
            await asyncio.sleep(self._dice.random() * 3)
            if self._replicas[place] is replica:
                self._replicas[place] = self._start(replica.name)

    async def _valkey_restarts(self) -> None:
        await self._valkey_comes_back("same")

    async def _valkey_is_lost(self) -> None:
        await self._valkey_comes_back("none")

    async def _valkey_goes_back(self) -> None:
        await self._valkey_comes_back("older")

    async def _valkey_comes_back(self, copy: str) -> None:
        self._valkey.up = False
        await asyncio.sleep(self._dice.choice((0.0, 0.1, 2.0)))
        self._valkey.restart(copy)
        self._valkey.up = True

    async def _valkey_is_away(self) -> None:
        self._valkey.up = False
        await asyncio.sleep(self._dice.random() * 5)
        self._valkey.up = True

    async def _postgres_is_away(self) -> None:
        self._database.up = False
        self._database.restart()
        await asyncio.sleep(self._dice.random() * 6)
        self._database.up = True

    async def _cut_from_valkey(self) -> None:
        link = self._dice.choice(self._replicas).to_valkey
        link.cut = True
        await asyncio.sleep(self._dice.random() * 6)
        link.cut = False

    async def _cut_from_postgres(self) -> None:
        link = self._dice.choice(self._replicas).to_postgres
        link.cut = True
        await asyncio.sleep(self._dice.random() * 6)
        link.cut = False

    async def _configuration_changes(self) -> None:
        """To another version of the same: who decides on an older one is told so."""
        current = self._configurations[-1]
        self._configurations.append(replace(current, version=current.version + 1))
        alive = [replica for replica in self._replicas if replica.alive]
        if alive:
            replica = self._dice.choice(alive)
            await asyncio.wait((replica.begin(replica.publish(current.version + 1)),), timeout=PATIENCE_S)
