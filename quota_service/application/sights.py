"""What callers see who are bound to teams: worked out once per change of the organization, not per call."""

from __future__ import annotations

import asyncio

from quota_service.application.caching import Cache, Room
from quota_service.application.proving import ProvenConfigurations
from quota_service.domain.caller import Caller
from quota_service.domain.sight import COLLECTIONS, Sight, sight_of

SIGHTS_BYTES_MAX = 16 * 1024 * 1024
_SIGHT_BYTES, _BYTES_PER_THING = 2_000, 300

_Key = tuple[str, int, tuple[str, ...], str]
"""Organization, its configuration's version, and whose teams."""


class Sights:
    """Remembers sights as long as they are in use."""

    def __init__(self, proven: ProvenConfigurations) -> None:
        self._proven = proven
        self._known: Cache[_Key, Sight] = Room(SIGHTS_BYTES_MAX).cache(_bytes)

    async def of(self, caller: Caller) -> Sight:
        """By the newest configuration: whoever leads a team no more sees nothing of it from the next call on.
        Raises OrganizationNotFound, StoreUnavailable.
        """
        configuration = await self._proven.get(caller.organization)
        key = (caller.organization, configuration.version, caller.teams, caller.user)
        sight = self._known.get(key)
        if sight is None:
            # In a thread: with a large directory it takes longer than other calls should have to wait.
            sight = await asyncio.to_thread(sight_of, caller, configuration)
            self._known.put(key, sight)
        return sight


def _bytes(sight: Sight) -> int:
    things = sum(len(sight.ids(collection) or ()) for collection in COLLECTIONS)
    return _SIGHT_BYTES + _BYTES_PER_THING * things
