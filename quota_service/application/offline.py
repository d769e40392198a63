"""Settles reservations in the ledger alone, while the deciding store is away.

Its keys learn of it afterwards: what is written here is pending for them (see `recovery`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from quota_service.application import outage_entries
from quota_service.application.health import Health
from quota_service.application.ledger_ports import Ledger, Written
from quota_service.application.requests import ReleaseResult
from quota_service.application.writing import Watch
from quota_service.domain import commands
from quota_service.domain.book import Book
from quota_service.domain.errors import ReservationUnknown, StoreUnavailable
from quota_service.domain.ledger import Entry
from quota_service.domain.reservation import Hold, State

PARTS_MAX = 10
"""How many partial Commits that the ledger learns of meanwhile one may step over."""


class Offline:
    """The ledger's way to do what scripts do. Everything here raises StoreUnavailable where the ledger does
    not answer either.
    """

    def __init__(self, ledger: Ledger, watch: Watch, health: Health, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._health = health
        self._watch = watch
        self._now_ms = now_ms

    async def commit(self, command: commands.Commit) -> commands.CommitAnswer:
        """What the deciding store would answer; a charge is in the ledger by then. Raises ReservationUnknown
        where the ledger does not know the reservation: the deciding store might.
        """
        hold = await self._as_written(command.organization, command.reservation)
        now_ms = self._now_ms()
        for _ in range(PARTS_MAX):
            answer = Book(holds={hold.reservation: hold}).commit(command, _in_time(hold, now_ms))
            if not isinstance(answer, commands.Settled) or answer.replayed:
                return answer
            entry = outage_entries.of_commit(command, hold, answer)
            written = await self.write(replace(entry, late=entry.late or hold.due(now_ms)))
            if written is Written.CONFLICT and command.keep_open:
                hold = replace(hold, parts=hold.parts + 1, late_parts=hold.late_parts + 1)
                continue
            if written is Written.CONFLICT:
                return commands.Conflict(now_ms=answer.now_ms)
            return replace(answer, replayed=written is Written.REPLAYED)
        raise StoreUnavailable("The reservation is being committed by too many at once.")

    async def release(self, command: commands.Release) -> ReleaseResult:
        """As Release. Raises as `commit`."""
        hold = await self._as_written(command.organization, command.reservation)
        answer = Book(holds={hold.reservation: hold}).release(command, _in_time(hold, self._now_ms()))
        if not isinstance(answer, commands.Settled) or answer.replayed:
            return ReleaseResult(hold=hold, replayed=True)
        written = await self.write(outage_entries.of_release(answer.hold, command.reason))
        if written is Written.NEW:
            return ReleaseResult(hold=answer.hold, returned=answer.settlement.returned)
        return ReleaseResult(hold=await self.hold(command.organization, command.reservation), replayed=True)

    def require_ledger(self) -> None:
        """Raises StoreUnavailable where the ledger is known not to answer."""
        self._health.require_ledger()

    async def hold(self, organization: str, reservation: str) -> Hold:
        """The reservation as the ledger knows it, ended if its time is over. Raises ReservationUnknown."""
        hold = await self._as_written(organization, reservation)
        if hold.due(self._now_ms()):
            return replace(hold, state=State.EXPIRED, end_ms=hold.expire_ms)
        return hold

    async def _as_written(self, organization: str, reservation: str) -> Hold:
        self._health.require_ledger()
        hold = await self._ledger.hold(organization, reservation)
        if hold is None:
            raise ReservationUnknown("The ledger does not know the reservation, and Valkey does not answer.")
        return hold

    async def write(self, entry: Entry) -> Written:
        """One entry that the deciding store has not run."""
        written = await self._ledger.write([entry])
        if written.balances:
            await self._watch.charged(written.balances)
        return written.results[0]


def _in_time(hold: Hold, now_ms: int) -> int:
    """An instant at which the hold is not due. Only the deciding store expires holds, and what it does is not
    known now: so what the ledger sees live ends under the one key of its end, and meets there whatever the
    deciding store has done.
    """
    return min(now_ms, hold.expire_ms - 1) if hold.state is State.HELD else now_ms
