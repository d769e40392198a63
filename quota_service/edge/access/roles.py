"""Which methods each role may call. What stands in no role's table nobody may call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from quota_service.domain.caller import Role
from quota_service.edge.access import of_teams


def _methods(service: str, *names: str) -> frozenset[str]:
    return frozenset(f"quota.v1.{service}/{name}" for name in names)


def _each(verbs: Iterable[str], *nouns: str) -> tuple[str, ...]:
    return tuple(verb + noun for noun in nouns for verb in verbs)


_LOOKS = (
    _methods("QuotaService", "GetReservation", "ListReservations")
    | _methods(
        "BudgetService",
        *("GetBudget", "ListBudgets", "GetBudgetStatus", "ListBudgetStatuses", "WatchBudgetStatus"),
        *("GetRateLimit", "ListRateLimits", "GetModelPolicy", "ListModelPolicies", "GetExposure"),
    )
    | _methods(
        "DirectoryService",
        *("GetOrganization", "ListOrganizations", "GetTeam", "ListTeams", "GetUser", "ListUsers"),
        *("GetProject", "ListProjects", "GetApiKey", "ListApiKeys"),
    )
    | _methods("CatalogService", "GetModel", "ListModels")
    | _methods("ReportService", "ListLedgerEntries")
    | _methods("AlertService", "ListAlerts", "ListDenials")
)

_AUDITS = _methods("AuditService", "ListAuditEvents", "VerifyAuditTrail")

_SPENDS = _methods(
    "QuotaService",
    *("Authorize", "AuthorizeBatch", "Commit", "Release", "Extend", "Record"),
    *("GetReservation", "ListReservations"),
) | _methods("DirectoryService", "ResolveApiKey")

_IN_FRONT_OF_MODELS = frozenset(
    {"envoy.service.auth.v3.Authorization/Check", "envoy.service.ext_proc.v3.ExternalProcessor/Process"}
)

_MOVES_MONEY = _methods("BudgetService", "AdjustBudget", "ReallocateBudget")

_CHANGES = (
    _methods("BudgetService", *_each(("Create", "Update", "Delete"), "Budget", "RateLimit", "ModelPolicy"))
    | _methods(
        "DirectoryService",
        *("UpdateOrganization", "RotateApiKey", "RevokeApiKey"),
        *_each(("Create", "Update", "Delete"), "Team", "User", "Project", "ApiKey"),
    )
    | _methods("CatalogService", "UpsertModel", "DeleteModel")
    | _methods("OperationsService", "Reconcile", "ListDeadLetters", "ReplayDeadLetters")
)

_OPERATES = _methods("DirectoryService", "CreateOrganization", "DeleteOrganization") | _methods(
    "OperationsService", "Diagnose"
)

METHODS: Mapping[Role, frozenset[str]] = {
    Role.GATEWAY: _SPENDS | _IN_FRONT_OF_MODELS,
    Role.VIEWER: _LOOKS,
    Role.TEAM_LEAD: frozenset(of_teams.METHODS),
    Role.FINANCE: _LOOKS | _AUDITS | _MOVES_MONEY,
    Role.ADMIN: _LOOKS | _AUDITS | _SPENDS | _IN_FRONT_OF_MODELS | _MOVES_MONEY | _CHANGES | _OPERATES,
}

UNBOUND_ONLY = _OPERATES
"""What is about the service as a whole: only for callers that are bound to no organization."""
