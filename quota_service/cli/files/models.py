"""The `models` section of a file: the organization's own entries of the catalogue."""

from __future__ import annotations

from quota.v1 import catalog_pb2
from quota_service.cli.files.directory import Declarations
from quota_service.cli.files.fields import flag, instant_reader, text, texts, whole
from quota_service.cli.files.reading import Value
from quota_service.cli.files.state import Declared, Kind
from quota_service.cli.units import parse_scaled

PICO_PER_MICRO = 1_000_000
LARGEST_COUNT = 1_000_000_000
LARGEST_TIER = 1_000


def read_models(section: Value, zone: str, into: Declarations) -> None:
    """A list of models. `zone` is where dates without a time begin."""
    for value in section.items():
        message = _model(value, zone)
        if message.provider and message.model:
            key = (Kind.MODEL, f"{message.provider}/{message.model}")
            into.declare(key, Declared(message=message, place=value.place), value)


def _model(value: Value, zone: str) -> catalog_pb2.Model:
    fields = value.fields(
        "provider",
        "model",
        "name",
        "tier",
        "max_output_tokens",
        "default_output_tokens",
        "caller_priced",
        "usd_per_million_tokens",
        "prices",
    )
    message = catalog_pb2.Model(
        provider=text(fields, "provider"),
        model=text(fields, "model"),
        display_name=text(fields, "name"),
        max_output_tokens=whole(fields, "max_output_tokens", largest=LARGEST_COUNT),
        default_output_tokens=whole(fields, "default_output_tokens", largest=LARGEST_COUNT),
        caller_priced=flag(fields, "caller_priced"),
    )
    for required in ("provider", "model"):
        if required not in fields:
            value.problem(f"needs a {required}")
    if "tier" in fields:
        message.tier = whole(fields, "tier", largest=LARGEST_TIER)
    if "usd_per_million_tokens" in fields:
        message.prices.append(_rates(fields["usd_per_million_tokens"]))
    if "prices" in fields and "usd_per_million_tokens" in fields:
        fields["prices"].problem("is for prices that change; write it or usd_per_million_tokens, not both")
    message.prices.extend(_dated(price, zone) for price in texts(fields, "prices"))
    return message


def _dated(value: Value, zone: str) -> catalog_pb2.ModelPrice:
    fields = value.fields("from", "above_input_tokens", "usd_per_million_tokens")
    if "usd_per_million_tokens" not in fields:
        value.problem("needs usd_per_million_tokens")
        return catalog_pb2.ModelPrice()
    price = _rates(fields["usd_per_million_tokens"])
    if "from" in fields:
        start = fields["from"].parsed(instant_reader(zone), None)
        if start:
            price.start_time.CopyFrom(start)
    price.above_input_tokens = whole(fields, "above_input_tokens", largest=LARGEST_COUNT)
    return price


def _rates(value: Value) -> catalog_pb2.ModelPrice:
    fields = value.fields("input", "cached_input", "cache_write", "output")
    for required in ("input", "output"):
        if required not in fields and value.is_mapping:
            value.problem(f"needs a price for {required}; write 0 for none")
    rates = {name: rate.parsed(parse_rate, 0) for name, rate in fields.items()}
    return catalog_pb2.ModelPrice(
        input_pico_usd_per_token=rates.get("input", 0),
        cached_input_pico_usd_per_token=rates.get("cached_input"),
        cache_write_pico_usd_per_token=rates.get("cache_write"),
        output_pico_usd_per_token=rates.get("output", 0),
    )


def parse_rate(written: str) -> int:
    """US dollars per million tokens, which is pico-USD per token in millions. Raises `ValueError`."""
    return parse_scaled(written, PICO_PER_MICRO, unit="dollar per million tokens")
