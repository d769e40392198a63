"""Whether the event loop keeps up with its work."""

from __future__ import annotations

import asyncio
import time

EVERY_S = 0.005
LATE_S = 0.002
BUSY = 0.75
PATIENCE_S = 0.5
CROWDED_PATIENCE_S = 0.1
MEMORY_S = 1.0
REFUSAL_S = 0.2


class Pace:
    """Looks how late a timer runs, and how much of the time the loop's thread works. Behind: the timer has
    run late for half a second longer than on time, so that a burst does not count, and stays so for as long
    as calls are refused for it. Where many calls wait already, a tenth of a second is enough, and that the
    thread hardly rests: a loop of short steps serves its timer in time, and may have no end of them to do.
    """

    def __init__(self) -> None:
        self.behind = False
        self._late_s = 0.0  # late, minus on time
        self._busy_s = 0.0  # busy, minus not
        self._looked_s = 0.0
        self._worked_s = 0.0  # by the thread, in all, at the last look
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look, in the running loop."""
        loop = asyncio.get_running_loop()
        self._looked_s, self._worked_s = loop.time(), time.thread_time()
        self._wait(loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def crowded(self) -> None:
        """Many calls are under way, and another one has come."""
        if self._busy_s >= CROWDED_PATIENCE_S and not self.behind:
            self.behind = True
            self.refused()

    def refused(self) -> None:
        """A call was refused for being behind. What keeps the loop from being late is then not the end of the
        flood but the refusals, so each prolongs the state for a moment.
        """
        self._until = asyncio.get_running_loop().time() + REFUSAL_S

    def looked(self, late_s: float, worked_s: float, now_s: float) -> None:
        """The timer has run so late, at this time of the loop; the thread has worked so long meanwhile."""
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        late = late_s >= LATE_S
        self._late_s = _longer(self._late_s, passed_s, late)
        self._busy_s = _longer(self._busy_s, passed_s, late or worked_s >= BUSY * passed_s)
        self.behind = self._late_s >= PATIENCE_S or (self.behind and now_s < self._until)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(EVERY_S, self._look, loop, loop.time() + EVERY_S)

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        now_s, worked_s = loop.time(), time.thread_time()
        self.looked(max(0.0, now_s - due_s), worked_s - self._worked_s, now_s)
        self._worked_s = worked_s
        self._wait(loop)


def _longer(score_s: float, passed_s: float, so: bool) -> float:
    """For how long it has been so rather than not."""
    return min(max(score_s + (passed_s if so else -passed_s), 0.0), MEMORY_S)
