"""The configuration of one organization, in memory. What is put there is forgotten at once: every request
finds the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from quota_service.application.ledger_ports import LedgerSpend, Written
from quota_service.application.ports import Page, R, Stored
from quota_service.domain.amounts import Limits, Meter
from quota_service.domain.api_key import ApiKey
from quota_service.domain.audit import Authorship
from quota_service.domain.budget import Budget, Seed
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import AlreadyExists, OrganizationNotFound
from quota_service.domain.ledger import Entry
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.period import Monthly
from quota_service.domain.pricing import DatedRate, Model, Rate
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Directory, Organization, Project, Team, User

ORGANIZATION, ID = "acme", "acme-1"
NOW_MS = 1_790_000_000_000
MODEL = Model(
    provider="openai",
    model="gpt-4o",
    prices=(DatedRate(0, Rate(0, 2_500_000, 1_250_000, 2_500_000, 10_000_000)),),
)
HELD: Mapping[type[Any], Any] = {
    Team: Team(id=ID),
    User: User(id=ID, teams=(ID,)),
    ApiKey: ApiKey(id=ID, user=ID),
    Project: Project(id=ID),
    Budget: Budget(id=ID, period=Monthly(), limits=Limits(cost_micros=1_000_000)),
    RateLimit: RateLimit(id=ID, meter=Meter.REQUESTS, limit=60, interval_ms=60_000, burst=60),
    ModelPolicy: ModelPolicy(id=ID, team=ID, allowed_tiers=(1,), allowed_models=(("openai", "*"),)),
}


def _stored(value: Any) -> Stored[Any]:
    return Stored(value=value, etag="e", create_ms=NOW_MS, update_ms=NOW_MS)


def configuration() -> Configuration:
    return Configuration(
        version=1,
        organization=Organization(id=ORGANIZATION),
        directory=Directory(
            teams={ID: HELD[Team]},
            users={ID: HELD[User]},
            api_keys={ID: HELD[ApiKey]},
            projects={ID: HELD[Project]},
        ),
        budgets={ID: HELD[Budget]},
        rate_limits={ID: HELD[RateLimit]},
        imported_models={(MODEL.provider, MODEL.model): MODEL},
    )


class MemoryChange:
    """Implements `Change`."""

    version = 2

    def __init__(self) -> None:
        self.organization = _stored(Organization(id=ORGANIZATION))

    async def get(self, kind: type[R], id_: str) -> Stored[R] | None:
        return _stored(HELD[kind]) if kind in HELD and id_ == ID else None

    async def all(self, kind: type[R]) -> tuple[R, ...]:
        return (HELD[kind],) if kind in HELD else ()

    async def put(self, value: R) -> Stored[R]:
        return _stored(value)

    async def delete(self, kind: type[R], id_: str) -> None:
        pass

    async def put_organization(self, value: Organization) -> Stored[Organization]:
        return _stored(value)

    async def spend_in(self, budget: Budget, window: object) -> Sequence[LedgerSpend]:
        return ()

    async def begin_balances(self, *_: object, **__: object) -> tuple[Seed, ...]:
        return ()

    async def claim_request(self, request_id: str, content_hash: str) -> bool:
        return True

    async def write_entry(self, entry: Entry) -> Written:
        raise AssertionError("no rule writes entries")


class MemoryStore:
    """Implements `ConfigurationStore`."""

    @asynccontextmanager
    async def change(self, organization: str, by: Authorship) -> AsyncIterator[MemoryChange]:
        _require(organization)
        yield MemoryChange()

    async def create_organization(
        self, value: Organization, request_id: str, by: Authorship
    ) -> tuple[Stored[Organization], int]:
        if value.id == ORGANIZATION:
            raise AlreadyExists("It exists already.")
        return _stored(value), 1

    async def delete_organization(self, organization: str, by: Authorship) -> int:
        _require(organization)
        return 3

    async def get_organization(self, organization: str) -> Stored[Organization]:
        _require(organization)
        return _stored(Organization(id=ORGANIZATION))

    async def list_organizations(self, page_size: int, after: str) -> Page[Stored[Organization]]:
        return Page((_stored(Organization(id=ORGANIZATION)),), ORGANIZATION)

    async def get(self, organization: str, kind: type[R], id_: str) -> Stored[R] | None:
        return await MemoryChange().get(kind, id_) if organization == ORGANIZATION else None

    async def keys_with(self, start: str) -> tuple[tuple[str, str], ...]:
        return ((ORGANIZATION, ID),)

    async def list(
        self,
        organization: str,
        kind: type[R],
        page_size: int,
        after: str,
        only: Sequence[str] | None = None,
    ) -> Page[Stored[R]]:
        _require(organization)
        return Page(tuple(_stored(each) for each in await MemoryChange().all(kind)), "" if after else ID)

    async def load(self, organization: str, known: Configuration | None) -> Configuration:
        _require(organization)
        return configuration()

    async def organization_of_key(self, api_key: str) -> str | None:
        return ORGANIZATION if api_key == ID else None

    async def versions(self) -> Mapping[str, int]:
        return {ORGANIZATION: 1}


class Publisher:
    """Implements `VersionPublisher`: nobody else is to know."""

    async def publish_version(self, organization: str, version: int) -> None:
        pass


class NoAliases:
    """Implements `ModelAliases`."""

    def resolve(self, provider: str, model: str) -> tuple[str, str] | None:
        return None


def _require(organization: str) -> None:
    if organization != ORGANIZATION:
        raise OrganizationNotFound(f"There is no organization “{organization}”.")
