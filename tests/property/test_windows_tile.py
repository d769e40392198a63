"""Windows tile time: every instant falls into exactly one, and the next begins where one ends."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hypothesis import given

from quota_service.domain.period import Daily, Period, window_at
from tests.support.periods import instants, recurring, zones


@given(period=recurring, zone=zones.map(ZoneInfo), instant_ms=instants)
def test_windows_tile_time_without_gap_or_overlap(period: Period, zone: ZoneInfo, instant_ms: int) -> None:
    window = window_at(period, zone, instant_ms)
    assert window is not None
    assert window.end_ms is not None
    assert window.start_ms <= instant_ms < window.end_ms
    assert window_at(period, zone, window.start_ms) == window
    assert window_at(period, zone, window.end_ms - 1) == window
    after = window_at(period, zone, window.end_ms)
    before = window_at(period, zone, window.start_ms - 1)
    assert after is not None
    assert before is not None
    assert after.start_ms == window.end_ms
    assert before.end_ms == window.start_ms


@given(zone=zones.map(ZoneInfo), instant_ms=instants)
def test_a_window_begins_and_ends_at_a_local_midnight_or_where_one_is_skipped(
    zone: ZoneInfo, instant_ms: int
) -> None:
    window = window_at(Daily(), zone, instant_ms)
    assert window is not None
    start = datetime.fromtimestamp(window.start_ms / 1000, UTC).astimezone(zone)
    just_before = datetime.fromtimestamp(window.start_ms / 1000 - 1, UTC).astimezone(zone)
    assert start.date() > just_before.date()
    assert (start.hour, start.minute, start.second) == (
        0,
        0,
        0,
    ) or start.utcoffset() != just_before.utcoffset()
