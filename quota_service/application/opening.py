"""Opens windows that begin with something: with what is carried into them, or with what had been spent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, Protocol

from quota_service.application.ledger_ports import BalanceStore, Ledger
from quota_service.application.plans import Plans
from quota_service.application.ports import WindowStore
from quota_service.domain.amounts import NOTHING
from quota_service.domain.budget import Budget, Seed, seed_of
from quota_service.domain.commands import Event
from quota_service.domain.ledger import key_of_rollover
from quota_service.domain.opening import (
    Beginning,
    BeginningUnknown,
    Carried,
    FromLedger,
    FromPrevious,
    Open,
    Opened,
)
from quota_service.domain.reservation import WindowRef
from quota_service.domain.rollover import Past, carried_into, remainder_of, window_before, windows_before
from quota_service.domain.terms import Basis, Counters, Term
from quota_service.domain.windows import OUTLIVE_MS


class Writer(Protocol):
    """The part of the ledger's writer that openings need."""

    def submit(self, event: Event) -> None:
        """Leaves an event to be written soon."""
        ...


class _Place(NamedTuple):
    organization: str
    version: int
    window: WindowRef
    opening: int


class Openings:
    """The use case. What the deciding store cannot tell by itself is asked of the ledger's balances."""

    def __init__(self, windows: WindowStore, balances: BalanceStore, ledger: Ledger, writer: Writer) -> None:
        self._windows = windows
        self._balances = balances
        self._ledger = ledger
        self._writer = writer
        self._under_way: dict[_Place, asyncio.Task[None]] = {}

    async def open(self, plans: Plans, terms: Iterable[Term]) -> None:
        """Opens the windows of those terms that must be opened; does no harm to one that is open.

        Where the plans turn out to be stale, or a window not to have begun or to be over for good, it stays
        as it is: whoever asks again learns that too. Raises StoreUnavailable where the ledger is needed and
        does not answer.
        """
        await asyncio.gather(*(self._open_once(plans, term) for term in terms if term.opening))

    async def _open_once(self, plans: Plans, term: Term) -> None:
        """Once for all who wait. One who is cancelled does not keep the others from it."""
        configuration = plans.configuration
        place = _Place(configuration.organization.id, configuration.version, term.window, term.opening)
        task = self._under_way.get(place)
        if task is None:
            task = self._under_way[place] = asyncio.create_task(self._open(plans, term))
            task.add_done_callback(lambda _: self._under_way.pop(place, None))
        await asyncio.shield(task)

    async def _open(self, plans: Plans, term: Term) -> None:
        configuration = plans.configuration
        budget = configuration.budgets.get(term.window.budget)
        if budget is None:
            return  # it is being deleted
        basis = Basis(
            organization=configuration.organization.id,
            version=configuration.version,
            from_ms=term.window.start_ms,
            until_ms=None if term.window.end_ms is None else term.window.end_ms + OUTLIVE_MS,
        )
        command = Open(basis=basis, term=term, beginning=_told_by_store(budget, term))
        answer = await self._windows.open(command)
        if isinstance(answer, BeginningUnknown):
            beginning = await self._told_by_ledger(basis.organization, budget, term)
            answer = await self._windows.open(replace(command, beginning=beginning))
        if isinstance(answer, Opened) and answer.event is not None:
            self._writer.submit(answer.event)

    async def _told_by_ledger(self, organization: str, budget: Budget, term: Term) -> Beginning:
        window = term.window
        if window.start_ms < budget.since_ms:
            past = await self._balances.latest(organization, window, (window.start_ms,))
            return _as_ledger_has_it(past, seed_of(budget, window.each_value))
        known = await self._ledger.find(organization, key_of_rollover(window))
        if known is not None:
            return Carried(amounts=known.entry.changes[0].added, in_ledger=True)
        starts = tuple(before.start_ms for before in windows_before(budget, window.start_ms))
        latest = await self._balances.latest(organization, window, starts) if starts else None
        return Carried(amounts=carried_into(budget, window.each_value, window.start_ms, latest))


def _told_by_store(budget: Budget, term: Term) -> Beginning | None:
    """What can be said without the ledger; `None`: nothing."""
    window = term.window
    if window.start_ms < budget.since_ms:
        return None
    before = window_before(budget, window.start_ms)
    if before is None:
        return Carried(amounts=NOTHING)
    previous = WindowRef(window.budget, window.each_value, *before)
    return FromPrevious(window=previous, remainder=remainder_of(budget, window.each_value, before))


def _as_ledger_has_it(past: Past | None, seed: Seed | None) -> FromLedger:
    counters = past.counters if past is not None else Counters()
    return FromLedger(
        counters.spent,
        counters.overrun,
        counters.added,
        counters.moved,
        spent_more=seed.spent if seed is not None else NOTHING,
        overrun_more=seed.overrun if seed is not None else NOTHING,
    )
