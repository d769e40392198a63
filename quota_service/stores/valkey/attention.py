"""A clock for waiting that does not count what this process overslept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK_S = 0.004
"""How exactly waiting is measured: a wait ends at its time or up to a tick (and what the loop adds) later."""


class Attention:
    """Counts the seconds in which this event loop looked after its sockets while somebody was waiting.

    Between two looks at most two ticks count: after a stall of our own the replies lie unread, and Valkey is
    not to blame. One timer serves all who wait. `look` is called with each tick; it says whether to go on.
    """

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._timer: asyncio.TimerHandle | None = None
        self._looked_s = 0.0
        self.now_s = 0.0
        self.ticking = False

    def start(self) -> None:
        """Ticks from now on, until `look` says that nobody waits any more."""
        if not self.ticking:
            self.ticking = True
            loop = asyncio.get_running_loop()
            self._looked_s = loop.time()
            self._timer = loop.call_later(TICK_S, self._tick, loop)

    def stop(self) -> None:
        self.ticking = False
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        self.now_s += min(now_s - self._looked_s, 2 * TICK_S)
        self._looked_s = now_s
        self._timer = loop.call_later(TICK_S, self._tick, loop)
        if not self._look():
            self.stop()
