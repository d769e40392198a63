"""A hold as the stores write it: all of it comes back, and what an older version wrote is still read."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.reservation import Keeping, Settlement
from quota_service.stores.hold_documents import (
    decode_former,
    decode_hold,
    decode_open,
    encode_document,
    encode_kept,
    encode_live,
    kept,
    whole_hold,
    windows_of,
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


def test_how_a_hold_s_windows_are_kept_comes_back_or_remains_unknown() -> None:
    known = replace(HOLD, keepings=(Keeping(), Keeping(max_values=3, opening=2, keep_ms=1)))
    for hold in (HOLD, known):
        assert decode_hold(encode_document(hold), encode_live(hold)) == hold


def test_a_hold_comes_back_from_the_ledger_as_it_was() -> None:
    for hold in (HOLD, SETTLED):
        found = decode_open(encode_kept(hold))
        assert whole_hold(found) == hold
        assert windows_of(found) == hold.windows


def test_what_a_hold_still_holds_is_known_without_reading_it() -> None:
    partly = replace(HOLD, held=Amounts(10, 10, 1), charged=Amounts(7, 12, 1))
    assert decode_open(encode_kept(partly)).holds == Amounts(3, 0, 0)


def test_holds_in_the_same_windows_say_so_in_the_same_bytes() -> None:
    other = replace(HOLD, reservation="r2", held=Amounts(1, 1, 1))
    elsewhere = replace(HOLD, windows=HOLD.windows[:1])
    assert kept(other).windows == kept(HOLD).windows != kept(elsewhere).windows


DOCUMENT = (
    b'{"organization":"acme","reservation":"r1","subject":{"organization":"acme"},"provider":"provider",'
    b'"model":"model","rates":[[0,1000000,1000000,1000000,1000000]],"idempotency_key":"key of r1",'
    b'"content_hash":"content","requested_model":"model","input_tokens":10,'
    b'"windows":[["budget","",0,null],["each-user","ada",1,2]]}'
)
"""As version 1 wrote the fixed part of these holds."""

KEPT = (
    b"\x97\xc4\x1d\x92\x94\xa6budget\xa0\x00\xc0\x94\xa9each-user\xa3ada\x01\x02\x93\x08\n\x00\xa2r1"
    b"\xa9key of r1\xa7content\x00\xc5\x01z\xb5\xcc\xbdTm\xc3%G\x01\xda\xa9\xed3\xb5SL\x00,"
    b"\x9c\xa4HELD\x00\x00\x00\x05\x93\x0f\x0f\x01\x93\x07\x05\x01\xcf@" + bytes(9) + b"\xa1h"
    b"\x93\x93\x07\x05\x01\x93\x00\x00\x00\x93\x01\x00\x00" + DOCUMENT
)
"""As version 1 kept the second of them in the ledger."""


def test_what_version_1_left_in_valkey_s_events_is_still_read() -> None:
    for hold in (HOLD, SETTLED):
        assert decode_hold(DOCUMENT, encode_live(hold)) == hold


def test_what_version_1_kept_in_the_ledger_is_read_as_though_it_were_today_s() -> None:
    assert decode_open(KEPT) == kept(SETTLED)


def test_what_the_first_versions_kept_in_the_ledger_is_still_read() -> None:
    live = msgspec.msgpack.decode(encode_live(SETTLED))
    in_two_parts = {"document": msgspec.json.decode(DOCUMENT), "live": live}
    for former in (in_two_parts, SETTLED):
        assert decode_former(msgspec.json.encode(former).decode()) == SETTLED
