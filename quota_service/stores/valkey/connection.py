"""One pipelined connection to Valkey, shared by every call of a process.

Commands of one turn of the event loop leave in one write, and replies come back in order. Nothing is ever
sent twice by itself: a script whose reply was lost may have run, so only the caller, who has an idempotency
key, may repeat it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from quota_service.stores.valkey.address import Address
from quota_service.stores.valkey.attention import TICK_S
from quota_service.stores.valkey.dialling import Dialler
from quota_service.stores.valkey.keeper import Changed, Keeper
from quota_service.stores.valkey.pipeline import FOR_EVER, Command, Pipeline
from quota_service.stores.valkey.replying import NotTheMaster, ReplyError, checked
from quota_service.stores.valkey.scripts import Script


class Connection:
    """A connection that is made when it is first needed, and again, unasked, after it was lost.

    `url`: see `address`; AddressMalformed says what is wrong with it. `timeout_s`: a reply that takes longer
    ends the connection, because nothing behind it would be in time either; its calls raise StoreUnavailable.
    `changed` is told when Valkey becomes unavailable, and when it is back.

    A call with `patience_s` raises StoreUnavailable when it has waited for so long, and at once where that
    can be foreseen: the breaker is open, or another call has been waiting for longer already. Its command may
    have been sent and be carried out all the same. Patience is not lost to stalls of our own event loop.
    """

    def __init__(self, url: str, *, timeout_s: float = 2.0, changed: Changed | None = None) -> None:
        self._dialler = Dialler(Address.parse(url))
        self._timeout_s = timeout_s
        self._keeper = Keeper(self._dialler, timeout_s=timeout_s, changed=changed)
        self._attention = self._keeper.attention

    @property
    def available(self) -> bool:
        """Whether a call can be expected to be answered in time, as far as is known without asking."""
        return self._keeper.available

    @property
    def known_run_id(self) -> str:
        """The run id of the server that this is connected to; empty where it is connected to none."""
        pipeline = self._keeper.pipeline
        return "" if pipeline is None or pipeline.closed else pipeline.run_id

    async def run_id(self, *, patience_s: float | None = None) -> str:
        """The run id of the server, which is new with each of its starts; connects where need be. Raises
        StoreUnavailable.
        """
        return self.known_run_id or (await self._keeper.connected(self._until_s(patience_s))).run_id

    async def call(self, *command: str | bytes | int, patience_s: float | None = None) -> Any:
        """Sends one command and returns its reply (bytes, int, None or lists of them)."""
        return await self._answer(command, self._until_s(patience_s))

    async def run(
        self,
        script: Script,
        keys: tuple[str, ...],
        arguments: tuple[str | bytes | int, ...],
        *,
        patience_s: float | None = None,
    ) -> list[Any]:
        """Runs a script; brings its source where this Valkey does not know it yet and so has done nothing."""
        until_s = self._until_s(patience_s)
        try:
            return cast(
                list[Any],
                await self._answer(("EVALSHA", script.sha, len(keys), *keys, *arguments), until_s),
            )
        except ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        command = ("EVAL", script.source, len(keys), *keys, *arguments)
        return cast(list[Any], await self._answer(command, until_s))

    @asynccontextmanager
    async def apart(self) -> AsyncIterator[Pipeline]:
        """A second connection to the same server, for what one cannot share. It is not made again.

        Raises StoreUnavailable.
        """
        keeper = Keeper(self._dialler, timeout_s=self._timeout_s, changed=None)
        try:
            yield await keeper.connected(FOR_EVER)
        finally:
            await keeper.close()

    async def refresh(self) -> None:
        """With Sentinel: makes sure that the connection is to the one who is master now. Else does nothing.

        Raises StoreUnavailable: nobody knows a master, or it cannot be reached.
        """
        master = await self._dialler.master()
        if master is None:
            return
        pipeline = self._keeper.pipeline
        if pipeline is not None and pipeline.endpoint != master:
            self._keeper.end(pipeline)
        await self._keeper.connected(FOR_EVER)

    async def close(self) -> None:
        """Ends the connection; calls raise StoreUnavailable from now on."""
        await self._keeper.close()
        await self._dialler.close()

    def _until_s(self, patience_s: float | None) -> float:
        # The clock may be up to a tick behind, and nobody is to wait less than he is willing to.
        return FOR_EVER if patience_s is None else self._attention.now_s + patience_s + TICK_S

    async def _answer(self, command: Command, until_s: float) -> Any:
        pipeline = self._keeper.pipeline
        if pipeline is None:
            pipeline = await self._keeper.connected(until_s)
        reply = await pipeline.send(command, until_s)
        try:
            return checked(reply)
        except NotTheMaster:
            self._keeper.end(pipeline)
            raise
