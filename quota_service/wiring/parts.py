"""Wires the service: the stores, what decides and settles over them, and the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg

from quota_service import telemetry
from quota_service.application.alert_details import AlertDetails
from quota_service.application.alerts import Alerts
from quota_service.application.authorization import Authorization
from quota_service.application.configurations import Configurations
from quota_service.application.delivery import Delivery
from quota_service.application.denial_counts import DenialCounts
from quota_service.application.extension import Extension
from quota_service.application.health import Health
from quota_service.application.memory import Memory
from quota_service.application.offline import Offline
from quota_service.application.opening import Openings
from quota_service.application.outage import Outages
from quota_service.application.peppers import Peppers
from quota_service.application.proving import ProvenConfigurations
from quota_service.application.publishing import Publishing
from quota_service.application.recording import Recording
from quota_service.application.recovery import Recovery
from quota_service.application.registration import Registration
from quota_service.application.resolving import KeyResolution
from quota_service.application.settlement import Commits, Releases
from quota_service.application.sights import Sights
from quota_service.application.tracking import Tracked
from quota_service.application.upkeep import Upkeep, UpkeepSettings
from quota_service.application.writing import LedgerWriter
from quota_service.config import Settings
from quota_service.edge.access.callers import Callers
from quota_service.edge.access.control import Access
from quota_service.edge.call_log import CallLog
from quota_service.edge.calls import CallSettings
from quota_service.edge.dialects import tokens
from quota_service.edge.quota import QuotaServicer, QuotaUseCases
from quota_service.edge.server import Server, ServerSettings, build_server
from quota_service.metrics.readings import Readings
from quota_service.stores.postgres.alerts import PostgresAlerts
from quota_service.stores.postgres.beginnings import PostgresBeginnings
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.dead_letters import PostgresDeadLetters
from quota_service.stores.postgres.denials import PostgresDenials
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.stores.postgres.seals import PostgresSeals
from quota_service.stores.prices import GenaiAliases
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.events import ValkeyEventLog
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.recovery import ValkeyKeys
from quota_service.stores.valkey.runner import Runner, RunnerSettings
from quota_service.stores.valkey.windows import ValkeyWindowStore
from quota_service.wiring import envoy
from quota_service.wiring.metering import Metering
from quota_service.wiring.services import Foundation, services


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A composed service: the server, and the work beside it. `measured`: what the process with this name has
    counted so far.
    """

    server: Server
    writer: LedgerWriter
    upkeep: Upkeep
    alerts: Alerts
    details: AlertDetails
    denials: DenialCounts
    tracked: Tracked
    pool: asyncpg.Pool
    warm: Callable[[], Awaitable[None]]
    measured: Callable[[str], Readings]


def wire(settings: Settings, pool: asyncpg.Pool, connection: Connection, now_ms: int) -> Parts:
    """Everything over these connections. `now_ms`: PostgreSQL's clock, until Valkey's has been heard. Raises
    CallersFault, GatewayFault.
    """
    metering = Metering(wanted=bool(settings.metrics_address))
    keys, observer, tracked = Keys(settings.key_prefix), telemetry.StoreLog(), Tracked()
    health = Health()
    store, ledger, aliases = PostgresConfigurationStore(pool), PostgresLedger(pool), GenaiAliases()
    runner = Runner(
        connection,
        keys,
        RunnerSettings(buffer_bytes_max=settings.buffer_bytes_max, patience_s=settings.patience_s),
    )
    runner.hear(now_ms)
    holds, events = ValkeyHoldStore(runner), ValkeyEventLog(runner)
    publishing = Publishing(holds)
    configurations, memory = Configurations(store, aliases, health), Memory(holds, ledger, health)
    kept_alerts, kept_denials = PostgresAlerts(pool), PostgresDenials(pool)
    alerts = Alerts(configurations, kept_alerts, observer, holds.now_ms)
    denials = DenialCounts(kept_denials, observer)
    delivery = Delivery(ledger, PostgresDeadLetters(pool), observer)
    writer = LedgerWriter(delivery, events, alerts, health, observer)
    epochs = PostgresEpochs(pool)
    recovery = Recovery(ValkeyKeys(runner), epochs, delivery, configurations, alerts, health, observer)
    runner.establish = recovery.establish
    offline = Offline(ledger, alerts, health, holds.now_ms)
    openings = Openings(ValkeyWindowStore(runner), PostgresBeginnings(pool), ledger, writer)
    recording = Recording(configurations, holds, memory, writer, openings, offline, tracked)
    use_cases = QuotaUseCases(
        configurations=configurations,
        authorization=metering.authorization(
            Authorization(
                configurations,
                holds,
                writer,
                Registration(store, publishing),
                openings,
                Outages(ledger, health, settings.worker_count),
                alerts,
                denials,
            )
        ),
        commits=Commits(
            configurations, holds, memory, writer, recording, openings, recovery, offline, tracked
        ),
        releases=Releases(holds, memory, writer, recovery, offline, tracked),
        extension=Extension(configurations, holds, memory, writer, recovery, tracked, alerts, denials),
        recording=recording,
        memory=memory,
    )
    proven, peppers = ProvenConfigurations(configurations, holds), Peppers(settings.key_peppers)
    resolution = KeyResolution(proven, store, holds, health, peppers)
    foundation = Foundation(
        pool=pool,
        runner=runner,
        store=store,
        ledger=ledger,
        aliases=aliases,
        holds=holds,
        publishing=publishing,
        health=health,
        peppers=peppers,
        resolution=resolution,
        configurations=configurations,
        openings=openings,
        recovery=recovery,
        writer=writer,
        tracked=tracked,
        alerts=alerts,
        observer=observer,
        processes=settings.worker_count,
    )
    offered = services(
        QuotaServicer(use_cases),
        envoy.authorization(envoy.gateway(settings.envoy), use_cases, resolution, holds, tracked),
        envoy.processor(use_cases, tracked),
        foundation,
        development=settings.dev,
    )
    server = build_server(offered, _server_settings(settings, Sights(proven), metering))
    return Parts(
        server=server,
        writer=writer,
        upkeep=Upkeep(
            store,
            holds,
            publishing,
            events,
            delivery,
            alerts,
            recovery,
            configurations,
            PostgresSeals(pool),
            observer,
            UpkeepSettings(left_behind_ms=settings.left_behind_ms),
        ),
        alerts=alerts,
        details=AlertDetails(kept_alerts, observer),
        denials=denials,
        tracked=tracked,
        pool=pool,
        warm=lambda: asyncio.to_thread(_warm, aliases, bool(settings.envoy)),
        measured=partial(metering.readings, server.traffic, writer, observer, connection, health),
    )


def _warm(aliases: GenaiAliases, is_gateway: bool) -> None:
    """What would make a call wait: the names of models and, where Envoy is expected, the tokenizer."""
    aliases.warm()
    if is_gateway:
        tokens.load()


def _server_settings(settings: Settings, sights: Sights, metering: Metering) -> ServerSettings:
    access = None
    if settings.callers:
        callers = Callers(Path(settings.callers))
        access = Access(callers, sights, certificates=bool(settings.tls_client_ca))
    calls = CallSettings(
        in_flight_max=settings.calls_max,
        behind_max=settings.calls_behind_max,
        access=access,
        observer=metering.observer(CallLog() if settings.log_calls else None),
    )
    return ServerSettings(reflection=settings.dev, reuse_port=settings.worker_count > 1, calls=calls)
