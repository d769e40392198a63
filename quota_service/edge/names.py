"""Resource names: `organizations/{organization}` and `organizations/{organization}/{collection}/{id}`."""

from __future__ import annotations

from quota_service.domain.errors import FieldProblem, NameMalformed
from quota_service.domain.subject import ID_PATTERN

TEAMS = "teams"
USERS = "users"
API_KEYS = "apiKeys"
PROJECTS = "projects"
BUDGETS = "budgets"
RATE_LIMITS = "rateLimits"
MODEL_POLICIES = "modelPolicies"
RESERVATIONS = "reservations"
LEDGER_ENTRIES = "ledgerEntries"
ALERTS = "alerts"
DEAD_LETTERS = "deadLetters"
AUDIT_EVENTS = "auditEvents"


def organization_name(organization: str) -> str:
    """The name of an organization."""
    return f"organizations/{organization}"


def resource_name(organization: str, collection: str, id_: str) -> str:
    """The name of something inside an organization."""
    return f"organizations/{organization}/{collection}/{id_}"


def parse_organization(name: str, field: str) -> str:
    """The id of an organization by its name. Raises NameMalformed on `field`."""
    parts = name.split("/")
    if len(parts) != 2 or parts[0] != "organizations" or not ID_PATTERN.fullmatch(parts[1]):
        raise NameMalformed(FieldProblem(field, "must be organizations/{organization}"))
    return parts[1]


def parse(name: str, collection: str, field: str) -> tuple[str, str]:
    """The organization's id and the resource's id. Raises NameMalformed on `field`."""
    parts = name.split("/")
    if len(parts) != 4 or (parts[0], parts[2]) != ("organizations", collection):
        raise _malformed(collection, field)
    if not ID_PATTERN.fullmatch(parts[1]) or not ID_PATTERN.fullmatch(parts[3]):
        raise _malformed(collection, field)
    return parts[1], parts[3]


def _malformed(collection: str, field: str) -> NameMalformed:
    return NameMalformed(FieldProblem(field, f"must be organizations/{{organization}}/{collection}/{{id}}"))
