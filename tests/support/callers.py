"""Services that ask who calls, and clients that say it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from quota.client import Credentials
from quota.v1 import budget_pb2, catalog_pb2, quota_pb2, types_pb2
from quota_service.cli.token import entry
from quota_service.edge.access.callers import token_hash
from quota_service.edge.access.scopes import IDS
from tests.support.service import Client

BUDGET = budget_pb2.Budget(
    limits=types_pb2.Amounts(cost_micros=1_000_000),
    mode=types_pb2.MODE_HARD,
    period=budget_pb2.Period(monthly=budget_pb2.Period.Monthly()),
)
UUID = "01930000-0000-7000-8000-000000000001"
COLLECTIONS = {
    "Budget": "budgets",
    "RateLimit": "rateLimits",
    "ModelPolicy": "modelPolicies",
    "Team": "teams",
    "User": "users",
    "Project": "projects",
    "ApiKey": "apiKeys",
}


def written(file: Path, callers: Mapping[str, tuple[str, ...]], **more: str) -> Path:
    """A file of callers, each with a role, an organization and, maybe, teams; everybody's token is their name
    and `-token`. `more`: what stands behind a caller's name instead.
    """
    lines = ["callers:"]
    for name, (role, organization, *teams) in callers.items():
        lines.append(entry(name, role, organization, token_hash(f"{name}-token"), teams))
    lines += [f"  {name}: {entry}" for name, entry in more.items()]
    file.write_text("\n".join(lines) + "\n")
    return file


@asynccontextmanager
async def calling(address: str, token: str, **tls: Any) -> AsyncIterator[Client]:
    """A client with that token; "": with none."""
    async with Credentials(token=token, **tls).channel(address) as channel:
        yield Client(channel, address)


def stub_of(client: Client, method: MethodDescriptor) -> Any:
    """The client's method."""
    services = {
        "QuotaService": client.quota,
        "BudgetService": client.budgets,
        "DirectoryService": client.directory,
        "CatalogService": client.catalog,
        "ReportService": client.reports,
        "AlertService": client.alerts,
        "AuditService": client.audit,
        "OperationsService": client.operations,
    }
    return getattr(services[method.containing_service.name], method.name)


def about(method: MethodDescriptor, organization: str) -> Any:
    """A valid request of a method, about an organization and what it has."""
    request: Any = GetMessageClass(method.input_type)()
    noun = next((noun for noun in COLLECTIONS if noun in method.name), "")
    parent, id_ = f"organizations/{organization}", f"{organization}-1"
    for field in method.input_type.fields:
        name = field.name
        if name == "parent":
            request.parent = parent
        elif name in ("name", "source", "destination") and field.has_presence is False:
            setattr(request, name, _name(method.name, name, parent, noun, id_))
        elif name == "names":
            request.names.append(f"{parent}/deadLetters/1")
        elif name in IDS and field.message_type is None:
            setattr(request, name, organization)
        elif name == f"{_snake(noun)}_id":
            setattr(request, name, "new")
        elif name in ("idempotency_key", "reason", "request_id"):
            setattr(request, name, "k" if field.enum_type is None else 0)
    return _completed(method, request, parent, organization, noun, id_)


def _name(method: str, field: str, parent: str, noun: str, id_: str) -> str:
    if field in ("source", "destination"):
        suffix = "" if field == "source" else "b"
        return f"{parent}/budgets/{id_}{suffix}"
    if method in ("Commit", "Release", "Extend", "GetReservation"):
        return f"{parent}/reservations/{UUID}"
    if "Organization" in method or method == "Reconcile":
        return parent
    return f"{parent}/{COLLECTIONS[noun]}/{id_}"


def _completed(
    method: MethodDescriptor, request: Any, parent: str, organization: str, noun: str, id_: str
) -> Message:
    known = {field.name for field in method.input_type.fields}
    if "subject" in known:
        request.subject.CopyFrom(types_pb2.Subject(organization=organization, user=f"{organization}-1"))
    if {"provider", "model"} <= known and method.name not in ("ListDenials",):
        request.provider, request.model = "openai", "gpt-4o"
    match request:
        case quota_pb2.CommitRequest() | quota_pb2.RecordRequest():
            request.usage.input_tokens = 1
        case quota_pb2.AuthorizeRequest():
            request.estimate.input_tokens = 1
        case quota_pb2.AuthorizeBatchRequest():
            item = request.requests.add(idempotency_key="k", provider="openai", model="gpt-4o")
            item.subject.CopyFrom(types_pb2.Subject(organization=organization, user=f"{organization}-1"))
            item.estimate.input_tokens = 1
        case quota_pb2.ExtendRequest():
            request.ttl.seconds = 60
        case budget_pb2.CreateBudgetRequest() | budget_pb2.UpdateBudgetRequest():
            request.budget.CopyFrom(BUDGET)
        case catalog_pb2.UpsertModelRequest():
            request.model.provider, request.model.model, request.model.caller_priced = "own", "m", True
        case _:
            pass
    if "amounts" in known:
        request.amounts.cost_micros = 1
    if method.name == "ResolveApiKey":
        request.secret = "qk_" + "a" * 43
    resource = _snake(noun)
    if resource in known and method.input_type.fields_by_name[resource].message_type is not None:
        message = getattr(request, resource)
        message.SetInParent()
        if method.name.startswith("Update"):
            message.name = f"{parent}/{COLLECTIONS[noun]}/{id_}"
    if method.name in ("CreateOrganization", "UpdateOrganization"):
        request.organization.SetInParent()
        if method.name.startswith("Update"):
            request.organization.name = parent
    return request  # type: ignore[no-any-return]


def _snake(noun: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in noun).removeprefix("_")
