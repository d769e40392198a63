"""The services that keep the rules, on a real server over real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import grpc
import pytest

from quota.v1 import directory_pb2
from quota.v1.alert_pb2_grpc import AlertServiceServicer
from quota.v1.audit_pb2_grpc import AuditServiceServicer
from quota.v1.budget_pb2_grpc import BudgetServiceStub
from quota.v1.catalog_pb2_grpc import CatalogServiceStub
from quota.v1.directory_pb2_grpc import DirectoryServiceStub
from quota.v1.operations_pb2_grpc import OperationsServiceServicer
from quota.v1.quota_pb2_grpc import QuotaServiceServicer
from quota.v1.report_pb2_grpc import ReportServiceStub
from quota_service.application.administration.budgets import Budgets
from quota_service.application.administration.catalogue import Catalogue
from quota_service.application.administration.changes import Changes
from quota_service.application.administration.directory import directory
from quota_service.application.administration.model_policies import ModelPolicies
from quota_service.application.administration.organizations import Organizations
from quota_service.application.administration.rate_limits import RateLimits
from quota_service.application.administration.references import ScopeReferences
from quota_service.application.administration.seeding import Seeding
from quota_service.application.administration.shared_catalogue import SharedCatalogue
from quota_service.application.configurations import Configurations
from quota_service.application.exposure import Exposures
from quota_service.application.health import Health
from quota_service.application.opening import Openings
from quota_service.application.peppers import Peppers
from quota_service.application.proving import ProvenConfigurations
from quota_service.application.publishing import VersionPublisher
from quota_service.application.resolving import KeyResolution
from quota_service.application.statuses import Statuses
from quota_service.application.watching import Watching
from quota_service.domain.commands import Event
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.pricing import DatedRate, Model, Rate
from quota_service.edge.budget import BudgetServicer
from quota_service.edge.catalog import CatalogServicer
from quota_service.edge.directory import DirectoryServicer
from quota_service.edge.envoy import settings as gateway
from quota_service.edge.envoy.check import AuthorizationServicer
from quota_service.edge.envoy.process import ProcessorServicer
from quota_service.edge.report import ReportServicer
from quota_service.edge.server import Server, Services, build_server
from quota_service.stores.postgres.balances import PostgresBalances
from quota_service.stores.postgres.beginnings import PostgresBeginnings
from quota_service.stores.postgres.catalogue import import_models
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.pool import PoolSettings, close_pool, open_pool
from quota_service.stores.prices import GenaiAliases
from quota_service.stores.valkey.connection import Connection
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.runner import Runner
from quota_service.stores.valkey.windows import ValkeyWindowStore
from tests.support.fence import unfenced

if TYPE_CHECKING:
    from quota.v1.budget_pb2_grpc import BudgetServiceAsyncStub
    from quota.v1.catalog_pb2_grpc import CatalogServiceAsyncStub
    from quota.v1.directory_pb2_grpc import DirectoryServiceAsyncStub
    from quota.v1.report_pb2_grpc import ReportServiceAsyncStub

ACME = "organizations/acme"
PEPPERS = Peppers(["the pepper of these tests is long enough"])
IMPORTED = tuple(
    Model(provider=provider, model=model, prices=(DatedRate(0, Rate(0, 5, 5, 5, 5)),), imported=True)
    for provider, model in (
        ("anthropic", "claude-sonnet-4-5"),
        ("openai", "gpt-4o"),
        ("openai", "gpt-4o-mini"),
    )
)


class Publisher:
    """Valkey, and a switch that makes it fail. Remembers what was published."""

    def __init__(self, holds: VersionPublisher) -> None:
        self._holds = holds
        self.fails = False
        self.published: list[int] = []

    async def publish_version(self, organization: str, version: int) -> None:
        if self.fails:
            raise StoreUnavailable("Valkey does not answer.")
        await self._holds.publish_version(organization, version)
        self.published.append(version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Stubs of a server on which the organization `acme` exists."""

    budgets: BudgetServiceAsyncStub
    catalog: CatalogServiceAsyncStub
    directory: DirectoryServiceAsyncStub
    reports: ReportServiceAsyncStub
    publisher: Publisher


@pytest.fixture
async def service(postgres_url: str, valkey_url: str, key_prefix: str) -> AsyncIterator[Service]:
    pool = await open_pool(PoolSettings(url=postgres_url, connections_max=4))
    connection = Connection(valkey_url)
    async with pool.acquire() as importing:
        await import_models(importing, "test", lambda: IMPORTED)
    runner = unfenced(Runner(connection, Keys(key_prefix)))
    publisher = Publisher(ValkeyHoldStore(runner))
    server = _server(pool, runner, publisher)
    port = server.listen("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stubs = Service(
            budgets=BudgetServiceStub(channel),
            catalog=CatalogServiceStub(channel),
            directory=DirectoryServiceStub(channel),
            reports=ReportServiceStub(channel),
            publisher=publisher,
        )
        await stubs.directory.CreateOrganization(
            directory_pb2.CreateOrganizationRequest(
                organization_id="acme", organization=directory_pb2.Organization(time_zone="Europe/Berlin")
            )
        )
        yield stubs
    await server.shutdown(drain_s=0, grace_s=0)
    await connection.close()
    await close_pool(pool)


class NoWriter:
    """Forgets what is to be written: nothing is spent here, so nothing is carried either."""

    def submit(self, event: Event) -> None:
        pass


def _server(pool: asyncpg.Pool, runner: Runner, publisher: Publisher) -> Server:
    store, ledger, aliases = PostgresConfigurationStore(pool), PostgresLedger(pool), GenaiAliases()
    holds, configurations = ValkeyHoldStore(runner), Configurations(store, aliases, Health())
    openings = Openings(ValkeyWindowStore(runner), PostgresBeginnings(pool), ledger, NoWriter())
    changes, shared = Changes(store, publisher), SharedCatalogue(configurations.fresh, aliases)
    organizations, absent = Organizations(changes), cast(Any, None)
    references, statuses = ScopeReferences(shared), Statuses(configurations, holds, openings)
    services = Services(
        quota=QuotaServiceServicer(),  # type: ignore[abstract]  # answers nothing
        budgets=BudgetServicer(
            Budgets(changes, references, Seeding(shared, aliases), holds.now_ms),
            statuses,
            RateLimits(changes, references),
            ModelPolicies(changes, references),
            Watching(statuses),
            Exposures(configurations, holds, statuses, PostgresBalances(pool)),
            absent,
        ),
        directory=DirectoryServicer(
            organizations,
            directory(changes, PEPPERS, holds.now_ms),
            KeyResolution(ProvenConfigurations(configurations, holds), store, holds, Health(), PEPPERS),
        ),
        catalog=CatalogServicer(Catalogue(changes, shared)),
        reports=ReportServicer(organizations, ledger),
        audit=AuditServiceServicer(),  # type: ignore[abstract]  # answers nothing
        alerts=AlertServiceServicer(),  # type: ignore[abstract]  # answers nothing
        operations=OperationsServiceServicer(),  # type: ignore[abstract]  # answers nothing
        authorization=AuthorizationServicer(gateway.DEFAULT, absent, absent, absent, absent),
        processor=ProcessorServicer(absent),
    )
    return build_server(services)
