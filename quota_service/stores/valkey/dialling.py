"""Opens a socket to Valkey and makes sure that a server is at its end which decides."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from quota_service.stores.valkey.address import Address
from quota_service.stores.valkey.keys import LAYOUT
from quota_service.stores.valkey.pipeline import Command, Endpoint, Pipeline
from quota_service.stores.valkey.replying import NotTheMaster, ReplyError, checked, information

if TYPE_CHECKING:
    from quota_service.stores.valkey.sentinel import Sentinels


class Dialler:
    """Dials one address; with Sentinel, whoever is the master at the time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sentinels: Sentinels | None = None
        if address.service:
            # Here, because it takes 0.2 s that nobody else needs to wait for.
            from quota_service.stores.valkey.sentinel import Sentinels

            self._sentinels = Sentinels(address)
        self._tls = ssl.create_default_context(cafile=address.ca_file or None) if address.tls else None

    async def master(self) -> Endpoint | None:
        """Where the master is now; `None` where nothing but the address says so. Raises StoreUnavailable."""
        return await self._sentinels.master() if self._sentinels else None

    async def dial(self, make: Callable[[], Pipeline]) -> Pipeline:
        """A connection that has been greeted: the server answers, is a master, and has told its run id.

        Raises OSError, ReplyError and StoreUnavailable.
        """
        pipeline = await self._open(make)
        try:
            await self._greet(pipeline)
        except BaseException:
            pipeline.close()
            raise
        return pipeline

    async def close(self) -> None:
        if self._sentinels is not None:
            await self._sentinels.close()

    async def _open(self, make: Callable[[], Pipeline]) -> Pipeline:
        loop = asyncio.get_running_loop()
        if self._address.path:
            return (await loop.create_unix_connection(make, self._address.path))[1]
        endpoint = await self.master() or self._address.hosts[0]
        pipeline = (await loop.create_connection(make, *endpoint, ssl=self._tls))[1]
        pipeline.endpoint = endpoint
        return pipeline

    async def _greet(self, pipeline: Pipeline) -> None:
        commands: list[Command] = []
        if self._address.password:
            commands.append(("AUTH", self._address.username or "default", self._address.password))
        if self._address.database:
            commands.append(("SELECT", self._address.database))
        commands += [
            ("PING",),
            ("INFO", "server", "replication"),
        ]  # only PING says whether data is being loaded
        replies = [checked(reply) for reply in await asyncio.gather(*map(pipeline.send, commands))]
        about = information(replies[-1])
        if about.get("role") != "master":
            raise NotTheMaster("Valkey is a replica and decides nothing.")
        run_id = about.get("run_id", "")
        pipeline.run_id = f"{run_id}/{LAYOUT}"
        if not run_id:
            raise ReplyError("The server does not tell its run id.")
