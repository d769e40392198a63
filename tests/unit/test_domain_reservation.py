"""A reservation's life, as semantics has it: held, ended once, settled late once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from quota_service.domain import reservation
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.errors import AmountTooLarge, IdempotencyConflict, ReservationEnded
from quota_service.domain.reservation import LIFETIME_MS_MAX, Hold, Move, Settlement, State
from tests.support.commands import draft

HELD = replace(draft("acme", "r", input_tokens=100), create_ms=1_000, expire_ms=61_000)
"""It holds 100 micro-USD, 100 tokens, 1 request."""


def _commit(hold: Hold, tokens: int, *, content: str = "one", keep_open: bool = False) -> Move:
    total = Amounts(tokens, tokens, 1)
    return reservation.commit(
        hold,
        total=total,
        total_pico=tokens * 1_000_000,
        content_hash=content,
        keep_open=keep_open,
        now_ms=2_000,
    )


@pytest.mark.parametrize(
    ("tokens", "returned", "overrun"),
    [
        (0, Amounts(100, 100, 0), NOTHING),
        (40, Amounts(60, 60, 0), NOTHING),
        (100, NOTHING, NOTHING),
        (130, NOTHING, Amounts(30, 30, 0)),
    ],
)
def test_a_commit_charges_what_was_used_and_returns_the_rest(
    tokens: int, returned: Amounts, overrun: Amounts
) -> None:
    move = _commit(HELD, tokens)
    charged = Amounts(tokens, tokens, 1)
    assert move.hold.state is State.COMMITTED
    assert move.hold.end_ms == 2_000
    assert move.hold.settlement == Settlement(charged, returned, overrun)
    assert (move.spent, move.held, move.holds) == (charged, NOTHING.minus(HELD.held), -1)
    assert (move.returned, move.overrun, move.charged_pico) == (returned, overrun, tokens * 1_000_000)
    assert not move.late
    assert not move.replayed


def test_the_same_commit_again_is_a_replay_and_moves_nothing() -> None:
    committed = _commit(HELD, 40).hold
    assert _commit(committed, 40) == Move(committed, replayed=True)


def test_another_commit_after_the_final_one_is_a_conflict() -> None:
    with pytest.raises(IdempotencyConflict):
        _commit(_commit(HELD, 40).hold, 40, content="other")


def test_a_part_after_the_final_commit_charges_nothing() -> None:
    committed = _commit(HELD, 40).hold
    assert _commit(committed, 90, content="other", keep_open=True) == Move(committed, replayed=True)


def test_parts_charge_the_difference_to_the_total_so_far() -> None:
    first = _commit(HELD, 30, keep_open=True)
    assert (first.spent, first.held, first.holds) == (Amounts(30, 30, 1), Amounts(-30, -30, -1), 0)
    second = _commit(first.hold, 80, keep_open=True)
    assert (second.spent, second.held) == (Amounts(50, 50, 0), Amounts(-50, -50, 0))
    assert (second.hold.state, second.hold.parts) == (State.HELD, 2)
    last = _commit(second.hold, 90)
    assert (last.spent, last.returned, last.holds) == (Amounts(10, 10, 0), Amounts(10, 10, 0), -1)


def test_a_smaller_total_charges_nothing_and_is_no_part() -> None:
    first = _commit(HELD, 30, keep_open=True).hold
    assert _commit(first, 20, keep_open=True) == Move(first, replayed=True)
    last = _commit(first, 20)
    assert (last.spent, last.hold.charged, last.returned) == (NOTHING, Amounts(30, 30, 1), Amounts(70, 70, 0))


def test_an_overrun_is_itemised_once_over_all_parts() -> None:
    first = _commit(HELD, 130, keep_open=True)
    assert (first.overrun, first.held) == (Amounts(30, 30, 0), Amounts(-100, -100, -1))
    last = _commit(first.hold, 150)
    assert (last.overrun, last.held, last.returned) == (Amounts(20, 20, 0), NOTHING, NOTHING)


@pytest.mark.parametrize("state", [State.RELEASED, State.EXPIRED])
def test_an_ended_hold_returns_what_was_left_and_does_not_end_again(state: State) -> None:
    part = _commit(HELD, 30, keep_open=True).hold
    move = reservation.end(part, state, 5_000)
    assert (move.hold.state, move.hold.end_ms) == (state, 5_000)
    assert (move.returned, move.held, move.holds) == (Amounts(70, 70, 0), Amounts(-70, -70, 0), -1)
    assert reservation.end(move.hold, State.RELEASED, 6_000) == Move(move.hold, replayed=True)
    assert reservation.end(move.hold, State.EXPIRED, 6_000) == Move(move.hold, replayed=True)


def test_a_committed_reservation_is_not_released() -> None:
    committed = _commit(HELD, 40).hold
    assert reservation.end(committed, State.RELEASED, 5_000) == Move(committed, replayed=True)


@pytest.mark.parametrize("state", [State.RELEASED, State.EXPIRED])
def test_one_late_settlement_is_charged_in_full_and_leaves_the_state(state: State) -> None:
    ended = reservation.end(HELD, state, 5_000).hold
    part = _commit(ended, 30, keep_open=True)
    assert (part.late, part.spent, part.held, part.holds) == (True, Amounts(30, 30, 1), NOTHING, 0)
    assert (part.hold.late_parts, part.hold.parts) == (1, 0)
    last = _commit(part.hold, 120)
    assert (last.late, last.spent, last.overrun) == (True, Amounts(90, 90, 0), Amounts(20, 20, 0))
    assert (last.hold.state, last.hold.end_ms, last.returned) == (state, 5_000, NOTHING)
    again = _commit(last.hold, 120)
    assert (again.replayed, again.late, again.spent) == (True, True, NOTHING)
    with pytest.raises(IdempotencyConflict):
        _commit(last.hold, 121, content="other")


@pytest.mark.parametrize(
    ("ttl_ms", "now_ms", "expire_ms"),
    [
        (0, 5_000, 61_000),
        (10_000, 5_000, 61_000),  # never shorter
        (60_000, 5_000, 65_000),
        (LIFETIME_MS_MAX, 1_000, 1_000 + LIFETIME_MS_MAX),
        (LIFETIME_MS_MAX, 60_000, 1_000 + LIFETIME_MS_MAX),  # no longer than a day in all
    ],
)
def test_extending_adds_time_up_to_a_day_from_the_creation(ttl_ms: int, now_ms: int, expire_ms: int) -> None:
    move = reservation.extend(HELD, ttl_ms=ttl_ms, additional_output_tokens=0, now_ms=now_ms)
    assert move == Move(replace(HELD, expire_ms=expire_ms))


def test_extending_adds_output_tokens() -> None:
    move = reservation.extend(HELD, ttl_ms=0, additional_output_tokens=20, now_ms=5_000)
    assert (move.held, move.hold.held) == (Amounts(20, 20, 0), Amounts(120, 120, 1))
    assert move.hold.granted_output_tokens == 20


def test_extending_after_an_overrun_holds_only_what_is_not_charged_yet() -> None:
    over = _commit(HELD, 130, keep_open=True).hold
    assert reservation.extend(over, ttl_ms=0, additional_output_tokens=20, now_ms=5_000).held == NOTHING
    move = reservation.extend(over, ttl_ms=0, additional_output_tokens=50, now_ms=5_000)
    assert move.held == Amounts(20, 20, 0)


def test_what_has_ended_cannot_be_extended() -> None:
    ended = reservation.end(HELD, State.EXPIRED, 5_000).hold
    with pytest.raises(ReservationEnded):
        reservation.extend(ended, ttl_ms=60_000, additional_output_tokens=0, now_ms=5_000)


def test_extending_beyond_what_a_request_may_cost_is_refused() -> None:
    with pytest.raises(AmountTooLarge):
        reservation.extend(HELD, ttl_ms=0, additional_output_tokens=9_000_000_000, now_ms=5_000)


@pytest.mark.parametrize(("now_ms", "due"), [(60_999, False), (61_000, True), (61_001, True)])
def test_a_hold_is_due_at_its_expiry(now_ms: int, due: bool) -> None:
    assert HELD.due(now_ms) is due
    assert not reservation.end(HELD, State.RELEASED, 2_000).hold.due(now_ms)
