"""What must hold for a catalogue entry. Field paths are relative to the model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from quota_service.domain.amounts import TOKENS_MAX
from quota_service.domain.faults import Fault
from quota_service.domain.pricing import DatedRate, Model

PRICE_PICO_MAX = 1_000_000_000_000
"""1 USD per token."""

TIER_MAX = 1_000
PRICES_MAX = 200

_NAME = re.compile(r"[!-~]+")
_PRICE_FIELDS = {
    "input_pico": "input_pico_usd_per_token",
    "cached_input_pico": "cached_input_pico_usd_per_token",
    "cache_write_pico": "cache_write_pico_usd_per_token",
    "output_pico": "output_pico_usd_per_token",
}


def faults(model: Model) -> tuple[Fault, ...]:
    """Everything that is wrong with an organization's own entry."""
    return (*_name_faults(model), *_token_faults(model), *_tier_faults(model), *_price_faults(model))


def _name_faults(model: Model) -> Iterator[Fault]:
    for field, name, length_max in (("provider", model.provider, 64), ("model", model.model, 256)):
        if len(name) > length_max or not _NAME.fullmatch(name):
            yield Fault(field, f"must be 1–{length_max} printable ASCII characters without spaces")
    if "/" in model.provider:
        # `provider/model` is the entry's identity; only the model's part may have slashes.
        yield Fault("provider", "must not contain “/”")


def _token_faults(model: Model) -> Iterator[Fault]:
    for field, tokens in (
        ("max_output_tokens", model.max_output_tokens),
        ("default_output_tokens", model.default_output_tokens),
    ):
        if not 0 <= tokens <= TOKENS_MAX:
            yield Fault(field, f"must be 0–{TOKENS_MAX}")
    if 0 < model.max_output_tokens < model.default_output_tokens:
        yield Fault("default_output_tokens", f"is above max_output_tokens ({model.max_output_tokens})")


def _tier_faults(model: Model) -> Iterator[Fault]:
    if model.tier is not None and not 0 <= model.tier <= TIER_MAX:
        yield Fault("tier", f"must be 0–{TIER_MAX}")


def _price_faults(model: Model) -> Iterator[Fault]:
    if not model.prices and not model.caller_priced:
        yield Fault("prices", "are required unless caller_priced; a model that costs nothing has prices of 0")
    if len(model.prices) > PRICES_MAX:
        yield Fault("prices", f"must be at most {PRICES_MAX}")
    seen: dict[tuple[int, int], int] = {}
    starts_with_base = {price.start_ms for price in model.prices if price.rate.above_input_tokens == 0}
    for index, price in enumerate(model.prices):
        yield from _amount_faults(price, f"prices[{index}]")
        first = seen.setdefault((price.start_ms, price.rate.above_input_tokens), index)
        if first != index:
            yield Fault(f"prices[{index}]", f"has the start_time and above_input_tokens of prices[{first}]")
        if price.start_ms not in starts_with_base:
            yield Fault(
                f"prices[{index}].above_input_tokens",
                "of the prices that begin at one start_time, one must always hold (above_input_tokens 0)",
            )


def _amount_faults(price: DatedRate, field: str) -> Iterator[Fault]:
    if not 0 <= price.rate.above_input_tokens <= TOKENS_MAX:
        yield Fault(f"{field}.above_input_tokens", f"must be 0–{TOKENS_MAX}")
    for name, path in _PRICE_FIELDS.items():
        if not 0 <= getattr(price.rate, name) <= PRICE_PICO_MAX:
            yield Fault(f"{field}.{path}", f"must be 0–{PRICE_PICO_MAX} pico-USD")
