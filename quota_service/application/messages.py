"""Sentences for the person at the other end: which budget, how much, when it resets, what to do."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

from quota_service.domain.amounts import Meter
from quota_service.domain.budget import Budget
from quota_service.domain.commands import Counters, Term
from quota_service.domain.period import EPOCH

MESSAGE_LENGTH_MAX = 300


def amount(value: int, meter: Meter) -> str:
    """An amount as a person writes it: `$1,234.50`, `12,000 tokens`, `1 request`."""
    if meter is Meter.COST:
        return _dollars(value)
    unit = "token" if meter is Meter.TOKENS else "request"
    return f"{value:,} {unit}{'' if value == 1 else 's'}"


def _dollars(micros: int) -> str:
    """Cents where they tell enough, up to six digits where they would hide something."""
    sign, micros = ("-" if micros < 0 else ""), abs(micros)
    whole, fraction = divmod(micros, 1_000_000)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole:,}.{digits}"


def reset(end_ms: int | None, budget: Budget) -> str:
    """When a window ends, in the budget's time zone; "" where it never does."""
    if end_ms is None:
        return ""
    local = (EPOCH + timedelta(milliseconds=end_ms)).astimezone(ZoneInfo(budget.time_zone))
    return f"{local.day} {local:%b %Y %H:%M %Z}"


def name_of(budget: Budget, each_value: str) -> str:
    """The budget as people call it, with the value whose counter it is."""
    name = f"“{budget.display_name or budget.id}”"
    return f"{name} of {each_value}" if each_value else name


def exhausted(budget: Budget, term: Term, counters: Counters, meter: Meter, requested: int) -> str:
    """A budget has no room, even if everything held returned."""
    ends = reset(term.window.end_ms, budget)
    return _short(
        f"Budget {name_of(budget, term.window.each_value)} has no room for {amount(requested, meter)}: "
        f"{_standing(term, counters, meter)}{f'; it resets on {ends}' if ends else ''}."
    )


def held(budget: Budget, term: Term, counters: Counters, meter: Meter, requested: int) -> str:
    """A budget has no room while calls under way hold some of it."""
    return _short(
        f"Budget {name_of(budget, term.window.each_value)} has no room for {amount(requested, meter)} now: "
        f"{_standing(term, counters, meter)} by {counters.holds} "
        f"call{'' if counters.holds == 1 else 's'} under way; try again in a moment."
    )


def too_many_values(budget: Budget, term: Term) -> str:
    """A budget has as many counters as it may have."""
    return _short(
        f"Budget {name_of(budget, '')} counts at most {term.max_values} values of its tag and has none "
        f"left for “{term.window.each_value}”."
    )


def over(budget: Budget, term: Term, counters: Counters, meter: Meter) -> str:
    """A budget that does not block is over its limit."""
    return _short(
        f"Budget {name_of(budget, term.window.each_value)} is over its limit: "
        f"{_standing(term, counters, meter)}."
    )


def with_help(message: str, help_url: str) -> str:
    """A denial, with where to go from here."""
    return _short(f"{message} {help_url}") if help_url else message


def _standing(term: Term, counters: Counters, meter: Meter) -> str:
    limit = term.limits_with(counters)[meter] or 0
    parts = f"{amount(counters.spent[meter], meter)} spent of {amount(limit, meter)}"
    return f"{parts}, {amount(counters.held[meter], meter)} held" if counters.held[meter] else parts


def _short(message: str) -> str:
    return message if len(message) <= MESSAGE_LENGTH_MAX else f"{message[: MESSAGE_LENGTH_MAX - 1]}…"
