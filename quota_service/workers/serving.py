"""Serves with several workers, until it is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import uvloop

from quota_service import telemetry
from quota_service.addresses import Reservation
from quota_service.config import Settings
from quota_service.metrics.endpoint import answering
from quota_service.starting import located, on_signals, until
from quota_service.workers.supervisor import Supervisor

LAST_WORK_S = 60.0
"""Far more than workers need for what is to be written when their calls have ended."""

Demonstrate = Callable[[Mapping[str, str | int | bool]], Awaitable[None]]

Ready = Callable[[str, Demonstrate], Awaitable[None]]
"""Called with the address once all workers answer, and with what has one of them load the demonstration."""


def serve(settings: Settings, ready: Ready) -> None:
    """Serves until SIGINT or SIGTERM, then stops gently; a second signal ends everything at once.

    Raises AddressInUse, EmbeddedError, MigrationError, StoreUnavailable, WorkerFailed.
    """
    telemetry.configure(settings.log_level)
    uvloop.run(_serve(settings, ready))


async def _serve(settings: Settings, ready: Ready) -> None:
    supervisor = Supervisor(telemetry.WorkerLog())
    stopping = on_signals(again=supervisor.end_at_once)
    async with located(settings) as there:
        with Reservation(there.address) as reserved:
            there = replace(there, address=reserved.address, workers=settings.worker_count)
            async with _measured(there, supervisor):
                await _until_stopped(there, supervisor, stopping, ready)


async def _until_stopped(
    settings: Settings, supervisor: Supervisor, stopping: asyncio.Event, ready: Ready
) -> None:
    try:
        await until(stopping, _start(settings, supervisor, ready))
        await stopping.wait()
    except BaseException:
        supervisor.kill()
        raise
    finally:
        await supervisor.stop((settings.drain_ms + settings.grace_ms) / 1000 + LAST_WORK_S)


async def _start(settings: Settings, supervisor: Supervisor, ready: Ready) -> None:
    await supervisor.start(settings)
    await ready(settings.address, supervisor.demonstrate)
    supervisor.keep(settings)


@asynccontextmanager
async def _measured(settings: Settings, supervisor: Supervisor) -> AsyncIterator[None]:
    """Readings can be asked for, where they are wanted. Raises AddressInUse."""
    if not settings.metrics_address:
        yield
        return
    async with answering(settings.metrics_address, supervisor.measured):
        polling = asyncio.create_task(supervisor.poll())
        try:
            yield
        finally:
            polling.cancel()
