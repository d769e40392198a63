"""Prices of public models, from the data that the package genai-prices carries (nothing is fetched).

What becomes of its prices:

- USD per million tokens become integer pico-USD per token, rounded up.
- Dated prices become dated rates; prices by input length become one rate for each length.
- Prices by the time of day: the dearest, because a rate must hold for the whole life of a hold.
- Where there is no price for cached input or for cache writes, the price of input. Cache writes have one
  price, the usual one; longer-lived ones at a price of their own are charged as usual ones.
- Models without prices per token are left out. Prices per request, per search, per image, for audio or for
  reasoning tokens are not known to the catalogue and ignored.

The package takes 0.3 s to import, so that happens only where its data is needed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from quota_service.domain.configuration import ModelKey
from quota_service.domain.pricing import DatedRate, Model, Rate

if TYPE_CHECKING:
    from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, TieredPrices

_RULES = 1
"""Raised when the rules above change, so that the catalogue is imported again."""

_PICO_PER_MTOK_USD = 1_000_000
_ALIASES_MAX = 4_096


def fingerprint() -> str:
    """Tells one state of the imported catalogue from another, without importing the data."""
    return f"genai-prices {importlib.metadata.version('genai-prices')}, rules {_RULES}"


def imported_models() -> Iterator[Model]:
    """Every model with prices per token."""
    for provider in _providers():
        for info in provider.models:
            prices = _dated_rates(info)
            if prices:
                yield Model(
                    provider=provider.id,
                    model=info.id,
                    display_name=info.name or "",
                    prices=prices,
                    imported=True,
                )


class GenaiAliases:
    """Implements `ModelAliases` by the package's rules: dated names, other providers' models on a cloud."""

    def __init__(self) -> None:
        # The package's own caches have no bound, and names come from callers.
        self.resolve = lru_cache(maxsize=_ALIASES_MAX)(_resolve)

    def warm(self) -> None:
        """Imports the data now, from a thread, so that the first unknown name makes nobody wait."""
        _providers()


def _resolve(provider: str, model: str) -> ModelKey | None:
    from genai_prices.data_snapshot import find_provider_by_id

    providers = _providers()
    found = find_provider_by_id(providers, provider) if provider else None
    info = found.find_model(model, all_providers=providers) if found else None
    return None if info is None else _names()[id(info)]


def _providers() -> list[Provider]:
    from genai_prices.data import providers

    return providers


@lru_cache(maxsize=1)
def _names() -> dict[int, ModelKey]:
    """Which provider a model is from: on a cloud, it is another than the one asked for."""
    return {id(info): (provider.id, info.id) for provider in _providers() for info in provider.models}


def _dated_rates(info: ModelInfo) -> tuple[DatedRate, ...]:
    """The rates of each period.

    A length that an earlier period priced apart is priced apart in later ones too.
    """
    conditions = _conditions(info)
    lengths: set[int] = set()
    dated: list[DatedRate] = []
    for start_ms in sorted({_start_ms(condition) for condition in conditions}):
        prices = [price for price in _in_force(conditions, start_ms) if _per_token(price)]
        lengths |= {length for price in prices for length in _lengths(price)}
        dated += [DatedRate(start_ms, _dearest(prices, length)) for length in sorted(lengths) if prices]
    return tuple(dated)


def _conditions(info: ModelInfo) -> Sequence[ConditionalPrice]:
    from genai_prices.types import ConditionalPrice

    return info.prices if isinstance(info.prices, list) else [ConditionalPrice(prices=info.prices)]


def _start_ms(condition: ConditionalPrice) -> int:
    from genai_prices.types import StartDateConstraint

    if not isinstance(condition.constraint, StartDateConstraint):
        return 0
    day = condition.constraint.start_date
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000


def _in_force(conditions: Sequence[ConditionalPrice], instant_ms: int) -> list[ModelPrice]:
    """The price of an instant and those of some times of its day.

    Of all that hold, the package takes the last.
    """
    from genai_prices.types import TimeOfDateConstraint

    prices: list[ModelPrice] = []
    for condition in conditions:
        if isinstance(condition.constraint, TimeOfDateConstraint):
            prices.append(condition.prices)
        elif _start_ms(condition) <= instant_ms:
            prices = [condition.prices]
    return prices


def _per_token(price: ModelPrice) -> bool:
    return price.input_mtok is not None or price.output_mtok is not None


def _lengths(price: ModelPrice) -> set[int]:
    """Above how many input tokens something costs another price; 0 is always among them."""
    parts = (price.input_mtok, price.cache_read_mtok, price.cache_write_mtok, price.output_mtok)
    return {0} | {tier.start for part in parts for tier in getattr(part, "tiers", ())}


def _dearest(prices: Sequence[ModelPrice], length: int) -> Rate:
    rates = [_rate(price, length) for price in prices]
    return Rate(length, *(max(parts) for parts in zip(*(rate[1:] for rate in rates), strict=True)))


def _rate(price: ModelPrice, length: int) -> Rate:
    input_pico = _pico(price.input_mtok, length) or 0
    cached = _pico(price.cache_read_mtok, length)
    written = _pico(price.cache_write_mtok, length)
    return Rate(
        length,
        input_pico,
        input_pico if cached is None else cached,
        input_pico if written is None else written,
        _pico(price.output_mtok, length) or 0,
    )


def _pico(price: Decimal | TieredPrices | None, length: int) -> int | None:
    """The price of a token in a request of more than `length` input tokens."""
    if price is None:
        return None
    if not isinstance(price, Decimal):
        tiers = [tier.price for tier in price.tiers if tier.start <= length]
        price = tiers[-1] if tiers else price.base
    return int((price * _PICO_PER_MTOK_USD).to_integral_value(ROUND_CEILING))
