"""What limits a request, as the scripts take it: where windows are kept, terms, rate limits, and the demand.

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
from quota_service.domain.reservation import WindowRef
from quota_service.domain.terms import Alternative, Keeping, Term, Terms
from quota_service.stores.hold_documents import encode_document
from quota_service.stores.valkey.codec import pack
from quota_service.stores.valkey.keys import Keys

Place = tuple[int, str, str, str, int, int]
"""End in ms (0: none), window key, values key or "", each value, opening, how much longer it is kept."""


class EncodedTerms(NamedTuple):
    """Terms as scripts take them. `keys`: every window and gauge, each with its values key if it has one."""

    keys: tuple[str, ...]
    gauge_keys: tuple[str, ...]
    places: bytes
    terms: bytes
    rates: bytes


def encode_terms(keys: Keys, organization: str, terms: Terms) -> EncodedTerms:
    """The terms of a single call."""
    places = [_place(keys, organization, term) for term in terms.budgets]
    rates = [_rate(keys, organization, rate) for rate in terms.rates]
    gauge_keys = tuple(filter(None, chain.from_iterable((rate[0], rate[4]) for rate in rates)))
    return EncodedTerms(
        (*filter(None, chain.from_iterable(place[1:3] for place in places)), *gauge_keys),
        gauge_keys,
        pack(places),
        pack([_term(term) for term in terms.budgets]),
        pack(rates),
    )


def encode_alternative(encoded: EncodedTerms, alternative: Alternative) -> tuple[bytes, ...]:
    """The arguments of one alternative of an Authorize."""
    hold = alternative.hold
    demand = (alternative.least, alternative.most, hold.input_tokens, *output_prices(hold))
    return encoded.places, encoded.terms, encoded.rates, pack(demand), encode_document(hold)


def place_of(keys: Keys, organization: str, window: WindowRef, keeping: Keeping | None) -> Place:
    """Where a window is kept. A new `each` value is counted where their number is bounded, or (`None`) it is
    not known whether it is.
    """
    return (
        window.end_ms or 0,
        keys.window(organization, window),
        keys.values(organization, window) if keeping is None or keeping.max_values else "",
        window.each_value,
        keeping.opening if keeping is not None else 0,
        keeping.keep_ms if keeping is not None else 0,
    )


def encode_places(keys: Keys, organization: str, terms: Iterable[Term]) -> bytes:
    return pack([_place(keys, organization, term) for term in terms])


def encode_windows(keys: Keys, organization: str, windows: tuple[WindowRef, ...]) -> bytes:
    """Where windows are kept of which no more is known."""
    return pack([place_of(keys, organization, window, None) for window in windows])


def _place(keys: Keys, organization: str, term: Term) -> Place:
    return place_of(keys, organization, term.window, term.keeping)


def _term(term: Term) -> tuple[tuple[int, ...], int, bool, int]:
    return encode_limits(term.limits), term.percent, term.mode is Mode.HARD, term.max_values


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
