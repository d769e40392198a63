"""What callers may call who are bound to teams, and what keeps each method to what they see."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from quota_service.application.administration.api_keys import ApiKeys
from quota_service.application.administration.budgets import Budgets
from quota_service.application.administration.directory import Projects, Teams, Users
from quota_service.application.administration.model_policies import ModelPolicies
from quota_service.application.administration.rate_limits import RateLimits
from quota_service.application.administration.resources import Resources
from quota_service.domain.sight import Sight
from quota_service.edge import names
from quota_service.edge.access import scopes


class Rule(Enum):
    """Why a method tells nothing that is out of sight."""

    OPEN = "it is about the organization itself, or about prices"
    NAMED = "whatever the request names must be in sight: looked at here, before the method is called"
    SIFTED = "it leaves out what is not: it asks `control.sight` for it"


def _methods(rule: Rule, service: str, *found: str) -> Mapping[str, Rule]:
    return {f"quota.v1.{service}/{name}": rule for name in found}


METHODS: Mapping[str, Rule] = {
    **_methods(Rule.OPEN, "DirectoryService", "GetOrganization", "ListOrganizations"),
    **_methods(Rule.OPEN, "CatalogService", "GetModel", "ListModels"),
    **_methods(Rule.NAMED, "DirectoryService", "GetTeam", "GetUser", "GetProject", "GetApiKey"),
    **_methods(Rule.NAMED, "BudgetService", "GetBudget", "GetRateLimit", "GetModelPolicy"),
    **_methods(Rule.NAMED, "BudgetService", "GetBudgetStatus", "WatchBudgetStatus", "ReallocateBudget"),
    **_methods(Rule.SIFTED, "DirectoryService", "ListTeams", "ListUsers", "ListProjects", "ListApiKeys"),
    **_methods(Rule.SIFTED, "BudgetService", "ListBudgets", "ListRateLimits", "ListModelPolicies"),
    **_methods(Rule.SIFTED, "BudgetService", "ListBudgetStatuses"),
    **_methods(Rule.SIFTED, "QuotaService", "GetReservation", "ListReservations"),
    **_methods(Rule.SIFTED, "ReportService", "ListLedgerEntries"),
    **_methods(Rule.SIFTED, "AlertService", "ListAlerts", "ListDenials"),
}
"""What stands not here they may not call, whatever their role."""

_RESOURCES: Mapping[str, type[Resources[Any]]] = {
    names.TEAMS: Teams,
    names.USERS: Users,
    names.PROJECTS: Projects,
    names.API_KEYS: ApiKeys,
    names.BUDGETS: Budgets,
    names.RATE_LIMITS: RateLimits,
    names.MODEL_POLICIES: ModelPolicies,
}


def require_in_sight(sight: Sight, request: Message) -> None:
    """Raises NotFound where the request names anything else, whether or not that exists, and before anything
    is looked up.
    """
    for name in scopes.resource_names(request):
        _, organization, collection, id_ = name.split("/")
        if not sight.sees(f"{collection}/{id_}"):
            raise _RESOURCES[collection].not_found(organization, id_)
