"""Opens the stores, has everything wired (see `wiring`), and runs it until it is to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import grpc
import uvloop

from quota_service import telemetry
from quota_service.config import Settings
from quota_service.edge import transport
from quota_service.edge.server import Server
from quota_service.stores.postgres import migrate as schema
from quota_service.stores.postgres.denials import PostgresDenials
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.stores.valkey.connection import Connection
from quota_service.wiring.parts import Parts, wire

Ready = Callable[[str], Awaitable[None]]
"""Called with the address once the server answers."""

TASKS_MS = 10_000
DAY_S = 86_400


def migrate(postgres_url: str) -> None:
    """Brings the database up to date. Raises MigrationError, StoreUnavailable."""
    schema.migrate(postgres_url)


def serve(settings: Settings, ready: Ready) -> None:
    """Serves until SIGINT or SIGTERM, then stops gently.

    Raises EmbeddedError, MigrationError, StoreUnavailable, AddressInUse.
    """
    telemetry.configure(settings.log_level)
    uvloop.run(_serve(settings, ready))


class AddressInUse(Exception):
    """Another process listens on the address."""


async def _serve(settings: Settings, ready: Ready) -> None:
    stopping = _on_signals()
    async with _stores(settings) as located:
        if located.dev:
            await asyncio.to_thread(schema.migrate, located.postgres_url)
        async with running(located, warmed=_keep_for_good) as address:
            await _until(stopping, ready(address))
            await stopping.wait()


@asynccontextmanager
async def running(settings: Settings, warmed: Callable[[], None] | None = None) -> AsyncIterator[str]:
    """The service on migrated stores, answering on the address that is yielded; stopped gently afterwards.
    `warmed` is called when it has in memory what it will always need.

    Raises MigrationError, StoreUnavailable, AddressInUse.
    """
    async with _composed(settings) as parts:
        if settings.envoy:
            await parts.warm()  # or the first calls would take longer than Envoy waits
        address = _listen(parts.server, settings)
        await parts.server.start()
        work = asyncio.gather(
            *(
                each.run()
                for each in (parts.writer, parts.upkeep, parts.alerts, parts.details, parts.denials)
            ),
            _daily(parts.pool),
            _warm(parts, warmed),
        )
        try:
            yield address
        finally:
            await _stop(parts, settings)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _warm(parts: Parts, warmed: Callable[[], None] | None) -> None:
    await parts.warm()
    if warmed is not None:
        warmed()


def _keep_for_good() -> None:
    """What is there by now stays. To look through all of it again and again would take the collector up to a
    quarter of a second each time, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


def _on_signals() -> asyncio.Event:
    """Set by the first signal. The second ends the process on the spot: what is not in the ledger yet is in
    Valkey, where another process finds it.
    """
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopping


async def _until(stopping: asyncio.Event, work: Awaitable[None]) -> None:
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
async def _stores(settings: Settings) -> AsyncIterator[Settings]:
    """The settings with the URLs of running stores: those given, or embedded ones."""
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


@asynccontextmanager
async def _composed(settings: Settings) -> AsyncIterator[Parts]:
    connection = Connection(settings.valkey_url, changed=telemetry.StoreLog().valkey_changed)
    pool = await open_pool(PoolSettings(url=settings.postgres_url))
    try:
        await schema.check_version(pool)
        yield wire(settings, pool, connection, await schema.clock_ms(pool))
    finally:
        await connection.close()
        await close_pool(pool)


def _listen(server: Server, settings: Settings) -> str:
    """Opens the port and returns the address with its number, which is new where 0 was asked for."""
    address = settings.address
    try:
        port = server.listen(address, _credentials(settings))
    except RuntimeError as error:
        raise AddressInUse(f"{address} cannot be listened on: another process may use it.") from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def _credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """Those for TLS; `None`: plaintext. Raises TlsFault."""
    if not settings.tls_cert:
        return None
    client_ca = Path(settings.tls_client_ca) if settings.tls_client_ca else None
    return transport.credentials(
        transport.TlsFiles(Path(settings.tls_cert), Path(settings.tls_key), client_ca)
    )


async def _daily(pool: asyncpg.Pool) -> None:
    """The ledger's partitions are made long before they are needed, so a day that fails does no harm."""
    while True:
        try:
            await schema.ensure_partitions(pool)
            await PostgresDenials(pool).drop_old()
            await PostgresEpochs(pool).forget_applied()
        except Exception as error:  # whatever it is: tomorrow is another day
            telemetry.StoreLog().work_failed("daily work", error)
        await asyncio.sleep(DAY_S)


async def _stop(parts: Parts, settings: Settings) -> None:
    """In the order in which work flows: no new calls, calls under way, what they settle, the ledger, what
    they were told.
    """
    await parts.server.shutdown(drain_s=settings.drain_ms / 1000, grace_s=settings.grace_ms / 1000)
    await parts.tracked.finish(TASKS_MS / 1000)
    await parts.writer.flush(TASKS_MS / 1000)
    for name, flush in (("alerts", parts.alerts.flush), ("denials", parts.denials.flush)):
        try:
            async with asyncio.timeout(TASKS_MS / 1000):
                await flush()
        except Exception as error:  # whatever it is, the service must stop
            telemetry.StoreLog().work_failed(name, error)
