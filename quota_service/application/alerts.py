"""Alerts: each step of a budget's ladder tells once in a window, over the whole fleet.

PostgreSQL decides what is the first time: its unique index is what keeps replicas from telling twice. What
has been told is remembered here, so that the usual request and the usual batch ask nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from quota_service.application.alert_ports import AlertStore
from quota_service.application.configurations import Configurations
from quota_service.application.ports import WindowBalance
from quota_service.application.writing import Observer
from quota_service.domain import alerting
from quota_service.domain.alerting import Alert
from quota_service.domain.amounts import Limits, Meter
from quota_service.domain.budget import Budget, LadderStep, Mode, limits_at
from quota_service.domain.commands import Counters, Term
from quota_service.domain.errors import OrganizationNotFound
from quota_service.domain.ladder import Reached
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Subject


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
    """`queue_max` stops wait to be kept, `remembered_max` steps are known to have told. After a failure there
    is a pause of `pause_ms`.
    """

    queue_max: int = 10_000
    remembered_max: int = 100_000
    pause_ms: int = 1_000


class _Key(NamedTuple):
    """What tells once."""

    organization: str
    budget: str
    each_value: str
    start_ms: int
    step: LadderStep | None  # `None`: the reminders of the window


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
        self._told: set[_Key] = set()
        self._quiet_until_ms: dict[_Key, int] = {}
        self._waiting: dict[_Key, Alert] = {}
        self._wake = asyncio.Event()

    def stopped(self, organization: str, stops: Sequence[Stop]) -> None:
        """Takes note of what stopped a request; what has told already costs nothing more. Never raises.

        What does not fit into the queue is told of by the next request that the step stops.
        """
        for stop in stops:
            key = _key(organization, stop.term.window, stop.step)
            known = key in self._told or key in self._waiting
            if stop.budget.mode is not Mode.HARD or known or len(self._waiting) >= self._settings.queue_max:
                continue
            self._waiting[key] = _alert_of_stop(organization, stop)
            self._wake.set()

    async def charged(self, balances: Iterable[WindowBalance]) -> None:
        """Tells of every step that spending has reached. Raises StoreUnavailable: then the same balances, or
        later ones, must be brought again.
        """
        due: dict[_Key, Alert] = {}
        reminders: list[tuple[Alert, int]] = []
        for balance in balances:
            known = await self._budget(balance)
            if known is not None:
                due |= self._due(balance, *known)
                reminders += self._reminders(balance, *known)
        if due:
            await self._keep(due)
        for alert, cooldown_ms in reminders:
            await self._remind(alert, cooldown_ms)

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

    async def _budget(self, balance: WindowBalance) -> tuple[Budget, Limits] | None:
        """The budget of a window as the ledger's transaction could see it, and the window's limits."""
        if not balance.version:
            return None
        try:
            plans = await self._configurations.at_least(balance.organization, balance.version)
        except OrganizationNotFound:
            return None
        window = balance.window
        budget = plans.configuration.budgets.get(window.budget)
        if budget is None:
            return None
        now_ms = self._now_ms()
        at_ms = now_ms if window.end_ms is None else min(now_ms, window.end_ms - 1)
        limits, _ = limits_at(budget, window.each_value, at_ms)
        return budget, limits.changed_by(balance.change)

    def _due(self, balance: WindowBalance, budget: Budget, limits: Limits) -> dict[_Key, Alert]:
        """What has not told yet."""
        due = {}
        for found in alerting.reached(budget, limits, balance.spent):
            key = _key(balance.organization, balance.window, found.step)
            if key not in self._told:
                due[key] = _alert_of_balance(balance, budget, limits, found)
        return due

    def _reminders(self, balance: WindowBalance, budget: Budget, limits: Limits) -> list[tuple[Alert, int]]:
        """What may have to be told again. A cooldown of 0 is never over."""
        found = alerting.overage(budget, limits, balance.spent) if budget.alert_cooldown_ms else None
        if found is None:
            return []
        if _key(balance.organization, balance.window, found.step) not in self._told:
            return []  # it tells for the first time now
        reminders = _key(balance.organization, balance.window, None)
        if self._now_ms() < self._quiet_until_ms.get(reminders, 0):
            return []
        return [(_alert_of_balance(balance, budget, limits, found), budget.alert_cooldown_ms)]

    async def _keep(self, alerts: dict[_Key, Alert]) -> None:
        await self._store.fire(list(alerts.values()))
        if len(self._told) + len(alerts) > self._settings.remembered_max:
            self._told.clear()
        self._told.update(alerts)

    async def _remind(self, alert: Alert, cooldown_ms: int) -> None:
        wait_ms = await self._store.remind(alert, cooldown_ms)
        if len(self._quiet_until_ms) >= self._settings.remembered_max:
            self._quiet_until_ms.clear()
        self._quiet_until_ms[_key(alert.organization, alert.window, None)] = self._now_ms() + wait_ms


def _key(organization: str, window: WindowRef, step: LadderStep | None) -> _Key:
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
