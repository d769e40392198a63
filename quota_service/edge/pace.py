"""Whether the event loop keeps up with its work."""

from __future__ import annotations

import asyncio

EVERY_S = 0.005
LATE_S = 0.002
CAP_S = 0.010
SMOOTHING = 16
REMEMBERED_S = 0.2


class Pace:
    """Looks how late a timer runs. Behind: it has run late for about a tenth of a second, so that a burst or
    one long step does not count, and for as long afterwards as calls are refused for it.
    """

    def __init__(self) -> None:
        self.behind = False
        self._late_s = 0.0
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look, in the running loop."""
        self._wait(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def refused(self) -> None:
        """A call was refused for being behind. What keeps the loop from being late is then not the end of the
        flood but the refusals, so each prolongs the state for a moment.
        """
        self._until = asyncio.get_running_loop().time() + REMEMBERED_S

    def looked(self, late_s: float, now_s: float) -> None:
        """The timer has run so late, at this time of the loop."""
        self._late_s += (min(late_s, CAP_S) - self._late_s) / SMOOTHING
        self.behind = self._late_s >= LATE_S or (self.behind and now_s < self._until)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(EVERY_S, self._look, loop, loop.time() + EVERY_S)

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        now_s = loop.time()
        self.looked(max(0.0, now_s - due_s), now_s)
        self._wait(loop)
