"""Counts what one process does, and reads its parts when somebody wants to know."""

from __future__ import annotations

from quota_service.application.health import Health
from quota_service.application.requests import AuthorizeRequest, AuthorizeResult, Authorizes
from quota_service.application.writing import LedgerWriter
from quota_service.domain.decision import Reason, decisive
from quota_service.edge.call_metrics import Both, CallMetrics
from quota_service.edge.calls import Observer
from quota_service.edge.traffic import Kind, Traffic
from quota_service.metrics import families
from quota_service.metrics.readings import Readings, Series, of_process
from quota_service.stores.valkey.connection import Connection
from quota_service.telemetry import StoreLog


class Metering:
    """Where metrics are not wanted nothing is counted, and calls pass through no layer for it."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted = wanted
        self._calls = CallMetrics()
        self._decisions: dict[tuple[str, ...], int] = {}

    def observer(self, other: Observer | None) -> Observer | None:
        """Who is told of calls, beside the other one."""
        if not self._wanted:
            return other
        return Both(self._calls, other) if other else self._calls

    def authorization(self, decides: Authorizes) -> Authorizes:
        """What decides, with its decisions counted."""
        return CountedAuthorization(decides, self._decisions) if self._wanted else decides

    def readings(
        self,
        traffic: Traffic,
        writer: LedgerWriter,
        log: StoreLog,
        valkey: Connection,
        health: Health,
        worker: str,
    ) -> Readings:
        """What has been counted so far, and how things are right now."""
        decided: Series = {labels: [float(count)] for labels, count in self._decisions.items()}
        return {
            families.CALLS.name: self._calls.ended(),
            families.CALL_SECONDS.name: self._calls.seconds(),
            families.CALLS_UNDER_WAY.name: {(kind.value,): [float(traffic.under_way(kind))] for kind in Kind},
            families.CALLS_REFUSED.name: {(kind.value,): [float(traffic.refused[kind])] for kind in Kind},
            families.DECISIONS.name: decided,
            families.LEDGER_ENTRIES.name: {(): [float(log.entries)]},
            families.LEDGER_WAITING.name: {(): [float(writer.waiting)]},
            families.DEAD_LETTERS.name: {(): [float(log.dead_letters)]},
            families.VALKEY_AVAILABLE.name: {(worker,): [float(valkey.available)]},
            families.POSTGRES_AVAILABLE.name: {(worker,): [float(health.ledger)]},
            **of_process(worker),
        }


class CountedAuthorization:
    """Implements `Authorizes`: counts what another one decides."""

    def __init__(self, decides: Authorizes, counts: dict[tuple[str, ...], int]) -> None:
        self._decides = decides
        self._counts = counts

    async def authorize(self, request: AuthorizeRequest) -> AuthorizeResult:
        result = await self._decides.authorize(request)
        if not request.validate_only:
            labels = _labels(result)
            self._counts[labels] = self._counts.get(labels, 0) + 1
        return result


def _labels(result: AuthorizeResult) -> tuple[str, str]:
    """The decision, and the reason for it; for a grant there is only the one that the store was away."""
    if result.violations:
        return "DENY", decisive(result.violations).reason.name
    is_degraded = result.hold is not None and result.hold.degraded
    return "ALLOW", Reason.STORE_UNAVAILABLE.name if is_degraded else ""
