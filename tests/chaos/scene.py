"""Who spends: two organizations, their budgets, and models whose prices can be worked out in the head.

One denies while Valkey is away, the other allows degraded grants up to a cap. Their budgets are the same:

- `all`, `each-user` and `soft` see every request; `red` and `blue` are one team's each, and money moves
  between them; `tokens-blue` limits tokens; all of them may be exceeded by what a HARD budget allows
  (overruns, late Commits, Records, cuts).
- `lanes` has a counter for each value of the tag `lane`, and each is so small that it is used up within
  moments: whatever is granted beyond a limit shows there. In a lane nobody overruns, records or cuts.
- `minutes` ends every minute and carries what is left into the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from google.protobuf.duration_pb2 import Duration

from quota.client import ApiError, Connection
from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, types_pb2

DENYING, ALLOWING = "chaos", "chaos-open"
ORGANIZATIONS = (DENYING, ALLOWING)
DEGRADED_CAP_MICROS = 3_000_000
PROVIDER = "house"
TEAMS = ("red", "blue")
USERS = tuple(f"user-{number}" for number in range(8))
LANE = "lane"
LANE_MICROS = 60_000
LANE_SECONDS = 2.0
"""How long the workers spend in a lane before they go on to the next one."""


class Spent(NamedTuple):
    """An amount in each meter: micro-USD, tokens, requests. Signed where it is a change."""

    cost: int = 0
    tokens: int = 0
    requests: int = 0

    def plus(self, other: Spent) -> Spent:
        return Spent(*(one + another for one, another in zip(self, other, strict=True)))


NOTHING = Spent()


class Price(NamedTuple):
    """Micro-USD a token: whole numbers, so that nothing is ever rounded."""

    input: int
    output: int


PRICES: Mapping[str, Price] = {"small": Price(1, 2), "large": Price(3, 5)}


def charge_of(model: str, input_tokens: int, output_tokens: int) -> Spent:
    """What such a usage must cost."""
    price = PRICES[model]
    cost = price.input * input_tokens + price.output * output_tokens
    return Spent(cost, input_tokens + output_tokens, 1)


class BudgetRule(NamedTuple):
    """A budget as the auditor needs it. A limit of `None`: that meter is not limited."""

    limits: tuple[int | None, int | None, int | None]
    hard: bool


LANES_PROJECT = "lanes"
_LOTS = 10**13
_SCOPES: Mapping[str, budget_pb2.Scope] = {
    "all": budget_pb2.Scope(),
    "each-user": budget_pb2.Scope(each=budget_pb2.Each(dimension=types_pb2.DIMENSION_USER)),
    "red": budget_pb2.Scope(team="red"),
    "blue": budget_pb2.Scope(team="blue"),
    "tokens-blue": budget_pb2.Scope(team="blue"),
    "soft": budget_pb2.Scope(),
    "minutes": budget_pb2.Scope(team="red"),
    "lanes": budget_pb2.Scope(
        project=LANES_PROJECT,
        each=budget_pb2.Each(dimension=types_pb2.DIMENSION_TAG, tag=LANE, max_values=1_000_000),
    ),
}


def rules(seconds: float) -> Mapping[str, BudgetRule]:
    """The budgets of a run of that length: several are used up before its end."""
    s = max(30, round(seconds))
    return {
        "all": BudgetRule((_LOTS, _LOTS, _LOTS), True),
        "each-user": BudgetRule((30_000 * s, None, _LOTS), True),
        "red": BudgetRule((90_000 * s, None, None), True),
        "blue": BudgetRule((90_000 * s, None, None), True),
        "tokens-blue": BudgetRule((None, 50_000 * s, None), True),
        "soft": BudgetRule((1_000_000, None, 1_000), False),
        "minutes": BudgetRule((6_000_000, None, None), True),
        "lanes": BudgetRule((LANE_MICROS, None, None), True),
    }


async def found(service: Connection, budgets: Mapping[str, BudgetRule]) -> None:
    """Makes the organizations. Harmless where a first attempt got half way."""
    for organization in ORGANIZATIONS:
        await _found(service, organization, budgets)


async def _found(service: Connection, organization: str, budgets: Mapping[str, BudgetRule]) -> None:
    parent = f"organizations/{organization}"
    settings = directory_pb2.Organization(unbudgeted=directory_pb2.UNBUDGETED_POLICY_ALLOW)
    if organization == ALLOWING:
        settings.outage_policy = directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED
        settings.degraded_cost_cap_micros = DEGRADED_CAP_MICROS
    await _make(
        service.directory.CreateOrganization,
        directory_pb2.CreateOrganizationRequest(organization_id=organization, organization=settings),
        service,
    )
    for team in TEAMS:
        request = directory_pb2.CreateTeamRequest(parent=parent, team_id=team, team=directory_pb2.Team())
        await _make(service.directory.CreateTeam, request, service)
    for number, user in enumerate(USERS):
        new = directory_pb2.User(teams=[TEAMS[number % len(TEAMS)]])
        await _make(
            service.directory.CreateUser,
            directory_pb2.CreateUserRequest(parent=parent, user_id=user, user=new),
            service,
        )
    project = directory_pb2.CreateProjectRequest(
        parent=parent, project_id=LANES_PROJECT, project=directory_pb2.Project()
    )
    await _make(service.directory.CreateProject, project, service)
    for model in PRICES:
        upsert = catalog_pb2.UpsertModelRequest(organization=organization, model=_model(model))
        await service.call(service.catalog.UpsertModel, upsert, attempts=5)
    for id_, rule in budgets.items():
        create = budget_pb2.CreateBudgetRequest(parent=parent, budget_id=id_, budget=_budget(id_, rule))
        await _make(service.budgets.CreateBudget, create, service)


async def _make(method: object, request: object, service: Connection) -> None:
    try:
        await service.call(method, request, attempts=5)  # type: ignore[arg-type]
    except ApiError as error:
        if error.reason != "RESOURCE_EXISTS":
            raise


def _model(name: str) -> catalog_pb2.Model:
    price = catalog_pb2.ModelPrice(
        input_pico_usd_per_token=PRICES[name].input * 1_000_000,
        output_pico_usd_per_token=PRICES[name].output * 1_000_000,
    )
    return catalog_pb2.Model(provider=PROVIDER, model=name, prices=[price])


def _budget(id_: str, rule: BudgetRule) -> budget_pb2.Budget:
    cost, tokens, requests = rule.limits
    budget = budget_pb2.Budget(
        scope=_SCOPES[id_],
        limits=types_pb2.Amounts(cost_micros=cost, tokens=tokens, requests=requests),
        mode=types_pb2.MODE_HARD if rule.hard else types_pb2.MODE_SOFT,
        period=budget_pb2.Period(monthly=budget_pb2.Period.Monthly()),
    )
    if id_ == "minutes":
        fixed = budget_pb2.Period.Fixed(length=Duration(seconds=60))
        budget.period.CopyFrom(budget_pb2.Period(fixed=fixed))
        budget.rollover.carry.max_percent = 50
    return budget
