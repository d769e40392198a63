"""Alerts: each step of a budget's ladder tells once in a window, over the whole fleet.

PostgreSQL decides what is the first time: its unique index is what keeps replicas from telling twice. What
has been told is remembered here, so that the usual request and the usual batch ask nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from quota_service.application.alert_ports import AlertStore
from quota_service.application.caching import Cache, Room
from quota_service.application.configurations import Configurations
from quota_service.application.ledger_ports import WindowBalance
from quota_service.application.writing import Observer
from quota_service.domain import alerting
from quota_service.domain.alerting import Alert
from quota_service.domain.amounts import Amounts, Limits, Meter
from quota_service.domain.budget import Budget, LadderStep, Mode, limits_at
from quota_service.domain.errors import OrganizationNotFound
from quota_service.domain.ladder import Reached
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Counters, Term


class Stop(NamedTuple):
    """A request that a step of a HARD budget's ladder denied, or diverted to another model. `counters` as the
    decision saw them; `meter` is the one that did not fit.
    """

    budget: Budget
    term: Term
    counters: Counters
    meter: Meter
    step: LadderStep
    subject: Subject


class AlertSettings(NamedTuple):
    """`queue_max` stops wait to be kept. What is remembered takes `remembered_bytes`: some 16,000 windows, or
    twice as many steps that have told. After a failure there is a pause of `pause_ms`.
    """

    queue_max: int = 10_000
    remembered_bytes: int = 16 * 1024 * 1024
    pause_ms: int = 1_000


_CALM_BYTES, _TOLD_BYTES = 1_000, 500
"""What a window takes that is calm, and a step that has told. As measured, rounded up."""


class _Key(NamedTuple):
    """What tells once."""

    organization: str
    budget: str
    each_value: str
    start_ms: int
    step: LadderStep


class _Calm(NamedTuple):
    """A window has nothing to tell while it is spent `below` these amounts, before `until_ms` (`None`: for
    good), under this configuration and with its limit changed by no other amounts.
    """

    version: int
    change: Amounts
    below: Limits
    until_ms: int | None

    def covers(self, balance: WindowBalance, now_ms: int) -> bool:
        return (
            self.version == balance.version
            and self.change == balance.change
            and (self.until_ms is None or now_ms < self.until_ms)
            and all(
                most is None or spent < most for spent, most in zip(balance.spent, self.below, strict=True)
            )
        )


class Alerts:
    """Tells of steps as spending reaches them, and as they stop requests.

    `now_ms` is the clock of decisions.
    """

    def __init__(
        self,
        configurations: Configurations,
        store: AlertStore,
        observer: Observer,
        now_ms: Callable[[], int],
        settings: AlertSettings | None = None,
    ) -> None:
        self._configurations = configurations
        self._store = store
        self._observer = observer
        self._now_ms = now_ms
        self._settings = settings or AlertSettings()
        # What is forgotten is asked of PostgreSQL again.
        room = Room(self._settings.remembered_bytes)
        self._told: Cache[_Key, bool] = room.cache(lambda _: _TOLD_BYTES)
        self._calm: Cache[tuple[str, WindowRef], _Calm] = room.cache(lambda _: _CALM_BYTES)
        self._waiting: dict[_Key, Alert] = {}
        self._wake = asyncio.Event()
        # One at a time: were alerts to stand still, they must not take the ledger's connections one by one.
        self._telling = asyncio.Lock()

    def stopped(self, organization: str, stops: Sequence[Stop]) -> None:
        """Takes note of what stopped a request; what has told already costs nothing more. Never raises.

        What does not fit into the queue is told of by the next request that the step stops.
        """
        for stop in stops:
            key = _key(organization, stop.term.window, stop.step)
            known = self._told.get(key) or key in self._waiting
            if stop.budget.mode is not Mode.HARD or known or len(self._waiting) >= self._settings.queue_max:
                continue
            self._waiting[key] = _alert_of_stop(organization, stop)
            self._wake.set()

    async def charged(self, balances: Iterable[WindowBalance]) -> None:
        """Tells of every step that spending has reached. Raises StoreUnavailable: then the same balances, or
        later ones, must be brought again.
        """
        now_ms = self._now_ms()
        for balance in balances:
            calm = self._calm.get((balance.organization, balance.window))
            if calm is None or not calm.covers(balance, now_ms):
                await self._look(balance, now_ms)

    async def run(self) -> None:
        """Keeps what stopped requests, until it is cancelled."""
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            try:
                await self.flush()
            except Exception as error:  # whatever it is, the alerts wait for better times
                self._observer.work_failed("alerts", error)
                await asyncio.sleep(self._settings.pause_ms / 1000)

    async def flush(self) -> None:
        """Keeps all that waits. Raises StoreUnavailable."""
        waiting = dict(self._waiting)
        if waiting:
            await self._keep(waiting)
        for key in waiting:
            self._waiting.pop(key, None)

    async def _look(self, balance: WindowBalance, now_ms: int) -> None:
        """Looks closely, and remembers until when there is no need to."""
        budget = await self._budget(balance)
        if budget is None:
            return
        window = balance.window
        at_ms = now_ms if window.end_ms is None else min(now_ms, window.end_ms - 1)
        base, until_ms = limits_at(budget, window.each_value, at_ms)
        limits = base.changed_by(balance.change)
        async with self._telling:
            reminded = await self._remind(balance, budget, limits)
            await self._tell(balance, budget, limits)
        untils = [each for each in (until_ms, reminded) if each is not None]
        below = alerting.quiet_below(budget, limits, balance.spent)
        calm = _Calm(balance.version, balance.change, below, min(untils, default=None))
        self._calm.put((balance.organization, window), calm)

    async def _budget(self, balance: WindowBalance) -> Budget | None:
        """The budget of a window as the ledger's transaction could see it."""
        if not balance.version:
            return None
        try:
            plans = await self._configurations.at_least(balance.organization, balance.version)
        except OrganizationNotFound:
            return None
        return plans.configuration.budgets.get(balance.window.budget)

    async def _tell(self, balance: WindowBalance, budget: Budget, limits: Limits) -> None:
        due = {
            _key(balance.organization, balance.window, found.step): found
            for found in alerting.reached(budget, limits, balance.spent)
        }
        alerts = {
            key: _alert_of_balance(balance, budget, limits, found)
            for key, found in due.items()
            if not self._told.get(key)
        }
        if alerts:
            await self._keep(alerts)

    async def _remind(self, balance: WindowBalance, budget: Budget, limits: Limits) -> int | None:
        """Tells again what a SOFT budget over its limit has told, if it is time. Until when it is not;
        `None`: for good, as with a cooldown of 0.
        """
        found = alerting.overage(budget, limits, balance.spent) if budget.alert_cooldown_ms else None
        if found is None:
            return None
        if not self._told.get(_key(balance.organization, balance.window, found.step)):
            return self._now_ms()  # it tells for the first time now; the next look asks when it may again
        alert = _alert_of_balance(balance, budget, limits, found)
        return self._now_ms() + await self._store.remind(alert, budget.alert_cooldown_ms)

    async def _keep(self, alerts: dict[_Key, Alert]) -> None:
        await self._store.fire(list(alerts.values()))
        for key in alerts:
            self._told.put(key, True)


def _key(organization: str, window: WindowRef, step: LadderStep) -> _Key:
    return _Key(organization, window.budget, window.each_value, window.start_ms, step)


def _alert_of_stop(organization: str, stop: Stop) -> Alert:
    return Alert(
        organization=organization,
        window=stop.term.window,
        step=stop.step,
        meter=stop.meter,
        mode=stop.budget.mode,
        limit=stop.term.limits_with(stop.counters)[stop.meter] or 0,
        spent=stop.counters.spent[stop.meter],
        held=stop.counters.held[stop.meter],
        display_name=stop.budget.display_name,
        time_zone=stop.budget.time_zone,
        recipients=stop.budget.recipients,
        subject=stop.subject,
    )


def _alert_of_balance(balance: WindowBalance, budget: Budget, limits: Limits, found: Reached) -> Alert:
    return Alert(
        organization=balance.organization,
        window=balance.window,
        step=found.step,
        meter=found.meter,
        mode=budget.mode,
        limit=limits[found.meter] or 0,
        spent=balance.spent[found.meter],
        display_name=budget.display_name,
        time_zone=budget.time_zone,
        recipients=budget.recipients,
    )
