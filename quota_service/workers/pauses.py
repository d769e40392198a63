"""How long to wait before something that keeps ending is started again."""

from __future__ import annotations

FIRST_S = 0.1
LONGEST_S = 5.0
STEADY_S = 30.0


class Pauses:
    """A tenth of a second, twice as long each time, at most five seconds; from the beginning after a life of
    half a minute.
    """

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def after(self, lived_s: float) -> float:
        """The pause after a life of so many seconds."""
        if lived_s >= STEADY_S:
            self._next_s = FIRST_S
        pause_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_S)
        return pause_s
