"""A hold as the stores write it: all of it comes back, and what an older version wrote is still read."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.reservation import Settlement
from quota_service.stores.hold_documents import (
    decode_former,
    decode_hold,
    decode_kept,
    decode_windows,
    encode_document,
    encode_kept,
    encode_live,
    kept,
    whole_hold,
    windows_digest,
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
        found = decode_kept(encode_kept(hold))
        assert whole_hold(found) == hold
        assert decode_windows(found.windows) == hold.windows


def test_what_a_hold_still_holds_is_known_without_reading_it() -> None:
    partly = replace(HOLD, held=Amounts(10, 10, 1), charged=Amounts(7, 12, 1))
    assert decode_kept(encode_kept(partly)).holds == Amounts(3, 0, 0)


def test_holds_in_the_same_windows_say_so_in_the_same_bytes() -> None:
    other = replace(HOLD, reservation="r2", held=Amounts(1, 1, 1))
    elsewhere = replace(HOLD, windows=HOLD.windows[:1])
    assert kept(other).windows == kept(HOLD).windows != kept(elsewhere).windows
    assert windows_digest(kept(other)) == windows_digest(kept(HOLD)) != windows_digest(kept(elsewhere))


def test_what_former_versions_kept_in_the_ledger_is_still_read() -> None:
    document = msgspec.json.decode(encode_document(SETTLED))
    in_two_parts = {"document": document, "live": msgspec.msgpack.decode(encode_live(SETTLED))}
    for former in (in_two_parts, SETTLED):
        assert decode_former(msgspec.json.encode(former).decode()) == SETTLED
