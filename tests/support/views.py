"""Callers at work in a made-up organization: what they are answered, and what it may be."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message

from quota.v1 import (
    alert_pb2,
    budget_pb2,
    directory_pb2,
    model_policy_pb2,
    quota_pb2,
    report_pb2,
    types_pb2,
)
from quota_service.edge.access.callers import token_hash
from tests.support.callers import written
from tests.support.refusals import answer
from tests.support.service import Client
from tests.support.worlds import World, named_in

NOBODY = "nobody.has.this"


class Identity(NamedTuple):
    """A caller of an organization, bound to teams or to those that a user leads, or to neither."""

    organization: str
    role: str
    teams: tuple[str, ...] = ()
    user: str = ""

    @property
    def is_of_teams(self) -> bool:
        return bool(self.teams or self.user)


class View(NamedTuple):
    """A caller at work: what it is answered, and what it may be. `told` is what its own things name besides:
    who leads a team, and what somebody spent for.
    """

    identity: Identity
    client: Client
    world: World
    other: World
    seen: set[str]
    told: set[str]

    def sees(self, subject: types_pb2.Subject) -> bool:
        return not self.identity.is_of_teams or subject.team in self.seen


def let_in(file: Path, named: dict[str, Identity]) -> None:
    """Makes these the callers of a file, and an operator who may everything."""
    entries = {"operator": 'role: admin, organization: "*"'}
    for name, each in named.items():
        entries[name] = f"role: {each.role}, organization: {each.organization}"
        entries[name] += f", teams: {list(each.teams)}" if each.teams else ""
        entries[name] += f", user: {each.user}" if each.user else ""
    hashed = {name: token_hash(f"{name}-token") for name in entries}
    more = {name: f"{{{said}, token_sha256: {hashed[name]}}}" for name, said in entries.items()}
    written(file, {}, **more)


def view_of(identity: Identity, client: Client, both: Sequence[World]) -> View:
    """Of two organizations, one of which is the caller's."""
    [world] = [each for each in both if each.id == identity.organization]
    [other] = [each for each in both if each is not world]
    seen = {id_ for ids in world.names.values() for id_ in ids}
    if identity.is_of_teams:
        seen = world.seen(identity.teams, identity.user)
    leads = {user for team in seen & set(world.teams) for user in world.leads[team]}
    return View(identity, client, world, other, seen, seen | leads | set(world.projects))


async def answered(call: Any) -> Any:
    """The answer, of a stream the first; how it was refused."""
    try:
        return await (call.read() if isinstance(call, grpc.aio.UnaryStreamCall) else call)
    except grpc.aio.AioRpcError as error:
        return (*answer(error), error.details() or "")
    finally:
        call.cancel()


def instead(refused: object, replaced: dict[str, str]) -> object:
    """A refusal about some ids, as it would be about others."""
    if not isinstance(refused, tuple):
        return refused
    code, reason, text = refused
    for old, new in replaced.items():
        text = text.replace(old, new)
    return code, reason, text


def require_silent(view: View, told: Message) -> None:
    """Nothing out of sight is named anywhere."""
    assert isinstance(told, Message), (view.identity, told)
    named = named_in(told, (view.world, view.other))
    assert named <= view.told, (view.identity, sorted(named - view.told), told)


class Way(NamedTuple):
    """A method that is about one thing of a collection, which its request names."""

    collection: str
    method: Any
    request: Any


def gets(client: Client) -> list[Way]:
    directory, budgets = client.directory, client.budgets
    return [
        Way("teams", directory.GetTeam, directory_pb2.GetTeamRequest),
        Way("users", directory.GetUser, directory_pb2.GetUserRequest),
        Way("apiKeys", directory.GetApiKey, directory_pb2.GetApiKeyRequest),
        Way("projects", directory.GetProject, directory_pb2.GetProjectRequest),
        Way("budgets", budgets.GetBudget, budget_pb2.GetBudgetRequest),
        Way("budgets", budgets.GetBudgetStatus, budget_pb2.GetBudgetStatusRequest),
        Way("budgets", budgets.WatchBudgetStatus, budget_pb2.WatchBudgetStatusRequest),
        Way("rateLimits", budgets.GetRateLimit, budget_pb2.GetRateLimitRequest),
        Way("modelPolicies", budgets.GetModelPolicy, model_policy_pb2.GetModelPolicyRequest),
    ]


