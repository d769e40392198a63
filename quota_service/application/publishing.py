"""Tells the deciding store of a configuration's new versions, at intervals that decisions fit in."""

from __future__ import annotations

import asyncio
from typing import Protocol

APART_S = 0.02
"""Between two versions of an organization: several times what it takes to load one and to decide on it."""


class VersionPublisher(Protocol):
    """The part of the deciding store that changes need."""

    async def publish_version(self, organization: str, version: int) -> None:
        """From now on nobody decides on an older configuration. Raises StoreUnavailable."""
        ...


class Publishing:
    """Publishes a change at once. Those that follow in the next moment become effective together at its end:
    with each version, decisions begin anew, and would hardly come to an end where many names are registered.
    """

    def __init__(self, publisher: VersionPublisher) -> None:
        self._publisher = publisher
        self._next: dict[str, asyncio.Task[None]] = {}  # by organization
        self._versions: dict[str, int] = {}  # what it will publish
        self._free_s: dict[str, float] = {}  # when it may

    async def publish_version(self, organization: str, version: int) -> None:
        """Returns when that version, or a newer one, is published. Raises StoreUnavailable."""
        task = self._next.get(organization)
        if task is None:
            task = self._next[organization] = asyncio.create_task(self._publish(organization))
            task.add_done_callback(_retrieved)
        self._versions[organization] = max(self._versions.get(organization, 0), version)
        await asyncio.shield(task)  # others wait for it, too

    async def _publish(self, organization: str) -> None:
        loop = asyncio.get_running_loop()
        if (wait_s := self._free_s.get(organization, 0.0) - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        del self._next[organization]
        self._free_s[organization] = loop.time() + APART_S
        await self._publisher.publish_version(organization, self._versions.pop(organization))


def _retrieved(task: asyncio.Task[None]) -> None:
    """Whoever waited may have gone, and what went wrong is then nobody's."""
    if not task.cancelled():
        task.exception()
