"""Which fault comes when: decided by a seed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.faults import FAULTS, Scope
from tests.chaos.journal import Journal
from tests.chaos.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a fault lasts, and how long the world is well before the next one; seconds, at least and
    at most. `together_percent`: how often a second fault comes at the same time.
    """

    lasts_s: tuple[float, float]
    calm_s: tuple[float, float]
    together_percent: int


LONG = Pace(lasts_s=(0.1, 3.0), calm_s=(0.5, 3.0), together_percent=15)
SHORT = Pace(lasts_s=(0.15, 0.35), calm_s=(0.05, 0.15), together_percent=0)


class Schedule:
    """Does one fault after the other: each kind once, in an order drawn anew, and then again."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        random: Random,
        pace: Pace,
        kinds: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._world = world
        self._journal = journal
        self._random = random
        self._pace = pace
        self._kinds = kinds
        self._say = say
        self._drawn: list[str] = []
        self.injected: Counter[str] = Counter()

    async def run_for(self, seconds: float) -> None:
        """Until the time is over; the last fault is healed."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            await self._step()

    async def run_once(self) -> None:
        """Every kind once: those that restart servers take long, so that the others happen meanwhile."""
        kinds = [self._draw() for _ in self._kinds]
        slow = [kind for kind in kinds if "server" in kind or "everything" in kind]
        fast = [kind for kind in kinds if kind not in slow]
        await asyncio.gather(self._one_by_one(slow), self._one_by_one(fast))
        await self._world.heal()

    async def _one_by_one(self, kinds: Sequence[str]) -> None:
        for kind in kinds:
            await self._inject(kind)
            await self._calm()

    async def _step(self) -> None:
        kinds = [self._draw()]
        if self._random.randrange(100) < self._pace.together_percent:
            kinds.append(self._draw())
        await asyncio.gather(*map(self._inject, dict.fromkeys(kinds)))
        await self._world.heal()
        await self._calm()

    async def _inject(self, kind: str) -> None:
        self.injected[kind] += 1
        began_s, lasts_s = time.monotonic(), self._random.uniform(*self._pace.lasts_s)
        await FAULTS[kind](
            Scope(world=self._world, journal=self._journal, random=self._random, lasts_s=lasts_s)
        )
        self._say(f"{kind} ({time.monotonic() - began_s:.1f} s)")

    async def _calm(self) -> None:
        await asyncio.sleep(self._random.uniform(*self._pace.calm_s))

    def _draw(self) -> str:
        if not self._drawn:
            self._drawn = self._random.sample(list(self._kinds), len(self._kinds))
        return self._drawn.pop()
