"""Where a hold counts, as the stores write it: by the names of windows, and how each is kept."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from quota_service.domain.reservation import Hold, Keeping, WindowRef
from quota_service.domain.sharing import Shared

VALUES_UNKNOWN = -1


class Place(NamedTuple):
    """Where a hold counts. `end_ms` 0: no end; `max_values` -1: how the window is kept is not known."""

    end_ms: int
    name: str
    opening: int
    keep_ms: int
    max_values: int


_pack = msgspec.msgpack.Encoder().encode
_decode_places = msgspec.msgpack.Decoder(tuple[Place, ...]).decode


def name_of(window: WindowRef) -> str:
    """A window among those of its organization: what may contain anything comes last."""
    return f"{window.budget}/{window.start_ms}/{window.each_value}"


def window_of(name: str, end_ms: int | None) -> WindowRef:
    """The window of a name."""
    budget, start_ms, each_value = name.split("/", 2)
    return WindowRef(budget, each_value, int(start_ms), end_ms)


def place_of(window: WindowRef, keeping: Keeping | None) -> Place:
    """Where a window is kept, and how (`None`: that is not known)."""
    if keeping is None:
        return Place(window.end_ms or 0, name_of(window), 0, 0, VALUES_UNKNOWN)
    max_values, opening, keep_ms = keeping
    return Place(window.end_ms or 0, name_of(window), opening, keep_ms, max_values)


_packed = Shared[bytes]()


def packed_places(hold: Hold) -> bytes:
    """Where it counts."""
    windows, keepings = hold.windows, hold.keepings
    packed = _packed.get((id(windows), id(keepings)))
    if packed is None:
        known: Sequence[Keeping | None] = keepings or (None,) * len(windows)
        packed = _pack([place_of(*each) for each in zip(windows, known, strict=True)])
        _packed.put((windows, keepings), packed)
    return packed


@lru_cache(maxsize=4096)
def windows_of_places(places: bytes) -> tuple[tuple[WindowRef, ...], tuple[Keeping, ...]]:
    found = _decode_places(places)
    windows = tuple([window_of(place.name, place.end_ms or None) for place in found])
    if any(place.max_values == VALUES_UNKNOWN for place in found):
        return windows, ()
    return windows, tuple([Keeping(place.max_values, place.opening, place.keep_ms) for place in found])
