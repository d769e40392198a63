"""Sentences for the person at the other end: which budget, how much, when it resets, what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never
from zoneinfo import ZoneInfo

from quota_service.domain.admission import Excess
from quota_service.domain.amounts import Meter
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import (
    Action,
    Block,
    Budget,
    Downgrade,
    LadderStep,
    Mode,
    Notify,
    Restrict,
)
from quota_service.domain.decision import Reason, Violation
from quota_service.domain.model_policy import ANY_MODEL, ModelPolicy
from quota_service.domain.period import EPOCH
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.terms import Counters, Term

MESSAGE_LENGTH_MAX = 300
NAME_LENGTH_MAX = 60
"""Of a budget or a value in a sentence: what matters most, the amounts and the reset, comes behind it."""

MODEL_LENGTH_MAX = 120
"""Of a model and its provider in a sentence about them."""

MODELS_NAMED_MAX = 3

REASON_LENGTH_MIN = 80
"""What a help_url must leave of a message for the reason. A longer one is not shown: half of it would be of
no use.
"""

_TO_DO = {
    Reason.BUDGET_EXHAUSTED: "Ask for a higher limit.",
    Reason.NO_BUDGET: "Ask for a budget that covers it.",
    Reason.RATE_LIMITED: "Send a smaller request.",
    Reason.MODEL_UNKNOWN: "Use a model that the catalogue prices.",
    Reason.MODEL_NOT_ALLOWED: "Use an allowed model.",
    Reason.SUBJECT_DISABLED: "Ask an administrator to enable it.",
    Reason.API_KEY_REVOKED: "Use another key.",
    Reason.SUBJECT_UNKNOWN: "Ask an administrator to register it.",
    Reason.SUBJECT_CONTRADICTORY: "Send only what belongs together.",
    Reason.DIMENSION_REQUIRED: "Send it with the request.",
    Reason.TOO_MANY_VALUES: "Ask for a higher maximum.",
    Reason.STORE_UNAVAILABLE: "Try again in a moment.",
}


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


def wait(milliseconds: int) -> str:
    """How long to wait: `0.4 s`, `12 s`, `5 min`; never less than it is."""
    if milliseconds < 1_000:
        return f"0.{-(-milliseconds // 100)} s" if milliseconds <= 900 else "1 s"
    seconds = -(-milliseconds // 1_000)
    return f"{seconds} s" if seconds < 180 else f"{-(-seconds // 60)} min"


def name_of(budget: Budget | RateLimit, each_value: str) -> str:
    """The budget or rate limit as people call it, with the value whose counter it is."""
    name = f"“{_cut(budget.display_name or budget.id, NAME_LENGTH_MAX)}”"
    return f"{name} of {_cut(each_value, NAME_LENGTH_MAX)}" if each_value else name


def exhausted(budget: Budget, term: Term, counters: Counters, meter: Meter, requested: int) -> str:
    """A budget has no room, even if everything held returned."""
    ends = reset(term.window.end_ms, budget)
    return (
        f"Budget {name_of(budget, term.window.each_value)} has no room for {amount(requested, meter)}: "
        f"{_standing(term, counters, meter)}{f'; it resets on {ends}' if ends else ''}."
    )


def held(budget: Budget, term: Term, counters: Counters, meter: Meter, requested: int) -> str:
    """A budget has no room while calls under way hold some of it."""
    return (
        f"Budget {name_of(budget, term.window.each_value)} has no room for {amount(requested, meter)} now: "
        f"{_standing(term, counters, meter)} by {counters.holds} "
        f"call{'' if counters.holds == 1 else 's'} under way."
    )


def too_many_values(what: str, limit: Budget | RateLimit, most: int, value: str) -> str:
    """A budget or rate limit has as many counters as it may have."""
    return short(
        f"{what} {name_of(limit, '')} counts at most {most} values of its tag and has none "
        f"left for “{_cut(value, NAME_LENGTH_MAX)}”."
    )


def rate_limited(limit: RateLimit, excess: Excess) -> str:
    """A rate limit has no room now, or (`wait_ms` `None`) never has so much."""
    meter = excess.term.meter
    asked, name = amount(excess.amount, meter), name_of(limit, excess.term.each_value)
    if excess.wait_ms is None:
        most = amount(excess.term.burst, meter)
        return f"Rate limit {name} lets {most} pass at once, and this needs {asked}."
    limited = f"{amount(limit.limit, meter)} per {_interval(limit.interval_ms)}"
    less = f", only for {amount(excess.room, meter)}" if excess.room else ""
    return f"Rate limit {name} of {limited} has no room for {asked} now{less}."


def _interval(milliseconds: int) -> str:
    for unit_ms, name in ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second")):
        if milliseconds % unit_ms == 0:
            number = milliseconds // unit_ms
            return name if number == 1 else f"{number} {name}s"
    return f"{milliseconds} ms"


def key_over(key: ApiKey) -> str:
    """A key's time is over."""
    ended = EPOCH + timedelta(milliseconds=key.end_ms or 0)
    return short(f"The time of API key “{key.id}” was over on {ended:%-d %B %Y at %H:%M} UTC.")


