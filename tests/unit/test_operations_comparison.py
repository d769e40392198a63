"""What a window should be by the ledger and what is on its way to it, and which differences stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from quota_service.application.operations.comparison import (
    Cell,
    Differences,
    Held,
    Pair,
    Quantity,
    unexplained,
)
from quota_service.application.operations.reconciliation_ports import KeysMoment, LedgerMoment, LiveHold, Ran
from quota_service.application.operations.steadiness import LOOKS, LOOKS_MAX, Suspects
from quota_service.domain.amounts import Amounts, Meter
from quota_service.domain.commands import Event
from quota_service.domain.ledger import Entry, EntryType, LimitChange, Origin
from quota_service.domain.reservation import Hold, State, WindowRef
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Counters
from quota_service.domain.windows import OUTLIVE_MS, key_of

NOW_MS = 1_000_000_000
EPOCH = 7
WINDOW = WindowRef("team", "", 0, NOW_MS)
TEN = Amounts(10, 20, 1)
HOLD = Hold(
    organization="acme",
    reservation="r1",
    subject=Subject(organization="acme"),
    provider="openai",
    model="gpt-4o",
    requested_model="gpt-4o",
    rates=(),
    windows=(WINDOW,),
    held=TEN,
)
COMMIT = Entry(
    key="r1/end",
    content_hash="",
    type=EntryType.COMMIT,
    at_ms=NOW_MS,
    hold=replace(HOLD, state=State.COMMITTED),
    charged=TEN,
    overrun=Amounts(3),
    origin=Origin(EPOCH, "5-0"),
)
CHARGED = Counters(spent=TEN, overrun=Amounts(3))


def differing(
    keys: Counters,
    ledger: Counters | None = None,
    *,
    event: Entry | None = None,
    held: Held | None = None,
    window: WindowRef = WINDOW,
    **moment: Any,
) -> Differences:
    """How a window differs where the keys have one thing and the ledger another."""
    events = [Event(id="5-0", entry=event)] if event is not None else []
    moments = {"known": frozenset[str](), "newer": (), "pending": (), "dead": {}, **moment}
    found = unexplained(
        [window],
        KeysMoment(epoch=EPOCH, windows=[keys], events=events, last_event="5-0", holds=None),
        LedgerMoment(windows={key_of(window): (window, ledger)} if ledger is not None else {}, **moments),
        held or Held(),
        None,
        NOW_MS,
    )
    return found.get(window, {})


def test_the_same_does_not_differ() -> None:
    assert differing(Counters(), None) == {}
    assert differing(CHARGED, CHARGED) == {}
    assert (
        differing(CHARGED._replace(blocked=TEN, opened=4), CHARGED) == {}
    )  # the ledger knows nothing of these


def test_every_number_is_told_with_its_meter() -> None:
    there = Counters(added=Amounts(5), moved=Amounts(0, -5))
    assert differing(CHARGED, there) == {
        Cell(Quantity.SPENT, Meter.COST): Pair(10, 0),
        Cell(Quantity.SPENT, Meter.TOKENS): Pair(20, 0),
        Cell(Quantity.SPENT, Meter.REQUESTS): Pair(1, 0),
        Cell(Quantity.OVERRUN, Meter.COST): Pair(3, 0),
        Cell(Quantity.ADDED, Meter.COST): Pair(0, 5),
        Cell(Quantity.MOVED, Meter.TOKENS): Pair(0, -5),
    }
    assert Pair(10, 25).difference == -15


def test_an_event_that_waits_explains_what_the_ledger_lacks() -> None:
    assert differing(CHARGED, event=COMMIT) == {}
    assert differing(CHARGED, CHARGED, event=COMMIT, known=frozenset({COMMIT.key})) == {}
    assert differing(CHARGED, CHARGED, event=COMMIT)  # or else it would count twice
    elsewhere = replace(COMMIT, origin=Origin(EPOCH - 1, "5-0"))
    assert differing(Counters(), event=elsewhere) == {}  # these keys have been made without it


def test_what_the_ledger_has_learnt_since_is_taken_off() -> None:
    later = Ran(COMMIT, Origin(EPOCH, "5-1"))
    assert differing(Counters(), CHARGED, newer=[later]) == {}
    assert differing(Counters(), CHARGED, newer=[later._replace(origin=Origin(EPOCH, "12-0"))]) == {}
    assert differing(CHARGED, CHARGED, newer=[later._replace(origin=Origin(EPOCH, "5-0"))]) == {}
    assert differing(CHARGED, CHARGED, newer=[later._replace(origin=None)]) == {}


def test_what_is_pending_and_what_the_ledger_refuses_explain_a_difference() -> None:
    assert differing(Counters(), CHARGED, pending=[COMMIT]) == {}
    assert differing(CHARGED, dead={key_of(WINDOW): CHARGED}) == {}


def test_a_change_of_a_limit_is_on_its_way_like_a_charge() -> None:
    change = LimitChange(WINDOW, added=Amounts(5), moved=Amounts(0, 2))
    entry = replace(COMMIT, type=EntryType.ADJUST, charged=Amounts(), overrun=Amounts(), changes=(change,))
    assert differing(Counters(added=Amounts(5), moved=Amounts(0, 2)), event=entry) == {}
    lasting = replace(entry, changes=(change._replace(until_ms=NOW_MS),))
    assert differing(Counters(), event=lasting) == {}  # the budget's configuration has it


def test_what_is_held_is_what_live_holds_hold() -> None:
    held = Held([LiveHold("r1", NOW_MS, TEN, (WINDOW,)), LiveHold("r2", NOW_MS, Amounts(6), (WINDOW,))])
    assert differing(Counters(held=Amounts(16, 20, 1), holds=2), held=held) == {}
    assert differing(Counters(held=Amounts(16, 20, 1), holds=1), held=held) == {
        Cell(Quantity.HOLDS, None): Pair(1, 2)
    }
    assert differing(Counters(held=Amounts(1))) == {Cell(Quantity.HELD, Meter.COST): Pair(1, 0)}


def test_a_window_that_ended_long_ago_or_has_a_value_that_the_ledger_cannot_write_is_left_out() -> None:
    for window in (WINDOW._replace(end_ms=NOW_MS - OUTLIVE_MS), WINDOW._replace(each_value="a\0b")):
        assert differing(Counters(), CHARGED, window=window) == {}
    assert differing(Counters(), CHARGED, window=WINDOW._replace(end_ms=None))


def spent(difference: int, valkey: int = 100) -> Differences:
    return {Cell(Quantity.SPENT, Meter.COST): Pair(valkey, valkey - difference)}


def test_only_what_is_the_same_in_three_looks_is_steady() -> None:
    suspects = Suspects(["drifted", "busy", "fine"])
    for look in range(LOOKS):
        assert not suspects.steady
        found = {"drifted": spent(5, valkey=look), "busy": spent(look)}
        suspects.look(suspects.open, found if look else {**found, "fine": spent(1)})
    assert suspects.steady == {
        "drifted": spent(5, valkey=LOOKS - 1)
    }  # the numbers move, their difference not
    assert suspects.open == ["busy"]
    assert suspects.undecided == 1


def test_what_keeps_moving_is_given_up_undecided() -> None:
    suspects = Suspects(["busy"])
    for look in range(LOOKS_MAX):
        assert suspects.open == ["busy"]
        suspects.look(suspects.open, {"busy": spent(look)})
    assert (suspects.open, suspects.steady, suspects.undecided) == ([], {}, 1)


def test_of_a_busy_window_the_steady_numbers_are_told() -> None:
    suspects = Suspects(["w"])
    for look in range(LOOKS_MAX):
        tokens: Differences = {Cell(Quantity.SPENT, Meter.TOKENS): Pair(look, 0)}
        suspects.look(suspects.open, {"w": {**spent(5), **tokens}})
    assert suspects.steady == {"w": spent(5)}
