"""What begins and ends the service, in one process or in several: signals, and stores of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from quota_service.config import Settings


def end_at_once(number: int) -> None:
    """Ends the process on the spot: what is not in the ledger yet is in Valkey, where another finds it."""
    os._exit(128 + number)


def on_signals(again: Callable[[int], None] = end_at_once) -> asyncio.Event:
    """Set by the first SIGINT or SIGTERM; every further one is given to `again`."""
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        if stopping.is_set():
            again(number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopping


async def until(stopping: asyncio.Event, work: Awaitable[object]) -> None:
    """Waits for the work, but not beyond a signal. What the work raises is raised."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(stopping.wait())
    await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        await working
    else:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@asynccontextmanager
async def located(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with the URLs of running stores: those given, or embedded ones, which are migrated. In
    development mode those that are given are migrated, too.

    Raises EmbeddedError, MigrationError, StoreUnavailable.
    """
    async with _stores(settings) as there:
        if there.dev:
            from quota_service.stores.postgres import migrate as schema

            await asyncio.to_thread(schema.migrate, there.postgres_url)
        yield there


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncIterator[Settings]:
    if settings.valkey_url:
        yield settings
        return
    from quota_service.embedded import EmbeddedStores  # an extra: production need not have it

    async with EmbeddedStores(Path(settings.data_dir)) as stores:
        pepper = settings.key_pepper or _kept_pepper(Path(settings.data_dir) / "key-pepper")
        yield replace(
            settings, valkey_url=stores.valkey_url, postgres_url=stores.postgres_url, key_pepper=pepper
        )


def _kept_pepper(file: Path) -> str:
    """A pepper that stays with the data, made when it is first needed."""
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_hex(32))
        fresh.rename(file)  # a crash leaves all of it or nothing
    return file.read_text()
