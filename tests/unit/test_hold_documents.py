"""A hold as the stores write it: all of it comes back, and what an older version wrote is still read."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.reservation import Settlement
from quota_service.stores.hold_documents import (
    decode_hold,
    decode_stored,
    encode_document,
    encode_live,
    encode_stored,
    pack_live,
    pass_on,
)
from tests.support.commands import draft, window

HOLD = replace(draft("acme", "r1", output_tokens=5), windows=(window(), window("each-user", "ada", 1, 2)))
SETTLED = replace(
    HOLD,
    charged=Amounts(7, 5, 1),
    charged_pico=2**62,
    settle_hash="h",
    settlement=Settlement(Amounts(7, 5, 1), NOTHING, Amounts(1, 0, 0)),
)


def test_a_hold_that_was_granted_degraded_comes_back_as_such() -> None:
    degraded = replace(HOLD, held=NOTHING, degraded=True)
    assert decode_hold(encode_document(degraded), encode_live(degraded)) == degraded


def test_a_hold_that_says_nothing_of_it_is_not_degraded() -> None:
    document = encode_document(HOLD)
    assert b"degraded" not in document
    assert decode_hold(document, encode_live(HOLD)) == HOLD


def test_a_hold_comes_back_from_the_ledger_as_it_was() -> None:
    for hold in (HOLD, SETTLED):
        assert decode_stored(encode_stored(hold)) == hold


def test_the_ledger_passes_on_to_valkey_what_valkey_would_have_written() -> None:
    for hold in (HOLD, SETTLED):
        document, live = pass_on(encode_stored(hold))
        assert (document, pack_live(live)) == (encode_document(hold), encode_live(hold))


def test_what_the_ledger_kept_in_one_part_is_still_read() -> None:
    whole = msgspec.json.encode(SETTLED).decode()
    assert decode_stored(whole) == SETTLED
    assert pass_on(whole) == pass_on(encode_stored(SETTLED))
