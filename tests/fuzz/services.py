"""The service without its stores: whatever would ask one ends there, after all that comes before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from quota_service.application import charging, intents
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
from quota_service.application.health import Health
from quota_service.application.peppers import Peppers
from quota_service.application.proving import ProvenConfigurations
from quota_service.application.requests import AuthorizeRequest, CommitRequest, RecordRequest
from quota_service.application.resolving import KeyResolution
from quota_service.domain.errors import StoreUnavailable
from quota_service.domain.subject import Subject
from quota_service.edge.alert import AlertServicer
from quota_service.edge.audit import AuditServicer
from quota_service.edge.budget import BudgetServicer
from quota_service.edge.catalog import CatalogServicer
from quota_service.edge.directory import DirectoryServicer
from quota_service.edge.operations import OperationsServicer
from quota_service.edge.quota import QuotaServicer, QuotaUseCases
from quota_service.edge.report import ReportServicer
from quota_service.edge.server import Services
from tests.fuzz.memory import NOW_MS, MemoryStore, NoAliases, Publisher
from tests.support.service import PEPPER


class Asked(StoreUnavailable):
    """A store would be asked now: the request has passed everything before. No store is there, which in a
    batch is the answer to one request, and no fault.
    """


class Asking:
    """Stands for whatever asks a store: any of its methods, at once."""

    def __getattr__(self, name: str) -> Any:
        async def ask(*_: object, **__: object) -> Any:
            raise Asked

        async def ask_and_go_on(*_: object, **__: object) -> AsyncIterator[Any]:
            raise Asked
            yield

        return ask_and_go_on if name in ("watch", "reconcile") else ask


class Deciding:
    """What a request for money comes to, under a configuration that allows it."""

    def __init__(self, configurations: Configurations) -> None:
        self._configurations = configurations

    async def authorize(self, request: AuthorizeRequest) -> Any:
        intents.require_sensible(request)
        content = intents.content_of(request)
        plans = await self._plans(request.subject)
        intent = intents.intent_of(plans, request, NOW_MS, intents.new_reservation(NOW_MS), content)
        intents.command_of(intent, request)
        raise intent.error or Asked

    async def record(self, request: RecordRequest) -> Any:
        charge = charging.Charge(
            subject=request.subject,
            provider=request.provider,
            model=request.model,
            usage=request.usage,
            occur_ms=request.occur_ms,
        )
        charging.price(await self._plans(request.subject), charge, NOW_MS)
        raise Asked

    async def commit(self, request: CommitRequest) -> Any:
        subject = request.subject or Subject(organization=request.organization)
        charge = charging.Charge(
            subject=subject, provider=request.provider, model=request.model, usage=request.usage
        )
        charging.price(await self._plans(subject), charge, NOW_MS)
        raise Asked

    async def _plans(self, subject: Subject) -> Any:
        return await self._configurations.get(await self._configurations.organization_of(subject))


def services() -> Services:
    asking: Any = Asking()
    store, aliases, health, peppers = MemoryStore(), NoAliases(), Health(), Peppers([PEPPER])
    configurations = Configurations(store, aliases, health)
    changes, shared = Changes(store, Publisher()), SharedCatalogue(configurations.fresh, aliases)
    organizations, references = Organizations(changes), ScopeReferences(shared)
    deciding: Any = Deciding(configurations)
    return Services(
        quota=QuotaServicer(
            QuotaUseCases(
                configurations=configurations,
                authorization=deciding,
                commits=deciding,
                releases=asking,
                extension=asking,
                recording=deciding,
                memory=asking,
            )
        ),
        budgets=BudgetServicer(
            Budgets(changes, references, Seeding(shared, aliases), lambda: NOW_MS),
            asking,
            RateLimits(changes, references),
            ModelPolicies(changes, references),
            asking,
            asking,
            asking,
        ),
        directory=DirectoryServicer(
            organizations,
            directory(changes, peppers, lambda: NOW_MS),
            KeyResolution(ProvenConfigurations(configurations, asking), store, asking, health, peppers),
        ),
        catalog=CatalogServicer(Catalogue(changes, shared)),
        reports=ReportServicer(organizations, asking),
        alerts=AlertServicer(organizations, asking, asking),
        audit=AuditServicer(organizations, asking, asking),
        operations=OperationsServicer(organizations, asking, asking, asking),
        authorization=asking,
        processor=asking,
    )