async def get(way: Way, organization: str, id_: str) -> Any:
    name = f"organizations/{organization}/{way.collection}/{id_}"
    return await answered(way.method(way.request(name=name)))


def lists(client: Client) -> dict[str, tuple[Any, Any]]:
    """Every method that lists something of an organization, by what its answer calls it, and its request."""
    directory, budgets = client.directory, client.budgets
    return {
        "teams": (directory.ListTeams, directory_pb2.ListTeamsRequest),
        "users": (directory.ListUsers, directory_pb2.ListUsersRequest),
        "api_keys": (directory.ListApiKeys, directory_pb2.ListApiKeysRequest),
        "projects": (directory.ListProjects, directory_pb2.ListProjectsRequest),
        "budgets": (budgets.ListBudgets, budget_pb2.ListBudgetsRequest),
        "rate_limits": (budgets.ListRateLimits, budget_pb2.ListRateLimitsRequest),
        "model_policies": (budgets.ListModelPolicies, model_policy_pb2.ListModelPoliciesRequest),
        "reservations": (client.quota.ListReservations, quota_pb2.ListReservationsRequest),
        "ledger_entries": (client.reports.ListLedgerEntries, report_pb2.ListLedgerEntriesRequest),
        "alerts": (client.alerts.ListAlerts, alert_pb2.ListAlertsRequest),
        "denials": (client.alerts.ListDenials, alert_pb2.ListDenialsRequest),
    }


async def pages(client: Client, field: str, organization: str, size: int = 0, **filters: Any) -> list[Any]:
    """What each page of a list has. No token is of anything but the last of its page."""
    method, request = lists(client)[field]
    asked = request(parent=f"organizations/{organization}", page_size=size, **filters)
    found: list[Any] = []
    while True:
        page = await method(asked)
        found.append(list(getattr(page, field)))
        asked.page_token = page.next_page_token
        if not asked.page_token:
            return found
        if field != "denials":  # they have no name: a minute and a number say where they go on
            place = base64.b64decode(asked.page_token + "==", altchars=b"~!")[12:].decode()
            assert re.split("[ /]", place)[-1] == id_of(found[-1][-1].name), (field, place)


async def items(view: View, field: str, size: int = 0, **filters: Any) -> list[Any]:
    """What all pages have. None is empty but the only one: nothing tells of what is left out."""
    found = await pages(view.client, field, view.world.id, size, **filters)
    assert not view.identity.is_of_teams or all(found) or found == [[]]
    return [item for page in found for item in page]


def subject_of(parts: dict[str, str], **more: str) -> types_pb2.Subject:
    return types_pb2.Subject(**{**parts, **more})  # type: ignore[arg-type]  # no part of them is tags


def id_of(name: str) -> str:
    return name.rpartition("/")[2]


def is_in_sight(view: View, field: str, item: Any) -> bool:
    return id_of(item.source) in view.seen if field == "alerts" else view.sees(item.subject)


def trim(view: View, item: Any) -> None:
    """Leaves out what something that is in sight says of what is not."""
    match item:
        case report_pb2.LedgerEntry():
            windows = [each for each in item.windows if id_of(each.source) in view.seen]
            del item.windows[:]
            item.windows.extend(windows)
        case alert_pb2.Alert() if not view.sees(item.subject):
            item.ClearField("subject")
        case alert_pb2.DenialCount() if item.source and id_of(item.source) not in view.seen:
            item.source = item.message = ""
        case _:
            pass
