"""Watches what a store answers and holds it to the guarantees, without asking how it came to its answers."""

from __future__ import annotations

from collections import Counter, defaultdict

from quota_service.domain import commands
from quota_service.domain.amounts import NOTHING, Amounts, Meter
from quota_service.domain.budget import Mode
from quota_service.domain.commands import Event
from quota_service.domain.ledger import EntryType
from quota_service.domain.reservation import Hold, WindowRef
from quota_service.domain.terms import Counters, Term
from quota_service.domain.windows import OUTLIVE_MS
from tests.support.twins import Twins


class Auditor:
    """Follows one organization. `charged`: what each window must have been charged, by the answers alone."""

    def __init__(self, twins: Twins) -> None:
        self._twins = twins
        self.charged: dict[WindowRef, Amounts] = defaultdict(Amounts)
        self.overrun: dict[WindowRef, Amounts] = defaultdict(Amounts)

    def authorized(self, command: commands.Authorize, answer: commands.AuthorizeAnswer) -> None:
        if isinstance(answer, commands.Granted) and not answer.replayed and not command.dry_run:
            _assert_within(command.alternatives[answer.choice].terms.budgets, answer.counters)

    def extended(self, command: commands.Extend, before: Hold | None, answer: commands.ExtendAnswer) -> None:
        """What adds nothing, because more has been charged already, may pass where nothing more would."""
        if not isinstance(answer, commands.Granted) or answer.replayed or before is None:
            return
        if answer.hold.remaining != before.remaining:
            _assert_within(command.terms.budgets, answer.counters)

    def settled(self, answer: commands.CommitAnswer | commands.ReleaseAnswer) -> None:
        if isinstance(answer, commands.Settled) and not answer.replayed:
            settlement = answer.settlement
            for window in self._kept(answer.hold.windows):
                self.charged[window] = self.charged[window].plus(settlement.charged)
                self.overrun[window] = self.overrun[window].plus(settlement.overrun)

    def recorded(self, command: commands.Record, answer: commands.RecordAnswer) -> None:
        if isinstance(answer, commands.Recorded) and not answer.replayed:
            for window in self._kept(command.hold.windows):
                self.charged[window] = self.charged[window].plus(command.charged)

    def audit(self) -> None:
        """Held is what live holds hold, spent is what was charged, and nothing is below zero."""
        held, holds = self._held()
        for window, counters in self._twins.counters().items():
            if not _is_kept(window, self._twins.now_ms):
                continue
            unsigned = counters._replace(added=NOTHING, moved=NOTHING)
            assert all(amount >= 0 for part in unsigned if isinstance(part, tuple) for amount in part), (
                counters
            )
            assert counters.held == held[window]
            assert counters.holds == holds[window]
            assert counters.spent == self.charged[window]
            assert counters.overrun == self.overrun[window]

    def audit_stream(self) -> None:
        """The events are what was answered and the expiries between; their keys are unique; together they
        say what the windows were charged.
        """
        stream = self._twins.stream()
        of_answers = [event for event in stream if event.entry.type is not EntryType.EXPIRE]
        for answered, found in zip(self._twins.events, of_answers, strict=True):
            assert answered == found, f"the caller got\n  {answered}\nand the stream has\n  {found}"
        keys = Counter(event.entry.key for event in stream)
        assert not [key for key, times in keys.items() if times > 1]
        assert _charged_by(stream) == {
            window: amounts for window, amounts in self.charged.items() if amounts != NOTHING
        }

    def _kept(self, windows: tuple[WindowRef, ...]) -> tuple[WindowRef, ...]:
        return tuple(window for window in windows if _is_kept(window, self._twins.now_ms))

    def _held(self) -> tuple[dict[WindowRef, Amounts], dict[WindowRef, int]]:
        held: dict[WindowRef, Amounts] = defaultdict(Amounts)
        holds: dict[WindowRef, int] = defaultdict(int)
        for hold in self._twins.book.holds.values():
            if hold.end_ms == 0 and self._twins.now_ms < hold.expire_ms:
                for window in hold.windows:
                    held[window] = held[window].plus(hold.held.beyond(hold.charged))
                    holds[window] += 1
        return held, holds


def _assert_within(terms: tuple[Term, ...], after: tuple[Counters, ...]) -> None:
    for term, counters in zip(terms, after, strict=True):
        for meter in Meter:
            ceiling = term.ceilings_with(counters)[meter]
            if term.mode is Mode.HARD and ceiling is not None:
                assert counters.spent[meter] + counters.held[meter] <= ceiling


def _is_kept(window: WindowRef, now_ms: int) -> bool:
    return window.end_ms is None or now_ms < window.end_ms + OUTLIVE_MS


def _charged_by(stream: list[Event]) -> dict[WindowRef, Amounts]:
    charged: dict[WindowRef, Amounts] = defaultdict(Amounts)
    for event in stream:
        entry = event.entry
        for window in entry.hold.windows:
            if entry.charged != NOTHING and _is_kept(window, entry.at_ms):
                charged[window] = charged[window].plus(entry.charged)
    return charged
