"""Opens the stores, has everything wired (see `wiring`), and runs it until it is to stop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import asyncpg
import grpc
import uvloop

from quota_service import telemetry
from quota_service.addresses import AddressInUse
from quota_service.config import Settings
from quota_service.edge import transport
from quota_service.edge.server import Server
from quota_service.metrics import readings
from quota_service.metrics.endpoint import answering
from quota_service.metrics.readings import Readings
from quota_service.starting import located, on_signals, until
from quota_service.stores.postgres import migrate as schema
from quota_service.stores.postgres.denials import PostgresDenials
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.stores.valkey.connection import Connection
from quota_service.wiring.parts import Parts, wire
from quota_service.workers.messages import (
    Answers,
    Begin,
    Demonstrate,
    Demonstrated,
    Link,
    Measure,
    Measured,
    Stop,
)

Ready = Callable[[str], Awaitable[None]]
"""Called with the address once the server answers."""

Load = Callable[[Mapping[str, str | int | bool]], Awaitable[None]]

ALONE = "1"
"""The name of a worker that is the only one."""

TASKS_MS = 10_000
DAY_S = 86_400


def migrate(postgres_url: str) -> None:
    """Brings the database up to date. Raises MigrationError, StoreUnavailable."""
    schema.migrate(postgres_url)


class Running(NamedTuple):
    """A service that answers on `address`. `measured`: what the process with this name has counted so far."""

    address: str
    measured: Callable[[str], Readings]


def serve(settings: Settings, ready: Ready) -> None:
    """Serves with this process alone until SIGINT or SIGTERM, then stops gently.

    Raises EmbeddedError, MigrationError, StoreUnavailable, AddressInUse.
    """
    telemetry.configure(settings.log_level)
    uvloop.run(_serve(settings, ready))


async def _serve(settings: Settings, ready: Ready) -> None:
    stopping = on_signals()
    async with located(settings) as there, started(there, keep_for_good) as service:

        async def measured() -> Readings:
            return {**service.measured(ALONE), **readings.of_workers(answering=1, restarts=0)}

        async with answering(there.metrics_address, measured):
            await until(stopping, ready(service.address))
            await stopping.wait()


async def work(begin: Begin, link: Link, load: Load) -> None:
    """Serves as one of several processes, until the supervisor says so, or is gone. `load`: loads the
    demonstration.

    Raises MigrationError, StoreUnavailable, AddressInUse, and what `load` raises.
    """
    telemetry.configure(begin.settings.log_level, worker=begin.number)
    name = str(begin.number)
    # Whoever stops all processes of a service at a time means no more by a signal than its supervisor would.
    stopping = on_signals(again=lambda _: None)
    talks: list[asyncio.Task[None]] = []

    def has_supervisor() -> bool:
        return not any(talk.done() for talk in talks)

    async with started(begin.settings, keep_for_good, drains=has_supervisor) as service:
        talk = asyncio.create_task(_talk(service, name, link, load, stopping))
        talk.add_done_callback(lambda _: stopping.set())
        talks.append(talk)
        link.tell(Answers())
        await stopping.wait()
        if talk.done():
            talk.result()
    link.tell(Measured(service.measured(name)))
    await link.told()


async def _talk(service: Running, name: str, link: Link, load: Load, stopping: asyncio.Event) -> None:
    """Does what the supervisor asks for, until it is gone."""
    while (message := await link.hear()) is not None:
        match message:
            case Measure():
                link.tell(Measured(service.measured(name)))
            case Demonstrate(options):
                await load(options)
                link.tell(Demonstrated())
            case Stop():
                stopping.set()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """As `started`, for those who want no more than the address."""
    async with started(settings) as service:
        yield service.address


@asynccontextmanager
async def started(
    settings: Settings,
    warmed: Callable[[], None] | None = None,
    drains: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Running]:
    """The service on migrated stores, answering on the address that is yielded; stopped gently afterwards.
    `warmed` is called when it has in memory what it will always need; `drains` tells in the end whether there
    is anybody to turn callers away before it takes no more.

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
            yield Running(address, parts.measured)
        finally:
            await _stop(parts, settings.drain_ms / 1000 if drains() else 0.0, settings.grace_ms / 1000)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _warm(parts: Parts, warmed: Callable[[], None] | None) -> None:
    await parts.warm()
    if warmed is not None:
        warmed()


def keep_for_good() -> None:
    """What is there by now stays. To look through all of it again and again would take the collector up to a
    quarter of a second each time, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


@asynccontextmanager
async def _composed(settings: Settings) -> AsyncIterator[Parts]:
    connection = Connection(settings.valkey_url, changed=telemetry.StoreLog().valkey_changed)
    pool = await open_pool(
        PoolSettings(url=settings.postgres_url, connections_max=settings.postgres_connections)
    )
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
        raise AddressInUse(address) from error
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


async def _stop(parts: Parts, drain_s: float, grace_s: float) -> None:
    """In the order in which work flows: no new calls, calls under way, what they settle, the ledger, what
    they were told.
    """
    await parts.server.shutdown(drain_s=drain_s, grace_s=grace_s)
    await parts.tracked.finish(TASKS_MS / 1000)
    await parts.writer.flush(TASKS_MS / 1000)
    for name, flush in (("alerts", parts.alerts.flush), ("denials", parts.denials.flush)):
        try:
            async with asyncio.timeout(TASKS_MS / 1000):
                await flush()
        except Exception as error:  # whatever it is, the service must stop
            telemetry.StoreLog().work_failed(name, error)
