"""Amounts, limits and usage."""

from __future__ import annotations

from quota.v1 import types_pb2
from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.pricing import Usage


def amounts(value: Amounts) -> types_pb2.Amounts:
    """Amounts as a message, in every meter."""
    return types_pb2.Amounts(cost_micros=value.cost_micros, tokens=value.tokens, requests=value.requests)


def fill(message: types_pb2.Amounts, value: Amounts) -> None:
    """Writes amounts into a message that is part of another."""
    message.cost_micros, message.tokens, message.requests = value


def some_amounts(value: Amounts) -> types_pb2.Amounts | None:
    """Amounts as a message; `None` where they are nothing."""
    return amounts(value) if any(value) else None


def limits(value: Limits) -> types_pb2.Amounts:
    """Limits as a message: meters without a limit stay unset."""
    return types_pb2.Amounts(cost_micros=value.cost_micros, tokens=value.tokens, requests=value.requests)


def limits_of(message: types_pb2.Amounts) -> Limits:
    """Limits of a message: what is unset is not limited."""
    return Limits(
        message.cost_micros if message.HasField("cost_micros") else None,
        message.tokens if message.HasField("tokens") else None,
        message.requests if message.HasField("requests") else None,
    )


def usage(value: Usage) -> types_pb2.Usage:
    """Usage as a message."""
    return types_pb2.Usage(
        input_tokens=value.input_tokens,
        cached_input_tokens=value.cached_input_tokens,
        cache_write_tokens=value.cache_write_tokens,
        output_tokens=value.output_tokens,
        cost_micros=value.cost_micros,
    )


def usage_of(message: types_pb2.Usage) -> Usage:
    """Usage of a message."""
    return Usage(
        message.input_tokens,
        message.cached_input_tokens,
        message.cache_write_tokens,
        message.output_tokens,
        message.cost_micros if message.HasField("cost_micros") else None,
    )
