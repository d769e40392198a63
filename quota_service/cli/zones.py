"""Time zones in which budgets reset."""

from __future__ import annotations

from quota.v1 import directory_pb2
from quota_service.cli.files.server import list_budgets
from quota_service.cli.session import Session
from quota_service.cli.tables import Zones


async def fetch_zone(session: Session) -> str:
    """The organization's time zone."""
    request = directory_pb2.GetOrganizationRequest(name=await session.parent())
    organization = await session.connection.call(session.connection.directory.GetOrganization, request)
    return organization.time_zone or "UTC"


async def fetch_zones(session: Session) -> Zones:
    """The time zone of every budget, by its name, and the organization's under the empty name."""
    zones = {"": await fetch_zone(session)}
    async for budget in list_budgets(session.connection, await session.parent()):
        if budget.period.time_zone:
            zones[budget.name] = budget.period.time_zone
    return zones
