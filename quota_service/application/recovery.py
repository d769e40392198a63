"""Makes the deciding store's keys what the ledger says, when it was lost, replaced, rolled back or away.

An organization's keys stand behind a fence: for one epoch, made in one run of one server. Where that is not
the ledger's epoch or not the server at hand, no script runs. Then one process lowers the fence, carries the
events that it finds into the ledger, and, alone with the ledger, begins a new epoch: it sets every window and
every live hold, never adds, and raises the fence last. What reaches the ledger afterwards but ran before, or
not there at all, is pending, and is brought to the new keys entry by entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from quota_service.application.configurations import Configurations
from quota_service.application.delivery import Delivery
from quota_service.application.health import Health
from quota_service.application.recovery_ports import Epoch, EpochStore, KeyStore, Making, Pending, Turn
from quota_service.application.restoring import Restoration
from quota_service.application.writing import Observer, Watch
from quota_service.domain.amounts import NOTHING
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import OrganizationNotFound, StoreUnavailable
from quota_service.domain.windows import OUTLIVE_MS

BATCH = 500
"""Events that are carried, or entries that are applied, in one step."""

LOOK_S = 1.0
"""How long the ledger may take to tell epochs before it counts as away."""

TURNS_MAX = 4
"""Of how many organizations this process makes keys anew at a time. Each turn has a connection to the ledger,
and may need another one to read the configuration: turns must never have them all.
"""

T = TypeVar("T")

ATTEMPTS = 20
"""How often other processes may come in between before a recovery is given up for now."""


class Recovery:
    """The use case. `establish` may be called by anybody at any time."""

    def __init__(
        self,
        keys: KeyStore,
        epochs: EpochStore,
        delivery: Delivery,
        configurations: Configurations,
        watch: Watch,
        health: Health,
        observer: Observer,
    ) -> None:
        self._keys = keys
        self._epochs = epochs
        self._delivery = delivery
        self._configurations = configurations
        self._watch = watch
        self._health = health
        self._observer = observer
        self._turns = asyncio.Semaphore(TURNS_MAX)
        self._under_way: dict[str, asyncio.Task[int]] = {}

    async def establish(self, organization: str) -> int:
        """Makes the organization's keys what the ledger says, unless they are; returns their epoch. Once for
        all who wait; one who is cancelled does not keep the others from it. Raises OrganizationNotFound,
        StoreUnavailable.
        """
        task = self._under_way.get(organization)
        if task is None:
            task = self._under_way[organization] = asyncio.create_task(self._establish(organization))
            task.add_done_callback(lambda _: self._under_way.pop(organization, None))
        return await asyncio.shield(task)

    async def keep_up(self) -> None:
        """Looks at every organization's epoch: what another process has begun, found broken or left pending
        is
        taken up. One organization's trouble is not the others'.
        """
        for organization, epoch in (await self._looked_up()).items():
            try:
                known = self._keys.known_epoch(organization)
                if epoch.broken or (known and known != epoch.number):
                    await self.establish(organization)
                if epoch.is_pending:
                    await self.apply_pending(organization)
            except Exception as error:  # whatever it is, it is taken up again next time
                self._observer.work_failed(f"recovery of {organization}", error)

    async def _looked_up(self) -> Mapping[str, Epoch]:
        """Every organization's epoch. Tells by it whether the ledger answers."""
        looking = asyncio.ensure_future(self._epochs.epochs())
        try:
            answered, _ = await asyncio.wait((looking,), timeout=LOOK_S)
            if not answered:
                # Told at once: to give a question up may take as long as to wait for its answer.
                self._health.ledger = False
                looking.cancel()
                await asyncio.wait((looking,))
                raise StoreUnavailable("The ledger does not answer in time.")
            epochs = await looking
        except StoreUnavailable:
            self._health.ledger = False
            raise
        finally:
            looking.cancel()
        self._health.ledger = True
        return epochs

    async def apply_pending(self, organization: str) -> bool:
        """Brings to the keys what the ledger has and they have not; returns whether there was anything. Where
        that cannot be done entry by entry, they are to be made anew.
        """
        any_found = False
        while found := await self._epochs.pending(organization, BATCH):
            any_found = True
            for pending in found:
                if not await self._apply(pending):
                    await self._epochs.mark_broken(organization)
                    return True
            await self._epochs.applied(organization, [pending.entry.key for pending in found])
        return any_found

    async def _apply(self, pending: Pending) -> bool:
        hold = pending.entry.hold
        if hold.reservation and hold.remaining != NOTHING and not pending.is_open:
            return pending.entry.charged == NOTHING  # it has ended since, and holds nothing any more
        return await self._keys.apply(pending.entry, pending.epoch)

    async def _establish(self, organization: str) -> int:
        epoch = await self._established(organization)
        self._keys.adopt(organization, epoch)
        return epoch

    async def _established(self, organization: str) -> int:
        for _ in range(ATTEMPTS):
            seen = await self._keys.fence(organization)
            epoch = await self._epochs.epoch(organization)
            if seen.stands_for(epoch):
                return epoch.number
            if not epoch.is_known:
                raise OrganizationNotFound("The organization does not exist.")
            if seen.is_of_other_layout:
                await self._epochs.mark_broken(organization)  # so that nothing of it is left
            if not await self._keys.lower(organization, seen):
                continue  # somebody else has just changed it
            await self._carry_events(organization)
            if made := await self._make_anew(organization, seen.run_id):
                return made
        raise StoreUnavailable("Valkey's keys are made anew by too many at once.")

    async def _carry_events(self, organization: str) -> None:
        """What ran before the fence was lowered and may not be in the ledger yet. What runs after somebody
        has raised it is left alone: of that there is no end.
        """
        while events := await self._keys.waiting(organization, BATCH):
            balances = await self._delivery.carry(events)
            if balances:
                await self._watch.charged(balances)
            await self._keys.drop(organization, events)
            if (await self._keys.fence(organization)).epoch:
                return

    async def _make_anew(self, organization: str, run_id: str) -> int:
        """The new epoch; 0 where the keys are not as they were left, which others may have changed."""
        async with self._turns, self._epochs.alone(organization) as turn:
            seen = await self._keys.fence(organization)
            if seen.stands_for(turn.epoch):
                return turn.epoch.number
            if seen.epoch or seen.run_id != run_id or await self._keys.waiting(organization, 1):
                return 0
            configuration = await self._configuration(organization, turn.version)
            epoch = await turn.begin()
            async with self._keys.make(organization, seen, epoch) as making:
                if not (
                    await self._fill(making, turn, configuration) and await making.raise_fence(turn.version)
                ):
                    return 0
            is_first = not turn.epoch.number
        if not is_first:
            self._observer.recovered(organization, epoch)
        return epoch

    async def _configuration(self, organization: str, version: int) -> Configuration | None:
        try:
            return (await self._configurations.at_least(organization, version)).configuration
        except OrganizationNotFound:
            return None

    async def _fill(self, making: Making, turn: Turn, configuration: Configuration | None) -> bool:
        """Sets every live hold and window, and nothing else is left."""
        if not await making.clear():
            return False
        async with _meanwhile(making.forget_windows(every=turn.epoch.broken)) as forgetting:
            now_ms = self._keys.now_ms()
            restoration = Restoration(configuration, now_ms, await turn.windows(now_ms - OUTLIVE_MS))
            async with aclosing(turn.holds()) as holds:
                counted = restoration.counting(holds, turn.windows_of)
                if not await making.put_holds(counted):
                    return False
            rolled_over = await turn.known(restoration.rollover_keys())
            return await forgetting and await making.put_windows(restoration.windows(rolled_over))


@asynccontextmanager
async def _meanwhile(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Future[T]]:
    """Goes on beside the block, and ends with it."""
    under_way = asyncio.ensure_future(work)
    try:
        yield under_way
    finally:
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)
