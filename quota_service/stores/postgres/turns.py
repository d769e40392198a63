"""Changes wait for one another in this process, not each in a transaction of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """An organization is changed by one at a time, and all organizations together by so many `at_once`. Those
    who wait then take no connections from the ledger, as they would if PostgreSQL had them wait.
    """

    def __init__(self, at_once: int) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # of who works or waits
        self._room = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self, organization: str) -> AsyncIterator[None]:
        """Begins when it is its turn."""
        lock = self._locks.setdefault(organization, asyncio.Lock())
        async with lock, self._room:
            yield
