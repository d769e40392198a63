"""Why a request was denied or diverted, limit by limit, and what the caller of an allowed one should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from quota_service.application import messages
from quota_service.application.alerts import Stop
from quota_service.domain.admission import Excess, Shortfall, excesses, shortfalls
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.budget import Budget, Mode
from quota_service.domain.commands import Denied
from quota_service.domain.decision import Caution, Reason, Violation
from quota_service.domain.ladder import LadderModel, ladder_of, reached, stopping_steps
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Counters, Term, Terms


class Stopped(Protocol):
    """Told of the steps of ladders that stop requests. Never raises, never waits."""

    def stopped(self, organization: str, stops: Sequence[Stop]) -> None: ...


class Counted(Protocol):
    """Told of every denial. Never raises, never waits."""

    def denied(
        self,
        organization: str,
        subject: Subject,
        provider: str,
        model: str,
        violations: tuple[Violation, ...],
        now_ms: int,
    ) -> None: ...


HELD_RETRY_MS_MAX = 5_000
"""Holds mostly end before their time: waiting longer for one would waste the caller's."""


STORE_RETRY_MS = 2_000
"""When to ask again what the outage of a store denied: it costs the service next to nothing."""


def outage(message: str) -> Violation:
    """The one reason to deny a request while a store is down; `message` is one of `messages`."""
    return Violation(
        reason=Reason.STORE_UNAVAILABLE,
        message=messages.short(message),
        retryable=True,
        retry_ms=STORE_RETRY_MS,
    )


def violations(
    denied: Denied,
    budgets: Sequence[Budget],
    terms: Terms,
    demand: Amounts,
    rate_limits: Mapping[str, RateLimit],
) -> tuple[Violation, ...]:
    """Every limit that did not fit."""
    found = [
        _shortfall(short, denied, budgets[short.position], terms.budgets[short.position], demand)
        for short in shortfalls(terms.budgets, denied.counters, demand, Mode.HARD)
    ]
    full = [_full(position, budgets, terms, rate_limits) for position in denied.full]
    rates = [
        _rate_limited(excess, rate_limits[excess.term.limit])
        for excess in excesses(terms.rates, denied.gauges, demand, denied.now_ms)
    ]
    return (*found, *full, *rates)


def _shortfall(short: Shortfall, denied: Denied, budget: Budget, term: Term, demand: Amounts) -> Violation:
    counters, meter = denied.counters[short.position], short.meter
    ceiling, requested = term.ceilings_with(counters)[meter] or 0, demand[meter]
    explain = messages.held if short.only_held else messages.exhausted
    return Violation(
        reason=Reason.BUDGET_HELD if short.only_held else Reason.BUDGET_EXHAUSTED,
        message=messages.short(explain(budget, term, counters, meter, requested)),
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


def _full(
    position: int, budgets: Sequence[Budget], terms: Terms, rate_limits: Mapping[str, RateLimit]
) -> Violation:
    """A budget, or behind them a rate limit, that has no counter left for a new value."""
    if position < len(budgets):
        budget, term = budgets[position], terms.budgets[position]
        return Violation(
            reason=Reason.TOO_MANY_VALUES,
            message=messages.too_many_values("Budget", budget, term.max_values, term.window.each_value),
            source=f"budgets/{budget.id}",
            each_value=term.window.each_value,
            reset_ms=term.window.end_ms,
        )
    rate = terms.rates[position - len(budgets)]
    limit = rate_limits[rate.limit]
    return Violation(
        reason=Reason.TOO_MANY_VALUES,
        message=messages.too_many_values("Rate limit", limit, rate.max_values, rate.each_value),
        source=f"rateLimits/{limit.id}",
        each_value=rate.each_value,
    )


def _rate_limited(excess: Excess, limit: RateLimit) -> Violation:
    """`limit` is what may pass in an interval, `ceiling` the burst, `spent` how much of that is in use."""
    term = excess.term
    return Violation(
        reason=Reason.RATE_LIMITED,
        message=messages.short(messages.rate_limited(limit, excess)),
        source=f"rateLimits/{limit.id}",
        each_value=term.each_value,
        meter=term.meter,
        limit=limit.limit,
        ceiling=term.burst,
        spent=term.burst - excess.room,
        requested=excess.amount,
        retryable=excess.wait_ms is not None,
        retry_ms=excess.wait_ms,
    )


def stops(
    counters: Mapping[WindowRef, Counters],
    budgets: Sequence[Budget],
    terms: Sequence[Term],
    demand: Amounts,
    model: LadderModel,
    subject: Subject,
) -> list[Stop]:
    """The steps of ladders that stopped a model, one a budget, as far as it is known where budgets stand."""
    known = [(budget, term) for budget, term in zip(budgets, terms, strict=True) if term.window in counters]
    standing = [counters[term.window] for _, term in known]
    found: dict[int, Stop] = {}
    for short in shortfalls([term for _, term in known], standing, demand, Mode.HARD):
        budget, term = known[short.position]
        step = min(stopping_steps(budget, model), key=lambda each: each.at_percent)
        state = standing[short.position]
        found.setdefault(short.position, Stop(budget, term, state, short.meter, step, subject))
    return list(found.values())


_CAUTIONS = {Mode.SOFT: Reason.SOFT_LIMIT, Mode.MONITOR: Reason.WOULD_DENY}


def cautions(
    budgets: Sequence[Budget], terms: Sequence[Term], counters: Sequence[Counters]
) -> tuple[Caution, ...]:
    """What the caller of a granted request should know. Counters are those after the grant."""
    return (*_over(budgets, terms, counters), *_steps(budgets, terms, counters))


def _over(budgets: Sequence[Budget], terms: Sequence[Term], counters: Sequence[Counters]) -> list[Caution]:
    """Budgets that let a request pass although it is above their ceiling."""
    return [
        Caution(
            _CAUTIONS[mode],
            messages.over(
                budgets[short.position], terms[short.position], counters[short.position], short.meter
            ),
            f"budgets/{budgets[short.position].id}",
            terms[short.position].window.each_value,
        )
        for mode in _CAUTIONS
        if any(term.mode is mode for term in terms)
        for short in shortfalls(terms, counters, NOTHING, mode)
    ]


def _steps(budgets: Sequence[Budget], terms: Sequence[Term], counters: Sequence[Counters]) -> list[Caution]:
    """Steps of ladders that what is spent has reached."""
    return [
        Caution(
            Reason.LADDER_STEP,
            messages.step_reached(budget, term, state, each.meter, each.step),
            f"budgets/{budget.id}",
            term.window.each_value,
        )
        for budget, term, state in zip(budgets, terms, counters, strict=True)
        if any(state.spent)
        for each in reached(ladder_of(budget), term.limits_with(state), state.spent)
    ]
