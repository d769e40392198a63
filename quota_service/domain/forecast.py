"""When a limit is reached if spending goes on at its pace. Integers only."""

from __future__ import annotations

INSTANT_MS_MAX = 7_258_118_400_000
"""The year 2200: later than that nothing is foretold."""


def exhausted_ms(*, limit: int, spent: int, start_ms: int, end_ms: int | None, now_ms: int) -> int | None:
    """The instant at which what is spent reaches the limit, at the average pace since the window's start.

    `None` where it has been reached, where nothing has been spent, or where the window ends before.
    """
    elapsed_ms = now_ms - start_ms
    if not 0 < spent < limit or elapsed_ms <= 0:
        return None
    reached_ms = start_ms + -(-elapsed_ms * limit // spent)
    return reached_ms if reached_ms < (INSTANT_MS_MAX if end_ms is None else end_ms) else None
