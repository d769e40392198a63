"""Models of the catalogue."""

from __future__ import annotations

from quota.v1 import catalog_pb2
from quota_service.application.ports import Stored
from quota_service.domain.pricing import DatedRate, Model, Rate
from quota_service.edge.convert.times import milliseconds, timestamp


def model(organization: str, stored: Stored[Model]) -> catalog_pb2.Model:
    """A catalogue entry as a message. An imported one has no organization, etag and times."""
    value = stored.value
    return catalog_pb2.Model(
        organization="" if value.imported else organization,
        provider=value.provider,
        model=value.model,
        display_name=value.display_name,
        tier=value.tier,
        max_output_tokens=value.max_output_tokens,
        default_output_tokens=value.default_output_tokens,
        caller_priced=value.caller_priced,
        prices=[_price(dated) for dated in value.prices],
        imported=value.imported,
        etag=stored.etag,
        create_time=None if value.imported else timestamp(stored.create_ms),
        update_time=None if value.imported else timestamp(stored.update_ms),
    )


def model_of(message: catalog_pb2.Model) -> Model:
    """An organization's own entry of a message; what only answers have is not looked at."""
    return Model(
        provider=message.provider,
        model=message.model,
        display_name=message.display_name,
        tier=message.tier if message.HasField("tier") else None,
        max_output_tokens=message.max_output_tokens,
        default_output_tokens=message.default_output_tokens,
        caller_priced=message.caller_priced,
        prices=tuple(_price_of(price) for price in message.prices),
    )


def _price(value: DatedRate) -> catalog_pb2.ModelPrice:
    rate = value.rate
    return catalog_pb2.ModelPrice(
        start_time=timestamp(value.start_ms) if value.start_ms else None,
        above_input_tokens=rate.above_input_tokens,
        input_pico_usd_per_token=rate.input_pico,
        cached_input_pico_usd_per_token=rate.cached_input_pico,
        cache_write_pico_usd_per_token=rate.cache_write_pico,
        output_pico_usd_per_token=rate.output_pico,
    )


def _price_of(message: catalog_pb2.ModelPrice) -> DatedRate:
    plain = message.input_pico_usd_per_token
    cached = (
        message.cached_input_pico_usd_per_token
        if message.HasField("cached_input_pico_usd_per_token")
        else plain
    )
    written = (
        message.cache_write_pico_usd_per_token
        if message.HasField("cache_write_pico_usd_per_token")
        else plain
    )
    return DatedRate(
        milliseconds(message.start_time),
        Rate(message.above_input_tokens, plain, cached, written, message.output_pico_usd_per_token),
    )
