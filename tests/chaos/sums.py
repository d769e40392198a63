"""What the ledger's entries add up to, window by window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.chaos.evidence import Entry, Window
from tests.chaos.scene import NOTHING, Spent

Sum = tuple[Spent, Spent, Spent]


def summed(entries: Iterable[Entry]) -> dict[Window, Sum]:
    """Spent, overrun, and change of the limit of every window that an entry names to some effect."""
    sums: dict[Window, Sum] = {}
    for window, gain in _gains(entries):
        before = sums.get(window, (NOTHING, NOTHING, NOTHING))
        spent, overrun, change = (one.plus(other) for one, other in zip(before, gain, strict=True))
        sums[window] = (spent, overrun, change)
    return sums


def _gains(entries: Iterable[Entry]) -> Iterator[tuple[Window, Sum]]:
    for entry in entries:
        if entry.charged != NOTHING or entry.overrun != NOTHING:
            for window in entry.windows:
                yield window, (entry.charged, entry.overrun, NOTHING)
        for window, change in entry.changes:
            yield window, (NOTHING, NOTHING, change.amount)
