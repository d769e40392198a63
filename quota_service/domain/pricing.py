"""Usage × price → amounts. Prices are integer pico-USD per token; a cost is rounded up once, to micro-USD."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from quota_service.domain.amounts import REQUEST_COST_MICROS_MAX, Amounts
from quota_service.domain.errors import AmountTooLarge, FieldProblem, InvalidRequest, PriceNotAllowed

PICO_PER_MICRO = 1_000_000
DEFAULT_OUTPUT_TOKENS = 4_096
"""What is assumed where neither the caller nor the catalogue says how long an answer may be."""


class Rate(NamedTuple):
    """Prices in pico-USD per token, for requests with more than `above_input_tokens` input tokens."""

    above_input_tokens: int
    input_pico: int
    cached_input_pico: int
    cache_write_pico: int
    output_pico: int


class DatedRate(NamedTuple):
    """A rate and the instant from which it holds."""

    start_ms: int
    rate: Rate


class RateCard(NamedTuple):
    """What a model costs, frozen: its rates by rising `above_input_tokens` (the first is 0), valid in
    `[from_ms, until_ms)`.
    """

    rates: tuple[Rate, ...]
    from_ms: int
    until_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A catalogue entry. `max_output_tokens` and `default_output_tokens` are 0 where unknown."""

    provider: str
    model: str
    display_name: str = ""
    tier: int | None = None
    max_output_tokens: int = 0
    default_output_tokens: int = 0
    caller_priced: bool = False
    prices: tuple[DatedRate, ...] = ()
    imported: bool = False


class Usage(NamedTuple):
    """What a call used. `input_tokens` includes cache reads and writes; `cost_micros` is the caller's own
    price.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int | None = None


def rate_card(model: Model, instant_ms: int) -> RateCard | None:
    """The model's rates at an instant: those of the latest start. `None` where it has no price then."""
    if model.caller_priced and not model.prices:
        return RateCard((Rate(0, 0, 0, 0, 0),), 0, None)
    start_ms = max((dated.start_ms for dated in model.prices if dated.start_ms <= instant_ms), default=None)
    if start_ms is None:
        return None
    in_force = sorted(dated.rate for dated in model.prices if dated.start_ms == start_ms)
    if in_force[0].above_input_tokens != 0:
        return None
    later = [dated.start_ms for dated in model.prices if dated.start_ms > instant_ms]
    return RateCard(tuple(in_force), start_ms, min(later, default=None))


def rate_for(rates: tuple[Rate, ...], input_tokens: int) -> Rate:
    """The rate of a request with that many input tokens."""
    chosen = rates[0]
    for rate in rates:
        if input_tokens > rate.above_input_tokens:
            chosen = rate
    return chosen


def cost_pico(rates: tuple[Rate, ...], usage: Usage) -> int:
    """The exact cost in pico-USD; a caller's own price counts in its place."""
    if usage.cost_micros is not None:
        return usage.cost_micros * PICO_PER_MICRO
    rate = rate_for(rates, usage.input_tokens)
    plain = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return (
        plain * rate.input_pico
        + usage.cached_input_tokens * rate.cached_input_pico
        + usage.cache_write_tokens * rate.cache_write_pico
        + usage.output_tokens * rate.output_pico
    )


def charge(rates: tuple[Rate, ...], usage: Usage) -> Amounts:
    """What a usage is charged in every meter. Raises AmountTooLarge above the cost of one request."""
    micros = micros_of(cost_pico(rates, usage))
    if micros > REQUEST_COST_MICROS_MAX:
        raise AmountTooLarge(
            f"A request may cost at most {REQUEST_COST_MICROS_MAX} micro-USD; this one costs {micros}."
        )
    return Amounts(micros, usage.input_tokens + usage.output_tokens, 1)


def micros_of(pico: int) -> int:
    """Pico-USD as micro-USD, rounded up."""
    return -(-pico // PICO_PER_MICRO)


def exact_usd(pico: int) -> Decimal:
    """Pico-USD as a decimal number of USD, exactly."""
    return Decimal(pico).scaleb(-12)


def output_tokens(model: Model, asked: int | None) -> int:
    """The output tokens to hold: what was asked, or the model's default, clamped to the model's maximum."""
    wanted = asked if asked is not None else (model.default_output_tokens or DEFAULT_OUTPUT_TOKENS)
    return min(wanted, model.max_output_tokens) if model.max_output_tokens else wanted


def require_price(model: Model, cost_micros: int | None, field: str) -> None:
    """Raises PriceNotAllowed where the caller names a price and the catalogue does not let it.

    Raises InvalidRequest where the caller must name one, because nobody else does.
    """
    if cost_micros is None and model.caller_priced and not model.prices:
        raise InvalidRequest(
            FieldProblem(field, f"is required: nobody else prices {model.provider}/{model.model}")
        )
    if cost_micros is not None and not model.caller_priced:
        raise PriceNotAllowed(
            f"{model.provider}/{model.model} is priced by the catalogue: it is not caller_priced.",
            field=field,
        )
