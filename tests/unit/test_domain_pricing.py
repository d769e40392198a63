"""Usage × price → amounts, and which price holds when."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quota_service.domain.amounts import REQUEST_COST_MICROS_MAX, Amounts
from quota_service.domain.errors import AmountTooLarge, InvalidRequest, PriceNotAllowed
from quota_service.domain.pricing import (
    DEFAULT_OUTPUT_TOKENS,
    DatedRate,
    Model,
    Rate,
    RateCard,
    Usage,
    charge,
    cost_pico,
    exact_usd,
    micros_of,
    output_tokens,
    rate_card,
    rate_for,
    require_price,
)

RATE = Rate(0, 2_500_000, 1_250_000, 3_000_000, 10_000_000)
LONG = Rate(200_000, 5_000_000, 2_500_000, 6_000_000, 15_000_000)


@pytest.mark.parametrize(
    ("usage", "pico"),
    [
        (Usage(), 0),
        (Usage(input_tokens=1_000, output_tokens=500), 7_500_000_000),
        (Usage(input_tokens=1_000, cached_input_tokens=1_000), 1_250_000_000),
        (Usage(input_tokens=1_000, cached_input_tokens=600, cache_write_tokens=300), 1_900_000_000),
        (Usage(input_tokens=200_000), 500_000_000_000),
        (Usage(input_tokens=200_001), 1_000_005_000_000),  # the whole request is at the long rate
        (Usage(input_tokens=200_001, output_tokens=1), 1_000_020_000_000),
        (Usage(input_tokens=1_000, output_tokens=500, cost_micros=7), 7_000_000),  # the caller's own price
        (Usage(input_tokens=1_000, cost_micros=0), 0),
    ],
)
def test_a_usage_costs_its_tokens_at_the_rate_of_its_input(usage: Usage, pico: int) -> None:
    assert cost_pico((RATE, LONG), usage) == pico


@pytest.mark.parametrize(
    ("pico", "micros"),
    [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (8_999_999_999_999_999, 9_000_000_000)],
)
def test_a_cost_is_rounded_up_to_whole_micros(pico: int, micros: int) -> None:
    assert micros_of(pico) == micros


def test_a_request_is_rounded_once_and_not_part_by_part() -> None:
    rates = (Rate(0, 400_000, 400_000, 400_000, 600_000),)
    assert charge(rates, Usage(input_tokens=1, output_tokens=1)) == Amounts(1, 2, 1)


def test_tokens_are_all_input_and_all_output_and_a_call_is_one_request() -> None:
    usage = Usage(input_tokens=10, cached_input_tokens=4, cache_write_tokens=3, output_tokens=5)
    assert charge((RATE,), usage)[1:] == (15, 1)


@pytest.mark.parametrize("cost_micros", [REQUEST_COST_MICROS_MAX, REQUEST_COST_MICROS_MAX + 1])
def test_a_request_costs_at_most_nine_thousand_dollars(cost_micros: int) -> None:
    if cost_micros <= REQUEST_COST_MICROS_MAX:
        assert charge((RATE,), Usage(cost_micros=cost_micros)).cost_micros == cost_micros
    else:
        with pytest.raises(AmountTooLarge):
            charge((RATE,), Usage(cost_micros=cost_micros))


@pytest.mark.parametrize(("tokens", "rate"), [(0, RATE), (200_000, RATE), (200_001, LONG), (10**9, LONG)])
def test_the_rate_is_that_of_the_highest_threshold_that_is_exceeded(tokens: int, rate: Rate) -> None:
    assert rate_for((RATE, LONG), tokens) == rate


def test_the_exact_cost_is_a_decimal_of_dollars() -> None:
    assert exact_usd(1_234_567) == Decimal("0.000001234567")


OLD, NEW, NEW_LONG = RATE, RATE._replace(input_pico=1), LONG._replace(input_pico=2)
DATED = Model(
    provider="p",
    model="m",
    prices=(
        DatedRate(200, NEW),
        DatedRate(100, OLD),
        DatedRate(300, NEW_LONG),
        DatedRate(300, NEW),
        DatedRate(100, LONG),
    ),
)


@pytest.mark.parametrize(
    ("instant_ms", "card"),
    [
        (99, None),
        (100, RateCard((OLD, LONG), 100, 200)),
        (199, RateCard((OLD, LONG), 100, 200)),
        (200, RateCard((NEW,), 200, 300)),
        (300, RateCard((NEW, NEW_LONG), 300, None)),
        (10**13, RateCard((NEW, NEW_LONG), 300, None)),
    ],
)
def test_prices_hold_from_their_date_until_the_next(instant_ms: int, card: RateCard | None) -> None:
    assert rate_card(DATED, instant_ms) == card


def test_a_rate_for_long_requests_alone_is_no_price() -> None:
    assert rate_card(Model(provider="p", model="m", prices=(DatedRate(0, LONG),)), 5) is None


def test_a_model_without_prices_has_none_unless_its_callers_name_them() -> None:
    assert rate_card(Model(provider="p", model="m"), 5) is None
    free = rate_card(Model(provider="p", model="m", caller_priced=True), 5)
    assert free == RateCard((Rate(0, 0, 0, 0, 0),), 0, None)


@pytest.mark.parametrize(
    ("asked", "default", "most", "expected"),
    [
        (None, 0, 0, DEFAULT_OUTPUT_TOKENS),
        (None, 700, 0, 700),
        (None, 700, 500, 500),
        (0, 700, 500, 0),
        (100, 700, 500, 100),
        (900, 700, 500, 500),
        (900, 700, 0, 900),
    ],
)
def test_output_tokens_are_those_asked_for_up_to_the_models_maximum(
    asked: int | None, default: int, most: int, expected: int
) -> None:
    model = Model(provider="p", model="m", default_output_tokens=default, max_output_tokens=most)
    assert output_tokens(model, asked) == expected


def test_only_a_caller_priced_model_takes_a_price() -> None:
    require_price(Model(provider="p", model="m", caller_priced=True), 5, "estimate.cost_micros")
    with pytest.raises(InvalidRequest, match="required"):
        require_price(Model(provider="p", model="m", caller_priced=True), None, "estimate.cost_micros")
    require_price(Model(provider="p", model="m"), None, "estimate.cost_micros")
    with pytest.raises(PriceNotAllowed) as refused:
        require_price(Model(provider="p", model="m"), 0, "estimate.cost_micros")
    assert refused.value.problems[0].field == "estimate.cost_micros"
