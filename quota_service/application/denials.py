"""Why a request was denied, told limit by limit."""

from __future__ import annotations

from collections.abc import Sequence

from quota_service.application import messages
from quota_service.domain.admission import Shortfall, shortfalls
from quota_service.domain.amounts import Amounts
from quota_service.domain.budget import Budget, Mode
from quota_service.domain.commands import Counters, Denied, Term
from quota_service.domain.decision import Caution, Reason, Violation

HELD_RETRY_MS_MAX = 5_000
"""Holds mostly end before their time: waiting longer for one would waste the caller's."""


def violations(
    denied: Denied, budgets: Sequence[Budget], terms: Sequence[Term], demand: Amounts
) -> tuple[Violation, ...]:
    """Every limit that did not fit."""
    found = [
        _shortfall(short, denied, budgets[short.position], terms[short.position], demand)
        for short in shortfalls(terms, denied.counters, demand, Mode.HARD)
    ]
    full = [_full(budgets[position], terms[position]) for position in denied.full]
    return (*found, *full)


def _shortfall(short: Shortfall, denied: Denied, budget: Budget, term: Term, demand: Amounts) -> Violation:
    counters, meter = denied.counters[short.position], short.meter
    ceiling, requested = term.ceilings_with(counters)[meter] or 0, demand[meter]
    explain = messages.held if short.only_held else messages.exhausted
    return Violation(
        reason=Reason.BUDGET_HELD if short.only_held else Reason.BUDGET_EXHAUSTED,
        message=explain(budget, term, counters, meter, requested),
        source=f"budgets/{budget.id}",
        each_value=term.window.each_value,
        meter=meter,
        limit=term.limits_with(counters)[meter] or 0,
        ceiling=ceiling,
        spent=counters.spent[meter],
        held=counters.held[meter],
        requested=requested,
        holds=counters.holds,
        reset_ms=term.window.end_ms,
        retryable=short.only_held,
        retry_ms=_wait_ms(short, denied, term, fits_an_empty_window=requested <= ceiling),
    )


def _wait_ms(short: Shortfall, denied: Denied, term: Term, *, fits_an_empty_window: bool) -> int | None:
    if short.only_held:
        until_expiry = (denied.next_expiry_ms or denied.now_ms) - denied.now_ms
        return min(HELD_RETRY_MS_MAX, max(1, until_expiry))
    if term.window.end_ms is None or not fits_an_empty_window:
        return None
    return term.window.end_ms - denied.now_ms


def _full(budget: Budget, term: Term) -> Violation:
    return Violation(
        reason=Reason.TOO_MANY_VALUES,
        message=messages.too_many_values(budget, term),
        source=f"budgets/{budget.id}",
        each_value=term.window.each_value,
        reset_ms=term.window.end_ms,
    )


_CAUTIONS = {Mode.SOFT: Reason.SOFT_LIMIT, Mode.MONITOR: Reason.WOULD_DENY}


def cautions(
    budgets: Sequence[Budget], terms: Sequence[Term], counters: Sequence[Counters]
) -> tuple[Caution, ...]:
    """Budgets that let a request pass although it is above their ceiling. Counters are those after the
    grant.
    """
    nothing = Amounts()
    return tuple(
        Caution(
            _CAUTIONS[mode],
            messages.over(
                budgets[short.position], terms[short.position], counters[short.position], short.meter
            ),
            f"budgets/{budgets[short.position].id}",
            terms[short.position].window.each_value,
        )
        for mode in _CAUTIONS
        for short in shortfalls(terms, counters, nothing, mode)
    )
