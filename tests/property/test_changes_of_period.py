"""A budget whose period or zone is changed, however often: its windows tile time, and end as announced."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from quota_service.domain.budget import Budget
from quota_service.domain.period import Period, Window
from quota_service.domain.schedule import pause_of, rescheduled, window_of
from tests.support.periods import instants, periods, recurring, zones

_SOON_MS = 40 * 86_400_000


class Change(NamedTuple):
    """So long after the change before, the budget is given this rule."""

    after_ms: int
    period: Period
    time_zone: str


def _changes(rules: st.SearchStrategy[Period]) -> st.SearchStrategy[list[Change]]:
    """A few rules and zones only, so that budgets are changed back too."""

    def of(some: tuple[list[Period], list[str]]) -> st.SearchStrategy[list[Change]]:
        change = st.builds(
            Change, st.integers(0, _SOON_MS), st.sampled_from(some[0]), st.sampled_from(some[1])
        )
        return st.lists(change, min_size=2, max_size=6)

    return st.tuples(
        st.lists(rules, min_size=1, max_size=3), st.lists(zones, min_size=1, max_size=2)
    ).flatmap(of)


def _made(change: Change) -> Budget:
    return Budget(id="b", period=change.period, time_zone=change.time_zone)


def _changed(before: Budget, change: Change, now_ms: int) -> Budget:
    after = replace(before, period=change.period, time_zone=change.time_zone, former=None)
    return rescheduled(before, after, now_ms)


@given(begin_ms=instants, changes=_changes(recurring), data=st.data())
def test_every_window_ends_as_announced_and_the_next_begins_there(
    begin_ms: int, changes: list[Change], data: st.DataObject
) -> None:
    """What somebody is told who asks in every window, and at every change."""
    now_ms, budget = begin_ms, _made(changes[0])
    told = _running(budget, now_ms)
    for change in changes[1:]:
        for _ in range(data.draw(st.integers(0, 3))):
            told, ended_ms = _running(budget, _end(told)), _end(told)
            assert told.start_ms == ended_ms
        now_ms = data.draw(st.integers(max(now_ms, told.start_ms), _end(told) - 1))
        budget = _changed(budget, change, now_ms)
        assert _running(budget, now_ms) == told
    assert _running(budget, _end(told)).start_ms == told.end_ms


def _running(budget: Budget, instant_ms: int) -> Window:
    window = window_of(budget, instant_ms)
    assert window is not None
    assert window.holds(instant_ms)
    return window


def _end(window: Window) -> int:
    assert window.end_ms is not None
    return window.end_ms


@given(begin_ms=instants, changes=_changes(periods), offset_ms=st.integers(-_SOON_MS, _SOON_MS))
def test_windows_and_pauses_tile_time_around_every_change(
    begin_ms: int, changes: list[Change], offset_ms: int
) -> None:
    now_ms, budget = begin_ms, _made(changes[0])
    for change in changes[1:]:
        now_ms += change.after_ms
        budget = _changed(budget, change, now_ms)
        for instant_ms in (now_ms, max(now_ms + offset_ms, 0)):
            _assert_tiled(budget, instant_ms)


def _assert_tiled(budget: Budget, instant_ms: int) -> None:
    piece = _piece(budget, instant_ms)
    assert piece.holds(instant_ms)
    assert _piece(budget, piece.start_ms) == piece
    if piece.start_ms > 0:
        assert _piece(budget, piece.start_ms - 1).end_ms == piece.start_ms
    if piece.end_ms is not None:
        assert _piece(budget, piece.end_ms - 1) == piece
        assert _piece(budget, piece.end_ms).start_ms == piece.end_ms


def _piece(budget: Budget, instant_ms: int) -> Window:
    window = window_of(budget, instant_ms)
    return pause_of(budget, instant_ms) if window is None else window


@given(before=periods, after=recurring, zone=zones, now_ms=instants)
def test_where_no_window_runs_that_has_an_end_a_change_takes_effect_at_once(
    before: Period, after: Period, zone: str, now_ms: int
) -> None:
    budget = Budget(id="b", period=before, time_zone=zone)
    running = window_of(budget, now_ms)
    window = _running(_changed(budget, Change(0, after, zone), now_ms), now_ms)
    if running is None or running.end_ms is None:
        assert window.start_ms == now_ms
    else:
        assert window == running


@given(begin_ms=instants, changes=_changes(periods))
def test_a_change_is_in_force_once_the_window_is_over_that_ran(begin_ms: int, changes: list[Change]) -> None:
    budget = _made(changes[0])
    now_ms = begin_ms + changes[1].after_ms
    budget = _changed(budget, changes[1], now_ms)
    border_ms = budget.former.until_ms if budget.former is not None else now_ms
    told = Budget(id="b", period=budget.period, time_zone=budget.time_zone)
    own, found = window_of(told, border_ms), window_of(budget, border_ms)
    assert (own is None) == (found is None)
    assert own is None or (found is not None and found.end_ms == own.end_ms)


@given(begin_ms=instants, first=recurring, second=recurring, zone=zones, between_ms=st.integers(0, 5_000))
def test_a_change_that_is_taken_back_while_its_window_runs_has_never_been(
    begin_ms: int, first: Period, second: Period, zone: str, between_ms: int
) -> None:
    budget = Budget(id="b", period=first, time_zone=zone)
    window = window_of(budget, begin_ms)
    assert window is not None
    if not window.holds(begin_ms + between_ms):
        return
    changed = _changed(budget, Change(0, second, zone), begin_ms)
    assert _changed(changed, Change(0, first, zone), begin_ms + between_ms) == budget
