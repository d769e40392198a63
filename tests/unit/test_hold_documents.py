"""A hold as Valkey keeps it: all of it comes back, and what an older version wrote is still read."""

from __future__ import annotations

from dataclasses import replace

from quota_service.domain.amounts import NOTHING
from quota_service.stores.valkey import codec
from tests.support.commands import draft, window

HOLD = replace(draft("acme", "r1", output_tokens=5), windows=(window(), window("each-user", "ada", 1, 2)))


def test_a_hold_that_was_granted_degraded_comes_back_as_such() -> None:
    degraded = replace(HOLD, held=NOTHING, degraded=True)
    assert codec.decode_hold(codec.encode_document(degraded), codec.encode_live(degraded)) == degraded


def test_a_hold_that_says_nothing_of_it_is_not_degraded() -> None:
    document = codec.encode_document(HOLD)
    assert b"degraded" not in document
    assert codec.decode_hold(document, codec.encode_live(HOLD)) == HOLD
