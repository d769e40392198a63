"""The organizations that are measured, and the requests that are made in them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

from google.protobuf.duration_pb2 import Duration

from benchmarks.caller import Second, Work, WrongAnswer
from quota.client import Connection
from quota.v1 import budget_pb2, directory_pb2, quota_pb2, types_pb2

AUTHORIZE = "/quota.v1.QuotaService/Authorize"
COMMIT = "/quota.v1.QuotaService/Commit"

PROVIDER, MODEL = "openai", "gpt-4o"
ALTERNATIVES = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-4.1-nano")
TTL = Duration(seconds=600)  # longer than a run: no hold expires while others are measured
OUTPUT_TOKENS_HELD, OUTPUT_TOKENS_USED = 500, 300

_PLENTY = 10**14
_NESTED = {
    "organization": budget_pb2.Scope(),
    "team": budget_pb2.Scope(team="engineering"),
    "user": budget_pb2.Scope(user="ada"),
}
_EIGHT = {
    **_NESTED,
    "cost-center": budget_pb2.Scope(cost_center="CC-1"),
    "project": budget_pb2.Scope(project="assistant"),
    "provider": budget_pb2.Scope(provider=PROVIDER),
    "tag": budget_pb2.Scope(tags={"plan": "pro"}),
    "tag-of-team": budget_pb2.Scope(team="engineering", tags={"plan": "pro"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """An organization whose requests fall under a hard monthly budget for each of `scopes`, one of them with
    a ladder of downgrades, and under rate limits. `spent_tokens` are recorded before the first request;
    every request is granted `model` and told of `statuses`.
    """

    organization: str
    scopes: Mapping[str, budget_pb2.Scope]
    limits: types_pb2.Amounts
    diverting_limits: types_pb2.Amounts | None = None
    rate_limited: tuple[types_pb2.Meter.ValueType, ...] = ()
    spent_tokens: int = 0
    model: str = MODEL

    @property
    def parent(self) -> str:
        return f"organizations/{self.organization}"

    @property
    def subject(self) -> types_pb2.Subject:
        """Keys are unique across organizations."""
        key = f"key-of-{self.organization}"
        return types_pb2.Subject(
            organization=self.organization, api_key=key, project="assistant", tags={"plan": "pro"}
        )

    @property
    def statuses(self) -> int:
        return len(self.scopes) * len(self.limits.ListFields())


NESTED = Scene(
    organization="bench",
    scopes={**_NESTED, "key": budget_pb2.Scope(api_key="key-of-bench")},
    limits=types_pb2.Amounts(cost_micros=_PLENTY, tokens=_PLENTY),
)
ONE_BUDGET = Scene(
    organization="one-budget",
    scopes={"organization": budget_pb2.Scope()},
    limits=types_pb2.Amounts(cost_micros=_PLENTY),
)
MANY_LIMITS = Scene(
    organization="many-limits",
    scopes=_EIGHT,
    limits=ONE_BUDGET.limits,
    diverting_limits=ONE_BUDGET.limits,
    rate_limited=(types_pb2.METER_REQUESTS, types_pb2.METER_TOKENS),
)
DIVERTED = Scene(
    organization="diverted",
    scopes=MANY_LIMITS.scopes,
    limits=MANY_LIMITS.limits,
    diverting_limits=types_pb2.Amounts(cost_micros=50_000_000_000),  # 5 % of it are spent by the tokens below
    rate_limited=MANY_LIMITS.rate_limited,
    spent_tokens=10**9,
    model=ALTERNATIVES[-1],
)


async def seed(service: Connection, scene: Scene) -> None:
    """Founds the organization of a scene."""
    await _found(service, scene)
    for name, scope in scene.scopes.items():
        diverts = name == "organization" and scene.diverting_limits is not None
        budget = budget_pb2.Budget(
            scope=scope,
            limits=scene.diverting_limits if diverts else scene.limits,
            mode=types_pb2.MODE_HARD,
            period=budget_pb2.Period(monthly=budget_pb2.Period.Monthly()),
            ladder=_downgrades() if diverts else (),
        )
        await service.budgets.CreateBudget(
            budget_pb2.CreateBudgetRequest(parent=scene.parent, budget_id=name, budget=budget)
        )
    for meter in scene.rate_limited:
        limit = budget_pb2.RateLimit(meter=meter, limit=10**9)
        await service.budgets.CreateRateLimit(
            budget_pb2.CreateRateLimitRequest(
                parent=scene.parent, rate_limit_id=f"rate-{meter}", rate_limit=limit
            )
        )
    if scene.spent_tokens:
        await service.quota.Record(
            quota_pb2.RecordRequest(
                idempotency_key="spent",
                subject=scene.subject,
                provider=PROVIDER,
                model=MODEL,
                usage=types_pb2.Usage(input_tokens=scene.spent_tokens),
            )
        )


def _downgrades() -> list[budget_pb2.LadderStep]:
    """Diverts from each model to the next from 1, 2 and 3 % on, and blocks at the limit."""
    steps = [
        budget_pb2.LadderStep(
            at_percent=percent, downgrade=budget_pb2.LadderStep.Downgrade(provider=PROVIDER, model=model)
        )
        for percent, model in enumerate(ALTERNATIVES, 1)
    ]
    return [*steps, budget_pb2.LadderStep(at_percent=100, block=budget_pb2.LadderStep.Block())]


async def _found(service: Connection, scene: Scene) -> None:
    directory, parent = service.directory, scene.parent
    await directory.CreateOrganization(
        directory_pb2.CreateOrganizationRequest(
            organization_id=scene.organization, organization=directory_pb2.Organization()
        )
    )
    await directory.CreateTeam(
        directory_pb2.CreateTeamRequest(
            parent=parent, team_id="engineering", team=directory_pb2.Team(cost_center="CC-1")
        )
    )
    await directory.CreateUser(
        directory_pb2.CreateUserRequest(
            parent=parent, user_id="ada", user=directory_pb2.User(teams=["engineering"])
        )
    )
    await directory.CreateProject(
        directory_pb2.CreateProjectRequest(
            parent=parent, project_id="assistant", project=directory_pb2.Project()
        )
    )
    key = directory_pb2.ApiKey(name=f"{parent}/apiKeys/{scene.subject.api_key}", user="ada")
    await directory.UpdateApiKey(directory_pb2.UpdateApiKeyRequest(api_key=key, allow_missing=True))


def authorize_requests(scene: Scene) -> Iterator[bytes]:
    """Serialized requests without end, each with a key of its own."""
    run = uuid.uuid4()
    request = quota_pb2.AuthorizeRequest(
        subject=scene.subject,
        provider=PROVIDER,
        model=MODEL,
        estimate=quota_pb2.Estimate(input_tokens=1_000, max_output_tokens=OUTPUT_TOKENS_HELD),
        ttl=TTL,
    )
    for number in range(1 << 62):
        request.idempotency_key = f"{run}/{number}"
        yield request.SerializeToString()


def commit_request(reservation: str) -> bytes:
    """A serialized Commit that returns a part of its hold."""
    usage = types_pb2.Usage(input_tokens=1_000, output_tokens=OUTPUT_TOKENS_USED)
    return quota_pb2.CommitRequest(name=reservation, usage=usage).SerializeToString()


def authorizing(scene: Scene, *, count: int | None = None) -> Work:
    """Authorizes in an organization, without end unless it is said how many."""
    requests = islice(authorize_requests(scene), count)
    return Work(path=AUTHORIZE, requests=requests, check=partial(granted, scene=scene))


def committing(scene: Scene, authorized: Iterable[bytes]) -> Work:
    """A Commit for each of these answers to Authorize."""
    requests = [commit_request(granted(answer, scene)) for answer in authorized]
    return Work(path=COMMIT, requests=iter(requests), check=in_ledger)


def pairing(scene: Scene, *, count: int | None = None) -> Work:
    """Authorizes, each followed by its Commit; without end unless it is said how many."""

    def follows(answer: bytes) -> bytes:
        return commit_request(granted(answer, scene))

    second = Second(path=COMMIT, request=follows)
    requests = islice(authorize_requests(scene), count)
    return Work(path=AUTHORIZE, requests=requests, check=in_ledger, then=second)


def granted(answer: bytes, scene: Scene) -> str:
    """The reservation of an answer to Authorize. Raises WrongAnswer where not that was granted which the
    scene is about.
    """
    response = quota_pb2.AuthorizeResponse.FromString(answer)
    if response.decision != types_pb2.DECISION_ALLOW or response.replayed:
        raise WrongAnswer(f"Authorize was answered {response.message or 'replayed'!r}")
    if len(response.budgets) != scene.statuses:
        raise WrongAnswer(f"Authorize told of {len(response.budgets)} meters of budgets")
    if response.reservation.model != scene.model:
        raise WrongAnswer(f"Authorize granted {response.reservation.model}")
    return response.reservation.name


def in_ledger(answer: bytes) -> None:
    """Raises WrongAnswer where a Commit was not answered LEDGER."""
    response = quota_pb2.CommitResponse.FromString(answer)
    if response.durability != types_pb2.DURABILITY_LEDGER or response.replayed or response.late:
        raise WrongAnswer(f"Commit was answered {types_pb2.Durability.Name(response.durability)}")
