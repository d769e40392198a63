"""What is made of values that many calls share: found again by who they are, not by what they are.

To compare a tuple of windows takes longer than to do something with it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")


class Shared(Generic[V]):
    """At most so many things, each made of some values. Those are kept with it: nobody else gets their
    identities meanwhile. When there is room for no more, all are forgotten.
    """

    def __init__(self, most: int = 1_024) -> None:
        self._most = most
        self._made: dict[tuple[int, ...], tuple[V, tuple[object, ...]]] = {}

    def get(self, identities: tuple[int, ...]) -> V | None:
        """What was made of the values of these identities (`id`), the same ones in the same order."""
        found = self._made.get(identities)
        return found[0] if found is not None else None

    def put(self, values: tuple[object, ...], made: V) -> V:
        """Keeps what was made of some values."""
        if len(self._made) >= self._most:
            self._made.clear()
        self._made[tuple(map(id, values))] = made, values
        return made
