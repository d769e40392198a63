"""What an organization's windows are to be, worked out from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from quota_service.application.plans import Plans
from quota_service.application.recovery_ports import LiveHold, Restored
from quota_service.domain.amounts import Amounts
from quota_service.domain.ladder import LadderModel
from quota_service.domain.ledger import key_of_rollover
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Counters, Term
from quota_service.domain.windows import WindowKey, is_kept, key_of

_NO_MODEL = LadderModel("", "", None)


class _Window:
    """A window under way. Entries may name different ends for it, where its budget was changed meanwhile."""

    __slots__ = ("cost_micros", "counters", "holds", "ref", "requests", "term", "tokens")

    def __init__(self, ref: WindowRef, term: Term | None, counters: Counters) -> None:
        self.ref = ref
        self.term = term
        self.counters = counters
        self.cost_micros = self.tokens = self.requests = self.holds = 0

    def hold(self, cost_micros: int, tokens: int, requests: int, holds: int) -> None:
        self.cost_micros += cost_micros
        self.tokens += tokens
        self.requests += requests
        self.holds += holds

    def put_off(self, end_ms: int | None) -> None:
        """The end is the latest that was named."""
        if end_ms is None or (self.ref.end_ms is not None and end_ms > self.ref.end_ms):
            self.ref = self.ref._replace(end_ms=end_ms)


class Restoration:
    """Windows as the ledger has added them up, with what live holds hold in them."""

    def __init__(
        self, plans: Plans | None, now_ms: int, balances: Iterable[tuple[WindowRef, Counters]]
    ) -> None:
        self._plans = plans
        self._now_ms = now_ms
        self._by_key: dict[WindowKey, _Window] = {}
        self._by_ref: dict[WindowRef, _Window] = {}
        self._groups: dict[tuple[WindowRef, ...], list[int]] = {}  # what holds hold in the same windows
        for ref, counters in balances:
            self._window(ref, counters)

    def add(self, holds: Sequence[LiveHold]) -> None:
        """Counts live holds in their windows."""
        groups = self._groups
        for hold in holds:
            group = groups.get(hold.windows)
            if group is None:
                group = groups[hold.windows] = [0, 0, 0, 0]
                for ref in hold.windows:
                    self._window(ref, Counters())
            cost_micros, tokens, requests = hold.holds
            group[0] += cost_micros
            group[1] += tokens
            group[2] += requests
            group[3] += 1

    def term_of(self, ref: WindowRef) -> Term | None:
        """What the budget of a window that was named says of it by now; `None`: the budget is gone."""
        return self._by_ref[ref].term

    def rollover_keys(self) -> list[str]:
        """The ledger keys that tell whether something was carried into a window."""
        return [key_of_rollover(window.ref) for window in self._by_key.values() if _begins(window)]

    def windows(self, rolled_over: frozenset[str]) -> Iterator[Restored]:
        """Every window that counts. One into which something was carried is open; any other that begins with
        something is opened when it is first needed.
        """
        for refs, sums in self._groups.items():
            for ref in refs:
                self._by_ref[ref].hold(*sums)
        for window in self._by_key.values():
            if not is_kept(window.ref, self._now_ms):
                continue
            opened = _begins(window) and (
                self._began_running(window.ref) or key_of_rollover(window.ref) in rolled_over
            )
            counters = window.counters._replace(
                held=Amounts(window.cost_micros, window.tokens, window.requests),
                holds=window.holds,
                opened=window.term.opening if opened and window.term is not None else 0,
            )
            yield Restored(window.ref, counters, window.term)

    def _began_running(self, ref: WindowRef) -> bool:
        """Whether the window was running when its budget was made: it begins with where the ledger
        sees it.
        """
        assert self._plans is not None
        return ref.start_ms < self._plans.configuration.budgets[ref.budget].since_ms

    def _window(self, ref: WindowRef, counters: Counters) -> _Window:
        window = self._by_key.get(key_of(ref))
        if window is None:
            window = self._by_key[key_of(ref)] = _Window(ref, self._term(ref), counters)
        window.put_off(ref.end_ms)
        self._by_ref.setdefault(ref, window)
        return window

    def _term(self, ref: WindowRef) -> Term | None:
        found = self._plans.term_in(ref, _NO_MODEL, self._now_ms) if self._plans is not None else None
        return found[1] if found is not None else None


def _begins(window: _Window) -> bool:
    """Whether the window begins with something."""
    return window.term is not None and window.term.opening != 0
