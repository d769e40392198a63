"""What is worked out once and can be worked out again: kept while it is used, in so much memory at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakSet

K = TypeVar("K")
V = TypeVar("V")


class Room:
    """Memory that several caches share; what they hold never takes more than `bytes_max`, by their estimate.

    Whenever half of it has been filled anew, all of them forget what was not used meanwhile. So nobody pays
    for order on every use, and nobody has to make everything anew at once.
    """

    def __init__(self, bytes_max: int) -> None:
        self._half_bytes = bytes_max // 2
        self._filled_bytes = 0
        self._caches: WeakSet[Cache[object, object]] = WeakSet()

    def cache(self, bytes_of: Callable[[V], int]) -> Cache[K, V]:
        """A cache in this room, for as long as somebody has it. `bytes_of`: what an entry takes, its key
        included.
        """
        made = Cache[K, V](self, bytes_of)
        self._caches.add(made)  # type: ignore[arg-type]  # it is only told to age
        return made

    def fill(self, more_bytes: int) -> None:
        """Makes room for an entry, before it is kept."""
        self._filled_bytes += more_bytes
        if self._filled_bytes > self._half_bytes:
            self._filled_bytes = more_bytes
            for cache in self._caches:
                cache.age()


class Cache(Generic[K, V]):
    """Made by a `Room`."""

    def __init__(self, room: Room, bytes_of: Callable[[V], int]) -> None:
        self._room = room
        self._bytes_of = bytes_of
        self._used: dict[K, V] = {}
        self._before: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._used) + len(self._before)

    def get(self, key: K) -> V | None:
        """What is kept under a key; `None` where nothing is, any more."""
        found = self._used.get(key)
        if found is None and (found := self._before.pop(key, None)) is not None:
            self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Keeps a value, in place of the one before."""
        if key not in self._used:
            self._room.fill(self._bytes_of(value))
            self._before.pop(key, None)
        self._used[key] = value

    def age(self) -> None:
        """Forgets what was not used since the last time."""
        self._before, self._used = self._used, {}
