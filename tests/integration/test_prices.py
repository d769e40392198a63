"""The imported catalogue charges what genai-prices itself calculates."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as GenaiUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.types import TimeOfDateConstraint

from quota_service.domain.pricing import Model, Usage, cost_pico, exact_usd, rate_card
from quota_service.stores import prices

MODELS = {(model.provider, model.model): model for model in prices.imported_models()}
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
USAGES = [
    Usage(input_tokens=1_000, output_tokens=500),
    Usage(input_tokens=100_000, cached_input_tokens=60_000, output_tokens=1),
    Usage(input_tokens=200_000, output_tokens=10),
    Usage(input_tokens=200_001, cached_input_tokens=100, output_tokens=10),
    Usage(input_tokens=900_000, cached_input_tokens=100_000, cache_write_tokens=50_000, output_tokens=8_000),
]
SAMPLES = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-0"),
    ("anthropic", "claude-3-5-haiku-latest"),
    ("google", "gemini-2.5-pro"),
    ("google", "gemini-2.5-flash"),
]


def ours(model: Model, usage: Usage, at: datetime) -> Decimal:
    card = rate_card(model, int(at.timestamp()) * 1_000)
    assert card is not None
    return exact_usd(cost_pico(card.rates, usage))


def theirs(provider: str, model: str, usage: Usage, at: datetime) -> Decimal:
    reported = GenaiUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
    )
    return calc_price(reported, model, provider_id=provider, genai_request_timestamp=at).total_price


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize("key", SAMPLES, ids=lambda key: key[1])
def test_well_known_models_cost_what_the_package_says(key: tuple[str, str], usage: Usage) -> None:
    assert ours(MODELS[key], usage, NOW) == theirs(*key, usage, NOW)


def test_every_model_costs_at_least_what_the_package_says_at_every_date() -> None:
    """Never less, and only a rounding of the rates more (prices by the time of day aside)."""
    compared = 0
    for provider in providers:
        for info in provider.models:
            model = MODELS.get((provider.id, info.id))
            if model is None:
                continue
            conditions = info.prices if isinstance(info.prices, list) else []
            by_time_of_day = any(isinstance(each.constraint, TimeOfDateConstraint) for each in conditions)
            for start_ms in {dated.start_ms for dated in model.prices}:
                at = datetime.fromtimestamp(start_ms / 1_000 + 7_200, tz=UTC)
                price = info.get_prices(at)
                for usage in USAGES:
                    reported = GenaiUsage(
                        input_tokens=usage.input_tokens,
                        cache_read_tokens=usage.cached_input_tokens,
                        cache_write_tokens=usage.cache_write_tokens,
                        output_tokens=usage.output_tokens,
                    )
                    expected = Decimal(price.calc_price(reported)["total_price"])
                    if isinstance(price.requests_kcount, Decimal):
                        expected -= price.requests_kcount / 1_000
                    tokens = usage.input_tokens + usage.output_tokens
                    mine = ours(model, usage, at)
                    assert mine >= expected, (provider.id, info.id, usage)
                    if not by_time_of_day:
                        assert mine - expected <= exact_usd(tokens), (provider.id, info.id, usage)
                    compared += 1
    assert compared > 10_000


def test_tiers_begin_above_their_length() -> None:
    gemini = MODELS["google", "gemini-2.5-pro"]
    below, above = (ours(gemini, Usage(input_tokens=tokens), NOW) for tokens in (200_000, 200_001))
    assert (below, above) == (Decimal("0.25"), Decimal("0.5000025"))


def test_a_price_change_has_its_date() -> None:
    changed = [model for model in MODELS.values() if len({dated.start_ms for dated in model.prices}) > 1]
    assert len(changed) > 100


def test_the_dearest_time_of_day_counts() -> None:
    deepseek = MODELS["deepseek", "deepseek-chat"]
    usage = Usage(input_tokens=1_000_000)
    dear, cheap = (datetime(2025, 3, 1, hour, tzinfo=UTC) for hour in (2, 20))
    dear_usd, cheap_usd = (theirs("deepseek", "deepseek-chat", usage, at) for at in (dear, cheap))
    assert dear_usd > cheap_usd
    assert ours(deepseek, usage, dear) == ours(deepseek, usage, cheap) == dear_usd


def test_models_without_prices_per_token_are_left_out() -> None:
    assert 2_000 < len(MODELS) < sum(len(provider.models) for provider in providers)
    assert all(rate_card(model, 0) for model in MODELS.values())


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        (("openai", "gpt-4o-2024-08-06"), ("openai", "gpt-4o")),
        (("openai", "gpt-4o"), ("openai", "gpt-4o")),
        (("anthropic", "claude-sonnet-4-20250514"), ("anthropic", "claude-sonnet-4-0")),
        (("azure", "gpt-4o"), ("openai", "gpt-4o")),
        (("openai", "no-such-model"), None),
        (("nobody", "gpt-4o"), None),
        (("", "gpt-4o"), None),
    ],
)
def test_aliases_resolve_to_names_of_the_catalogue(
    spelling: tuple[str, str], name: tuple[str, str] | None
) -> None:
    aliases = prices.GenaiAliases()

    assert aliases.resolve(*spelling) == name
    assert name is None or name in MODELS


def test_the_data_is_imported_only_when_needed() -> None:
    script = (
        "import sys; from quota_service.stores import prices; prices.fingerprint(); prices.GenaiAliases();"
        "sys.exit('genai_prices' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
