"""What alerts and denials need of PostgreSQL. Everything here raises StoreUnavailable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from quota_service.domain.alerting import Alert
from quota_service.domain.decision import Reason
from quota_service.domain.subject import Dimension


class Consumer(NamedTuple):
    """Who spent, and how much, in the alert's meter. `id` "" is whoever nothing is known of."""

    dimension: Dimension
    id: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlert:
    """An alert as it is kept. `consumers` and `forecast_ms` are filled in a moment later; `forecast_ms`
    `None`: not known, or not within the window.
    """

    id: int
    alert: Alert
    create_ms: int
    consumers: tuple[Consumer, ...] = ()
    forecast_ms: int | None = None


class AlertStore(Protocol):
    """Takes alerts."""

    async def fire(self, alerts: Sequence[Alert]) -> None:
        """Keeps those whose step has not told yet in their window."""
        ...

    async def remind(self, alert: Alert, cooldown_ms: int) -> int:
        """Keeps the alert as the step's next reminder, unless the window's last alert is younger than the
        cooldown. In how many ms the next one may come.
        """
        ...


class DetailStore(Protocol):
    """Knows which alerts lack details."""

    async def fill_next(self, forecast: Callable[[StoredAlert], int | None]) -> bool:
        """Fills in the details of one alert that has none and that nobody else is at. Whether there was
        one.
        """
        ...


class AlertFilter(NamedTuple):
    """Which alerts; empty parts match everything. Times are of `create_ms`: `[from_ms, until_ms)`. `budgets`:
    only alerts of these; `None`: of whichever.
    """

    budget: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    budgets: Sequence[str] | None = None


class AlertLog(Protocol):
    """Lists alerts."""

    async def list(
        self, organization: str, filter_: AlertFilter, page_size: int, before: int | None
    ) -> tuple[Sequence[StoredAlert], int | None]:
        """Newest first, below the id `before`; with the id to go on from, `None` at the end."""
        ...


class DenialKey(NamedTuple):
    """What denials are counted by. `source` is relative: `budgets/team`; "" where no limit denied it."""

    organization: str
    minute_ms: int
    team: str
    user: str
    api_key: str
    project: str
    provider: str
    model: str
    reason: Reason
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DenialCount:
    """So many denials, and what the last of them was told."""

    key: DenialKey
    count: int
    message: str


class DenialStore(Protocol):
    """Where the counts of all replicas add up."""

    async def add(self, counts: Sequence[DenialCount]) -> None: ...


class DenialFilter(NamedTuple):
    """Which counts; empty parts match everything. Times are of the minute: `[from_ms, until_ms)`. `teams`:
    only counts of these; `None`: of whoever asked.
    """

    team: str = ""
    user: str = ""
    api_key: str = ""
    project: str = ""
    provider: str = ""
    model: str = ""
    reason: Reason | None = None
    source: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    teams: Sequence[str] | None = None


class DenialPosition(NamedTuple):
    """Where a page begins: below this minute and id."""

    minute_ms: int
    id: int


class DenialLog(Protocol):
    """Lists counts of denials."""

    async def list(
        self, organization: str, filter_: DenialFilter, page_size: int, before: DenialPosition | None
    ) -> tuple[Sequence[DenialCount], DenialPosition | None]:
        """The newest minute first; with the position to go on from, `None` at the end."""
        ...
