"""The worst-case bill of an organization's current windows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from quota_service.application.configurations import Configurations
from quota_service.application.plans import Plans
from quota_service.application.ports import HoldStore
from quota_service.application.statuses import ATTEMPTS, Status, Statuses
from quota_service.application.terms import term_of
from quota_service.domain.budget import Budget
from quota_service.domain.caps import Cap, caps, special_values
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.exposure import Exposure, exposure
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Basis, Counters, Term

WINDOWS_AT_ONCE = 500
"""How many windows are read in one step: the store does nothing else meanwhile."""


class Balances(Protocol):
    """What the ledger knows of counters."""

    async def values(self, organization: str, budget: str, start_ms: int) -> Sequence[str]:
        """The each values that have ever been charged in a budget's window of this start. Raises
        StoreUnavailable.
        """
        ...


class Exposures:
    """Reads what bounds the bill, under the current configuration."""

    def __init__(
        self, configurations: Configurations, holds: HoldStore, statuses: Statuses, balances: Balances
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._statuses = statuses
        self._balances = balances

    async def get(self, organization: str) -> Exposure:
        """Raises OrganizationNotFound, StoreUnavailable."""
        plans_ = await self._configurations.get(organization)
        for _ in range(ATTEMPTS):
            configuration, now_ms = plans_.configuration, self._holds.now_ms()
            # In a thread: with a large directory it takes longer than other calls should have to wait.
            found = await asyncio.to_thread(caps, configuration, now_ms)
            readings, plans_ = await self._read(plans_, found, now_ms)
            if readings is not None:
                return await asyncio.to_thread(exposure, configuration, found, readings, now_ms)
        raise StoreUnavailable("The configuration changes faster than it can be read.")

    async def _read(
        self, plans_: Plans, found: Sequence[Cap], now_ms: int
    ) -> tuple[dict[str, dict[str, Counters]] | None, Plans]:
        """Where the counters of these budgets stand, or `None` and the plans to try again with."""
        basis = _basis(plans_, found)
        terms = [
            (
                cap.budget,
                term_of(cap.budget, WindowRef(cap.budget.id, value, *cap.window), None, now_ms),
            )
            for cap in found
            for value in await self._values(basis.organization, cap)
        ]
        readings: dict[str, dict[str, Counters]] = {cap.budget.id: {} for cap in found}
        # Even with nothing to read the store is asked once: that proves the configuration current.
        for start in range(0, len(terms) or 1, WINDOWS_AT_ONCE):
            read, plans_ = await self._read_some(plans_, basis, terms[start : start + WINDOWS_AT_ONCE])
            if read is None:
                return None, plans_
            for status in read:
                readings[status.budget.id][status.term.window.each_value] = status.counters
        return readings, plans_

    async def _read_some(
        self, plans_: Plans, basis: Basis, terms: Sequence[tuple[Budget, Term]]
    ) -> tuple[Sequence[Status] | None, Plans]:
        """As `Statuses.read`, once more after windows had to be opened first."""
        read, newest = await self._statuses.read(plans_, basis, terms)
        if read is None and newest is plans_:
            read, newest = await self._statuses.read(plans_, basis, terms)
        return read, newest

    async def _values(self, organization: str, cap: Cap) -> Sequence[str]:
        """The values to look at: who can spend, and who has spent but may be gone from the directory."""
        known = special_values(cap.budget) if cap.values is None else cap.values
        if cap.budget.scope.each is None:
            return tuple(known)
        charged = await self._balances.values(organization, cap.budget.id, cap.window.start_ms)
        return sorted({*known, *charged})


def _basis(plans_: Plans, found: Sequence[Cap]) -> Basis:
    """The configuration, and the time in which all the windows run."""
    windows = [cap.window for cap in found]
    return Basis(
        organization=plans_.configuration.organization.id,
        version=plans_.configuration.version,
        from_ms=max((window.start_ms for window in windows), default=0),
        until_ms=min((window.end_ms for window in windows if window.end_ms is not None), default=None),
    )


def _window(cap: Cap, value: str) -> WindowRef:
    return WindowRef(cap.budget.id, value, *cap.window)
