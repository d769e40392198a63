"""When the event loop counts as behind."""

from __future__ import annotations

import asyncio
import time

from quota_service.edge.pace import BUSY, LATE_S, Pace


def looked(pace: Pace, late_s: float, *, seconds: float, from_s: float, works: float = 0.0) -> float:
    """Looks every 10 ms for so long, of which the thread works a part; returns when it ended."""
    now_s = from_s
    while now_s < from_s + seconds:
        now_s += 0.01
        pace.looked(late_s, works * 0.01, now_s)
    return now_s


def work(seconds: float) -> None:
    """Of this thread."""
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        pass


def test_a_burst_does_not_count_and_lasting_lateness_does() -> None:
    pace = Pace()
    now_s = looked(pace, LATE_S, seconds=0.4, from_s=0)
    assert not pace.behind
    now_s = looked(pace, 0, seconds=0.4, from_s=now_s)
    now_s = looked(pace, LATE_S, seconds=0.4, from_s=now_s)
    assert not pace.behind
    looked(pace, LATE_S, seconds=0.2, from_s=now_s)
    assert pace.behind


async def test_refusals_that_keep_the_loop_on_time_do_not_end_the_state() -> None:
    loop, pace = asyncio.get_running_loop(), Pace()
    now_s = looked(pace, 1, seconds=1, from_s=loop.time())
    pace.refused()
    looked(pace, 0, seconds=0.1, from_s=loop.time())
    assert pace.behind
    looked(pace, 0, seconds=2, from_s=now_s)
    assert not pace.behind


async def test_where_many_calls_wait_already_a_tenth_of_a_second_is_enough() -> None:
    pace = Pace()
    now_s = looked(pace, LATE_S, seconds=0.05, from_s=0)
    pace.crowded()
    assert not pace.behind
    looked(pace, LATE_S, seconds=0.1, from_s=now_s)
    assert not pace.behind
    pace.crowded()
    assert pace.behind


async def test_where_many_calls_wait_a_thread_that_hardly_rests_is_enough_though_it_is_on_time() -> None:
    pace = Pace()
    now_s = looked(pace, 0, seconds=0.5, from_s=0, works=BUSY - 0.05)
    pace.crowded()
    assert not pace.behind
    now_s = looked(pace, 0, seconds=0.2, from_s=now_s, works=BUSY + 0.05)
    assert not pace.behind
    pace.crowded()
    assert pace.behind


def test_a_thread_that_hardly_rests_is_not_behind_where_few_calls_wait() -> None:
    pace = Pace()
    looked(pace, 0, seconds=5, from_s=0, works=1.0)
    assert not pace.behind


async def test_it_looks_at_the_work_of_the_loops_own_thread() -> None:
    """Steps so short that the timer runs in time."""
    pace = Pace()
    pace.start()
    for _ in range(300):
        work(0.001)
        await asyncio.sleep(0)
    pace.crowded()
    pace.stop()
    assert pace.behind