def model_not_allowed(policy: ModelPolicy, model: Model) -> str:
    """A policy does not let a model pass: which ones it does."""
    tiers = ", ".join(str(tier) for tier in sorted(policy.allowed_tiers))
    names = [f"{provider}/{'…' if name == ANY_MODEL else name}" for provider, name in policy.allowed_models]
    more = [f"{len(names) - MODELS_NAMED_MAX} more"] if len(names) > MODELS_NAMED_MAX else []
    kinds = [f"models of tier {tiers}"] if tiers else []
    allowed = ", ".join((*kinds, *names[:MODELS_NAMED_MAX], *more)) or "no model"
    who = f" for team {policy.team}" if policy.team else ""
    name = f"“{_cut(policy.display_name or policy.id, NAME_LENGTH_MAX)}”{who}"
    asked = _cut(f"{model.provider}/{model.model}", MODEL_LENGTH_MAX)
    return short(f"Model {asked} is not allowed by policy {name}, which allows {allowed}.")


def no_price(provider: str, model: str) -> str:
    """The catalogue does not price a model."""
    return f"The catalogue has no price for {_cut(f'{provider}/{model}', MODEL_LENGTH_MAX)}."


def over(budget: Budget, term: Term, counters: Counters, meter: Meter) -> str:
    """A budget that does not block is over its limit."""
    return short(
        f"Budget {name_of(budget, term.window.each_value)} is over its limit: "
        f"{_standing(term, counters, meter)}."
    )


def step_reached(budget: Budget, term: Term, counters: Counters, meter: Meter, step: LadderStep) -> str:
    """A step of a ladder has been reached: what happens from here on."""
    return short(
        f"Budget {name_of(budget, term.window.each_value)} has reached {step.at_percent} %: "
        f"{_standing(term, counters, meter)}{_from_here(budget, step.action)}."
    )


def _from_here(budget: Budget, action: Action) -> str:
    """Only hard budgets do more than tell."""
    if budget.mode is not Mode.HARD:
        return ""
    match action:
        case Notify():
            return ""
        case Restrict(max_tier=tier):
            return f"; from here on only models of tier {tier} or below pass"
        case Downgrade(provider=provider, model=model):
            return f"; from here on {provider}/{model} is used"
        case Block():
            return "; from here on nothing passes"
        case _:
            assert_never(action)


def downgraded(provider: str, model: str, why: str) -> str:
    """Another model was granted than was asked for."""
    return short(f"{provider}/{model} is granted instead. {why}")


def partial(granted: int, asked: int) -> str:
    """Fewer output tokens were granted than were asked for."""
    return f"Only {amount(granted, Meter.TOKENS)} of output fit, of {asked:,} asked for."


def store_unavailable() -> str:
    """The store of budgets is down, and the organization denies meanwhile."""
    return "The service cannot reach its store of budgets, and this organization denies while that lasts."


def degraded_cap_reached(requested_micros: int, cap_micros: int) -> str:
    """The store of budgets is down, and a request does not fit into what is granted meanwhile."""
    return (
        "The service cannot reach its store of budgets, and there is no room for "
        f"{amount(requested_micros, Meter.COST)} in the {amount(cap_micros, Meter.COST)} that may be granted "
        "while that lasts."
    )


def buffer_nearly_full() -> str:
    """The ledger has been down for so long that no room is left for the usage of further calls."""
    return (
        "The service has not reached its ledger for so long that it has hardly any room left for usage that "
        "waits to be written, so it allows nothing new while that lasts."
    )


def for_person(violation: Violation, help_url: str) -> str:
    """A denial in one message: what stands in the way, and one thing to do or where to turn."""
    text = violation.message
    if violation.reason is Reason.STORE_UNAVAILABLE:
        # How long an outage lasts nobody knows, and no page that help_url leads to changes it.
        return _closed(text, _TO_DO[violation.reason])
    if violation.retryable and violation.retry_ms is not None:
        return _closed(text, f"Try again in {wait(violation.retry_ms)}.")
    see = f"See {help_url}"
    is_shown = help_url and len(see) <= MESSAGE_LENGTH_MAX - REASON_LENGTH_MIN
    return _closed(text, see if is_shown else _to_do(violation))


def _to_do(violation: Violation) -> str:
    if violation.reason is Reason.BUDGET_EXHAUSTED and 0 < violation.ceiling < violation.requested:
        return "Send a smaller request, or ask for a higher limit."
    return _TO_DO.get(violation.reason, "")


def _closed(text: str, to_do: str) -> str:
    """The text with what to do behind it, which is never cut."""
    return f"{_cut(text, MESSAGE_LENGTH_MAX - len(to_do) - 1)} {to_do}" if to_do else short(text)


def short(message: str) -> str:
    return _cut(message, MESSAGE_LENGTH_MAX)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: max(0, length - 1)]}…"


def _standing(term: Term, counters: Counters, meter: Meter) -> str:
    limit = term.limits_with(counters)[meter] or 0
    parts = f"{amount(counters.spent[meter], meter)} spent of {amount(limit, meter)}"
    stop = term.ceilings_with(counters)[meter] or 0
    if stop != limit:
        parts = f"{parts} (this model stops at {amount(stop, meter)})"
    return f"{parts}, {amount(counters.held[meter], meter)} held" if counters.held[meter] else parts
