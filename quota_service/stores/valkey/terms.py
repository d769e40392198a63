"""What limits a request, as the scripts take it: terms, rate limits, and the demand.

The layouts are those at the head of `scripts/_prelude.lua` and `scripts/_gauges.lua`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from quota_service.domain.admission import output_prices
from quota_service.domain.amounts import Limits
from quota_service.domain.budget import Mode
from quota_service.domain.ratelimit import RateTerm
from quota_service.domain.reservation import Keeping, WindowRef
from quota_service.domain.terms import Alternative, Term, Terms
from quota_service.stores.hold_documents import encode_document
from quota_service.stores.places import place_of
from quota_service.stores.valkey.codec import pack
from quota_service.stores.valkey.keys import Keys


class EncodedTerms(NamedTuple):
    """Terms as scripts take them. `keys`: every window and gauge, each with its values key if it has one."""

    keys: tuple[str, ...]
    gauge_keys: tuple[str, ...]
    places: bytes
    terms: bytes
    rates: bytes


def encode_terms(keys: Keys, organization: str, terms: Terms) -> EncodedTerms:
    """The terms of a single call."""
    windows = [keys.window(organization, term.window) for term in terms.budgets]
    values = [keys.values(organization, term.window) for term in terms.budgets if term.max_values]
    rates = [_rate(keys, organization, rate) for rate in terms.rates]
    gauge_keys = tuple(filter(None, chain.from_iterable((rate[0], rate[4]) for rate in rates)))
    return EncodedTerms(
        (*windows, *values, *gauge_keys),
        gauge_keys,
        encode_places((term.window, term.keeping) for term in terms.budgets),
        pack([_term(term) for term in terms.budgets]),
        pack(rates),
    )


def encode_alternative(alternative: Alternative) -> tuple[bytes, bytes]:
    """What one alternative of an Authorize demands, and the document of its hold."""
    hold = alternative.hold
    demand = (alternative.least, alternative.most, hold.input_tokens, *output_prices(hold))
    return pack(demand), encode_document(hold)


def encode_places(windows: Iterable[tuple[WindowRef, Keeping]]) -> bytes:
    """Windows, and how each is kept."""
    return pack([place_of(*each) for each in windows])


def _term(term: Term) -> tuple[tuple[int, ...], int, bool, int, tuple[int, ...]]:
    ceilings = encode_limits(term.limits.scaled(term.percent))
    return encode_limits(term.limits), term.percent, term.mode is Mode.HARD, term.max_values, ceilings


def encode_limits(limits: Limits) -> tuple[int, ...]:
    """-1 where there is none."""
    return tuple(-1 if limit is None else limit for limit in limits)


def _rate(keys: Keys, organization: str, rate: RateTerm) -> tuple[str, int, int, int, str, str, int, int]:
    """Meters count from 1 in Lua."""
    return (
        keys.gauge(organization, rate),
        rate.meter + 1,
        rate.leak,
        rate.scale,
        keys.rate_values(organization, rate) if rate.max_values else "",
        rate.each_value,
        rate.burst,
        rate.max_values,
    )
