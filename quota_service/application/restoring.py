"""What an organization's windows are to be, worked out from the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence

from quota_service.application.recovery_ports import LiveHold, Restored
from quota_service.application.terms import keeping_of
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.configuration import Configuration
from quota_service.domain.ledger import key_of_rollover
from quota_service.domain.reservation import Keeping, WindowRef
from quota_service.domain.terms import Counters
from quota_service.domain.windows import WindowKey, is_kept, key_of


class _Window:
    """A window under way. Entries may name different ends for it, where its budget was changed meanwhile."""

    __slots__ = ("counters", "held", "holds", "keeping", "ref")

    def __init__(self, ref: WindowRef, keeping: Keeping | None, counters: Counters) -> None:
        self.ref = ref
        self.keeping = keeping
        self.counters = counters
        self.held = NOTHING
        self.holds = 0

    def put_off(self, end_ms: int | None) -> None:
        """The end is the latest that was named."""
        if end_ms is None or (self.ref.end_ms is not None and end_ms > self.ref.end_ms):
            self.ref = self.ref._replace(end_ms=end_ms)


class _Group:
    """Live holds that count in the same windows, and what they hold."""

    __slots__ = ("cost_micros", "holds", "requests", "tokens", "windows")

    def __init__(self, windows: Sequence[tuple[WindowRef, _Window]]) -> None:
        self.windows = windows
        self.cost_micros = self.tokens = self.requests = self.holds = 0


class Restoration:
    """Windows as the ledger has added them up, with what live holds hold in them."""

    def __init__(
        self,
        configuration: Configuration | None,
        now_ms: int,
        balances: Iterable[tuple[WindowRef, Counters]],
    ) -> None:
        self._budgets = configuration.budgets if configuration is not None else {}
        self._now_ms = now_ms
        self._by_key: dict[WindowKey, _Window] = {}
        self._groups: dict[bytes, _Group] = {}
        for ref, counters in balances:
            self._window(ref, counters)

    async def counting(
        self,
        parts: AsyncIterable[Sequence[LiveHold]],
        windows_of: Callable[[LiveHold], tuple[WindowRef, ...]],
    ) -> AsyncIterator[Sequence[LiveHold]]:
        """Live holds as they come, each counted in its windows."""
        groups = self._groups
        async for holds in parts:
            for hold in holds:
                group = groups.get(hold.windows)
                if group is None:
                    windows = [(ref, self._window(ref, Counters())) for ref in windows_of(hold)]
                    group = groups[hold.windows] = _Group(windows)
                cost_micros, tokens, requests = hold.holds
                group.cost_micros += cost_micros
                group.tokens += tokens
                group.requests += requests
                group.holds += 1
            yield holds

    def rollover_keys(self) -> list[str]:
        """The ledger keys that tell whether something was carried into a window."""
        return [key_of_rollover(window.ref) for window in self._by_key.values() if _begins(window)]

    def windows(self, rolled_over: frozenset[str]) -> Iterator[Restored]:
        """Every window that counts. One into which something was carried is open; any other that begins with
        something is opened when it is first needed.
        """
        for group in self._groups.values():
            held = Amounts(group.cost_micros, group.tokens, group.requests)
            for _, window in group.windows:
                window.held = window.held.plus(held)
                window.holds += group.holds
        for window in self._by_key.values():
            if not is_kept(window.ref, self._now_ms):
                continue
            opened = _begins(window) and (
                self._began_running(window.ref) or key_of_rollover(window.ref) in rolled_over
            )
            counters = window.counters
            if window.holds or opened:
                number = window.keeping.opening if opened and window.keeping is not None else 0
                counters = counters._replace(held=window.held, holds=window.holds, opened=number)
            yield Restored(window.ref, counters, window.keeping)

    def _began_running(self, ref: WindowRef) -> bool:
        """Whether the window was running when its budget was made: it begins with where the ledger
        sees it.
        """
        return ref.start_ms < self._budgets[ref.budget].since_ms

    def _window(self, ref: WindowRef, counters: Counters) -> _Window:
        key = key_of(ref)
        window = self._by_key.get(key)
        if window is None:
            budget = self._budgets.get(ref.budget)
            keeping = keeping_of(budget, ref) if budget is not None else None
            window = self._by_key[key] = _Window(ref, keeping, counters)
        else:
            window.put_off(ref.end_ms)
        return window


def _begins(window: _Window) -> bool:
    """Whether the window begins with something."""
    return window.keeping is not None and window.keeping.opening != 0
