"""Wires what administers, reports and looks after the service: everything beside the calls that spend."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from quota_service.application.administration import changes, shared_catalogue
from quota_service.application.administration.budgets import Budgets
from quota_service.application.administration.catalogue import Catalogue
from quota_service.application.administration.counters import LiveCounters
from quota_service.application.administration.directory import directory
from quota_service.application.administration.lasting import LastingAdjustments
from quota_service.application.administration.model_policies import ModelPolicies
from quota_service.application.administration.money import Money
from quota_service.application.administration.money_requests import Past
from quota_service.application.administration.organizations import Organizations
from quota_service.application.administration.rate_limits import RateLimits
from quota_service.application.administration.references import ScopeReferences
from quota_service.application.administration.seeding import Seeding
from quota_service.application.alerts import Alerts
from quota_service.application.configurations import Configurations
from quota_service.application.dead_letters import DeadLetters
from quota_service.application.exposure import Exposures
from quota_service.application.health import Health
from quota_service.application.opening import Openings
from quota_service.application.operations.doctor import Doctor
from quota_service.application.operations.reconciliation import Reconciliation
from quota_service.application.peppers import Peppers
from quota_service.application.publishing import Publishing
from quota_service.application.recovery import Recovery
from quota_service.application.resolving import KeyResolution
from quota_service.application.statuses import Statuses
from quota_service.application.tracking import Tracked
from quota_service.application.verification import Verification
from quota_service.application.watching import Watching
from quota_service.application.writing import LedgerWriter
from quota_service.edge.alert import AlertServicer
from quota_service.edge.audit import AuditServicer
from quota_service.edge.budget import BudgetServicer
from quota_service.edge.catalog import CatalogServicer
from quota_service.edge.directory import DirectoryServicer
from quota_service.edge.envoy.check import AuthorizationServicer
from quota_service.edge.envoy.process import ProcessorServicer
from quota_service.edge.operations import OperationsServicer
from quota_service.edge.quota import QuotaServicer
from quota_service.edge.report import ReportServicer
from quota_service.edge.server import Services
from quota_service.stores.postgres.alerts import PostgresAlerts
from quota_service.stores.postgres.balances import PostgresBalances
from quota_service.stores.postgres.configuration import PostgresConfigurationStore
from quota_service.stores.postgres.dead_letters import PostgresDeadLetters
from quota_service.stores.postgres.denials import PostgresDenials
from quota_service.stores.postgres.health import PostgresServerHealth
from quota_service.stores.postgres.ledger import PostgresLedger
from quota_service.stores.postgres.looks import PostgresLooks
from quota_service.stores.postgres.recovery import PostgresEpochs
from quota_service.stores.postgres.seals import PostgresSeals
from quota_service.stores.postgres.trail import PostgresTrail
from quota_service.stores.prices import GenaiAliases
from quota_service.stores.valkey.health import ValkeyServerHealth
from quota_service.stores.valkey.holds import ValkeyHoldStore
from quota_service.stores.valkey.limits import ValkeyLimitStore
from quota_service.stores.valkey.looks import ValkeyLooks
from quota_service.stores.valkey.runner import Runner
from quota_service.telemetry import StoreLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What the services share with the calls that spend. `processes`: how many the replica has."""

    pool: asyncpg.Pool
    runner: Runner
    store: PostgresConfigurationStore
    ledger: PostgresLedger
    aliases: GenaiAliases
    holds: ValkeyHoldStore
    publishing: Publishing
    health: Health
    peppers: Peppers
    resolution: KeyResolution
    configurations: Configurations
    openings: Openings
    recovery: Recovery
    writer: LedgerWriter
    tracked: Tracked
    alerts: Alerts
    observer: StoreLog
    processes: int


def services(
    quota: QuotaServicer,
    authorization: AuthorizationServicer,
    processor: ProcessorServicer,
    given: Foundation,
    *,
    development: bool,
) -> Services:
    """All services: those for calls that spend, and those around them."""
    administration = changes.Changes(given.store, given.publishing)
    shared = shared_catalogue.SharedCatalogue(given.configurations.fresh, given.aliases)
    organizations = Organizations(administration)
    return Services(
        quota=quota,
        budgets=_budgets(given, administration, shared),
        directory=_directory(given, administration, organizations),
        catalog=CatalogServicer(Catalogue(administration, shared)),
        reports=ReportServicer(organizations, given.ledger),
        alerts=AlertServicer(organizations, PostgresAlerts(given.pool), PostgresDenials(given.pool)),
        audit=_audit(given, organizations),
        operations=_operations(given, organizations, development=development),
        authorization=authorization,
        processor=processor,
    )


def _audit(given: Foundation, organizations: Organizations) -> AuditServicer:
    trail = PostgresTrail(given.pool)
    return AuditServicer(organizations, trail, Verification(trail, PostgresSeals(given.pool)))


def _directory(
    given: Foundation, administration: changes.Changes, organizations: Organizations
) -> DirectoryServicer:
    return DirectoryServicer(
        organizations, directory(administration, given.peppers, given.holds.now_ms), given.resolution
    )


def _budgets(
    given: Foundation, administration: changes.Changes, shared: shared_catalogue.SharedCatalogue
) -> BudgetServicer:
    configurations, holds = given.configurations, given.holds
    references = ScopeReferences(shared)
    statuses = Statuses(configurations, holds, given.openings)
    return BudgetServicer(
        Budgets(administration, references, Seeding(shared, given.aliases), holds.now_ms),
        statuses,
        RateLimits(administration, references),
        ModelPolicies(administration, references),
        Watching(statuses),
        Exposures(configurations, holds, statuses, PostgresBalances(given.pool)),
        _money(given, administration, statuses),
    )


def _money(given: Foundation, administration: changes.Changes, statuses: Statuses) -> Money:
    counters = LiveCounters(given.configurations, given.holds, given.openings)
    past, limits = Past(given.ledger, statuses), ValkeyLimitStore(given.runner)
    lasting = LastingAdjustments(
        changes=administration, counters=counters, holds=given.holds, limits=limits, past=past
    )
    return Money(counters, limits, lasting, past, given.writer, given.tracked)


def _operations(given: Foundation, organizations: Organizations, *, development: bool) -> OperationsServicer:
    return OperationsServicer(
        organizations,
        Doctor(
            ValkeyServerHealth(given.runner),
            PostgresServerHealth(given.pool, given.processes),
            development=development,
        ),
        Reconciliation(
            ValkeyLooks(given.runner, given.holds),
            PostgresLooks(given.pool),
            PostgresEpochs(given.pool),
            given.recovery,
            given.configurations,
        ),
        DeadLetters(PostgresDeadLetters(given.pool), given.alerts, given.observer),
    )
