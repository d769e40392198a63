"""The windows of a `Book`: counters by budget, value and start."""

from __future__ import annotations

from collections.abc import Iterable

from quota_service.domain import admission
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.budget import Mode
from quota_service.domain.reservation import Move, WindowRef
from quota_service.domain.terms import Counters, Term

OUTLIVE_MS = 48 * 3_600_000
"""How long a window is kept after its end; a charge to it that comes later is the ledger's alone."""

WindowKey = tuple[str, str, int]
Windows = dict[WindowKey, Counters]


def key_of(window: WindowRef) -> WindowKey:
    return window.budget, window.each_value, window.start_ms


def get(windows: Windows, window: WindowRef) -> Counters:
    return windows.get(key_of(window), Counters())


def counters(windows: Windows, wanted: Iterable[WindowRef]) -> tuple[Counters, ...]:
    return tuple(get(windows, window) for window in wanted)


def put(windows: Windows, window: WindowRef, counters_: Counters) -> None:
    """A counter without anything disappears, so that unused values of an `each` cost nothing."""
    if counters_._replace(blocked=NOTHING, overrun=NOTHING) == Counters():
        windows.pop(key_of(window), None)
    else:
        windows[key_of(window)] = counters_


def is_kept(window: WindowRef, now_ms: int) -> bool:
    """Whether charges still count in a window: one that ended long ago is the ledger's alone."""
    return window.end_ms is None or now_ms < window.end_ms + OUTLIVE_MS


def move(windows: Windows, wanted: Iterable[WindowRef], step: Move, now_ms: int) -> None:
    """Adds what a step of a reservation moves to each window that is still kept."""
    for window in wanted:
        if not is_kept(window, now_ms):
            continue
        before = get(windows, window)
        put(
            windows,
            window,
            before._replace(
                spent=before.spent.plus(step.spent),
                held=before.held.plus(step.held),
                holds=before.holds + step.holds,
                overrun=before.overrun.plus(step.overrun),
            ),
        )


def count_blocked(windows: Windows, terms: Iterable[Term], demand: Amounts) -> None:
    """Counts, in budgets that do not block, what a hard one would have blocked."""
    for term in terms:
        if term.mode is not Mode.HARD:
            before = get(windows, term.window)
            short = admission.short_meters(before, demand, term.ceilings_with(before))
            if short:
                put(windows, term.window, admission.count_blocked(before, short, demand))


def is_unopened(windows: Windows, term: Term) -> bool:
    """Whether a window must first be opened: it begins with something, and does not have it yet."""
    return term.opening != 0 and get(windows, term.window).opened != term.opening


def is_full(windows: Windows, term: Term) -> bool:
    """Whether a new value finds no counter left. A value counts where anything counts in its window."""
    if term.mode is not Mode.HARD or not term.max_values or is_used(get(windows, term.window)):
        return False
    budget, _, start_ms = key_of(term.window)
    used = (is_used(state) for key, state in windows.items() if (key[0], key[2]) == (budget, start_ms))
    return sum(used) >= term.max_values


def is_used(counters_: Counters) -> bool:
    """Whether anything counts in a window: then its value is in use."""
    return bool(counters_.holds) or not (
        counters_.spent == counters_.held == counters_.blocked_requests == NOTHING
    )
