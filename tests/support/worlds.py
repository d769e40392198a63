"""Made-up organizations with everything that callers may be kept from, and what one of them sees of it.

Every id is unique over all organizations and kinds, so that a text that has it is about just this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import asyncpg
from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString
from hypothesis import strategies as st

from quota.v1 import budget_pb2, directory_pb2, model_policy_pb2, types_pb2
from quota_service.application.alert_ports import DenialCount, DenialKey
from quota_service.domain.alerting import Alert
from quota_service.domain.amounts import Meter
from quota_service.domain.budget import Block, LadderStep, Mode
from quota_service.domain.decision import Reason
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Subject
from quota_service.stores.postgres.alerts import PostgresAlerts
from quota_service.stores.postgres.denials import PostgresDenials
from tests.support.callers import BUDGET
from tests.support.calls import record_request
from tests.support.service import Client, authorize_request

FIELDS = ("team", "user", "api_key", "project")
"""Of scopes and subjects, in the order of `Spender`."""


class Spender(NamedTuple):
    """Parts of a subject or of a scope; "" for none."""

    team: str = ""
    user: str = ""
    key: str = ""
    project: str = ""

    def fields(self) -> dict[str, Any]:
        return dict(zip(FIELDS, self, strict=True))


class World(NamedTuple):
    """An organization. `users`: with their teams; `leads`: of each team; `keys`: with whose they are."""

    id: str
    teams: tuple[str, ...]
    users: Mapping[str, tuple[str, ...]]
    leads: Mapping[str, tuple[str, ...]]
    keys: Mapping[str, str]
    projects: tuple[str, ...]
    budgets: Mapping[str, Spender]
    limits: Mapping[str, Spender]
    policies: Mapping[str, str]
    spenders: tuple[Spender, ...]

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """All there is, by collection."""
        return {
            "teams": self.teams,
            "users": tuple(self.users),
            "apiKeys": tuple(self.keys),
            "projects": self.projects,
            "budgets": tuple(self.budgets),
            "rateLimits": tuple(self.limits),
            "modelPolicies": tuple(self.policies),
        }

    def seen(self, teams: Iterable[str], user: str = "") -> set[str]:
        """The ids of all that somebody sees who is bound to these teams, or to those that a user leads."""
        own = {team for team in self.teams if team in teams or user in self.leads[team]}
        own |= {user for user, of in self.users.items() if own & set(of)}
        own |= {key for key, owner in self.keys.items() if owner in own}
        limits = {**self.budgets, **self.limits}
        about = {id_: set(spender[:3]) - {""} for id_, spender in limits.items()}
        own_limits = {id_ for id_, named in about.items() if named and named <= own}
        return own | own_limits | {id_ for id_, team in self.policies.items() if team in own}


@st.composite
def worlds(draw: st.DrawFn, id_: str) -> World:
    """Organizations of this id. Each has a budget for all, and teams that somebody spends for."""

    def some(kind: str, least: int, most: int) -> tuple[str, ...]:
        return tuple(f"{id_}.{kind}.{number}" for number in range(draw(st.integers(least, most))))

    def part(ids: Iterable[str], most: int) -> tuple[str, ...]:
        return tuple(draw(st.lists(st.sampled_from(sorted(ids)), max_size=most, unique=True)))

    teams, names, projects = some("team", 2, 3), some("user", 2, 4), some("project", 1, 1)
    users = {user: part(teams, 2) for user in names}
    keys = {key: draw(st.sampled_from((*teams, *names))) for key in some("key", 2, 3)}

    def one_of(ids: Iterable[str]) -> str:
        return draw(st.sampled_from((*sorted(ids), "")))

    def scope() -> Spender:
        return Spender(one_of(teams), one_of(names), one_of(keys), one_of(projects))

    def spender() -> Spender:
        """One whose parts belong together."""
        user = one_of(names)
        team = one_of(users[user] if user else teams)
        key = one_of(keys) if not (user or team) else ""
        return Spender(team, user, key, one_of(projects))

    return World(
        id=id_,
        teams=teams,
        users=users,
        leads={team: part(names, 2) for team in teams},
        keys=keys,
        projects=projects,
        budgets={f"{id_}.all": Spender(), **{budget: scope() for budget in some("budget", 2, 4)}},
        limits={limit: scope() for limit in some("limit", 1, 3)},
        policies=dict(zip(some("policy", 0, 2), ("", *teams), strict=False)),
        spenders=(
            *(Spender(team) for team in teams[:2]),
            *(spender() for _ in range(draw(st.integers(1, 3)))),
        ),
    )


def named_in(message: Message, worlds: Iterable[World]) -> set[str]:
    """The ids of these worlds that a message has anywhere."""
    known = {id_ for world in worlds for ids in world.names.values() for id_ in ids}
    return known & set(re.findall(r"[\w.]*\w", MessageToString(message, as_utf8=True)))


async def found(operator: Client, pool: asyncpg.Pool, world: World) -> None:
    """Makes it, has everybody spend and hold something, be denied something, and each budget alert."""
    parent = f"organizations/{world.id}"
    settings = directory_pb2.Organization(unbudgeted=directory_pb2.UNBUDGETED_POLICY_ALLOW)
    await operator.directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(organization_id=world.id, organization=settings)
    )
    await _found_directory(operator.directory, parent, world)
    await _found_limits(operator.budgets, parent, world)
    for number, spender in enumerate(world.spenders):
        subject = types_pb2.Subject(organization=world.id, **spender.fields())
        key = f"{world.id}.{number}"
        held = await operator.quota.Authorize(authorize_request(key, subject=subject))
        assert held.decision == types_pb2.DECISION_ALLOW, held
        await operator.quota.Record(record_request(key, subject=subject))
    subjects = [Subject(organization=world.id, **spender.fields()) for spender in world.spenders]
    await PostgresAlerts(pool).fire(
        [
            _alert(world.id, budget, subjects[number % len(subjects)])
            for number, budget in enumerate(world.budgets)
        ]
    )
    await PostgresDenials(pool).add(
        [_denial(subject, source) for subject in set(subjects) for source in _sources(world)]
    )


async def _found_directory(directory: Any, parent: str, world: World) -> None:
    value: Any
    for project in world.projects:
        value = directory_pb2.Project(name=f"{parent}/projects/{project}")
        await directory.UpdateProject(directory_pb2.UpdateProjectRequest(project=value, allow_missing=True))
    for lead in (False, True):  # users are in teams, which are led by users
        for team in world.teams:
            value = directory_pb2.Team(
                name=f"{parent}/teams/{team}", leads=world.leads[team] if lead else (), display_name="a team"
            )
            await directory.UpdateTeam(directory_pb2.UpdateTeamRequest(team=value, allow_missing=True))
        for user, teams in world.users.items() if not lead else ():
            value = directory_pb2.User(name=f"{parent}/users/{user}", teams=teams)
            await directory.UpdateUser(directory_pb2.UpdateUserRequest(user=value, allow_missing=True))
    for key, owner in world.keys.items():
        value = directory_pb2.ApiKey(name=f"{parent}/apiKeys/{key}")
        setattr(value, "team" if owner in world.teams else "user", owner)
        await directory.UpdateApiKey(directory_pb2.UpdateApiKeyRequest(api_key=value, allow_missing=True))


async def _found_limits(budgets: Any, parent: str, world: World) -> None:
    for budget, spender in world.budgets.items():
        scope = budget_pb2.Scope(**spender.fields())
        value = budget_pb2.Budget(limits=BUDGET.limits, mode=BUDGET.mode, period=BUDGET.period, scope=scope)
        await budgets.CreateBudget(
            budget_pb2.CreateBudgetRequest(parent=parent, budget_id=budget, budget=value)
        )
    for id_, spender in world.limits.items():
        limit = budget_pb2.RateLimit(
            scope=budget_pb2.Scope(**spender.fields()), meter=types_pb2.METER_REQUESTS, limit=1_000
        )
        limit.interval.seconds = 1
        await budgets.CreateRateLimit(
            budget_pb2.CreateRateLimitRequest(parent=parent, rate_limit_id=id_, rate_limit=limit)
        )
    for id_, team in world.policies.items():
        policy = model_policy_pb2.ModelPolicy(team=team, allowed_models=["openai/*"])
        await budgets.CreateModelPolicy(
            model_policy_pb2.CreateModelPolicyRequest(parent=parent, model_policy_id=id_, model_policy=policy)
        )


def _alert(organization: str, budget: str, subject: Subject) -> Alert:
    return Alert(
        organization=organization,
        window=WindowRef(budget, "", 0, None),
        step=LadderStep(at_percent=100, action=Block()),
        meter=Meter.COST,
        mode=Mode.HARD,
        limit=1,
        spent=1,
        subject=subject,
    )


def _sources(world: World) -> list[str]:
    """Some of all that can deny a request, and nothing."""
    return ["", *(f"{each}/{id_}" for each, ids in world.names.items() for id_ in ids[:2])]


def _denial(subject: Subject, source: str) -> DenialCount:
    key = DenialKey(
        organization=subject.organization,
        minute_ms=60_000,
        team=subject.team,
        user=subject.user,
        api_key=subject.api_key,
        project=subject.project,
        provider="openai",
        model="gpt-4o",
        reason=Reason.BUDGET_EXHAUSTED,
        source=source,
    )
    return DenialCount(key=key, count=1, message=f"Denied by {source.rpartition('/')[2]}.")
