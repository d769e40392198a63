"""The organization of a simulation: small budgets of every kind, so that requests meet all of them."""

from __future__ import annotations

from dataclasses import replace

from quota_service.domain.amounts import Limits, Meter
from quota_service.domain.budget import Budget, Carry, Mode
from quota_service.domain.configuration import Configuration
from quota_service.domain.period import Daily, Fixed, Once
from quota_service.domain.pricing import DatedRate, Model, Rate
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import (
    Dimension,
    Directory,
    Organization,
    OutagePolicy,
    Subject,
    Team,
    User,
)
from tests.simulation.network import START_MS

ORGANIZATION = "acme"
PROVIDER, MODEL = "provider", "model"
INPUT_MICROS, OUTPUT_MICROS = 1, 2
"""What a token costs."""

WINDOW_MS = 20_000
"""The length of the windows that roll over: a run sees several."""

USERS = {"ada": "research", "bob": "research", "cleo": "sales"}

BUDGETS = (
    Budget(id="all", period=Once(), limits=Limits(cost_micros=4_000), since_ms=START_MS),
    Budget(
        id="research",
        scope=Scope(team="research"),
        period=Daily(),
        limits=Limits(tokens=1_200),
        since_ms=START_MS,
    ),
    Budget(
        id="each-user",
        scope=Scope(each=Each(dimension=Dimension.USER)),
        period=Fixed(length_ms=WINDOW_MS),
        limits=Limits(cost_micros=900, requests=8),
        rollover=Carry(max_percent=50),
        since_ms=START_MS,
    ),
    Budget(id="soft", period=Daily(), limits=Limits(cost_micros=1_000), mode=Mode.SOFT, since_ms=START_MS),
)

HARD_LIMITS = {budget.id: budget.limits for budget in BUDGETS if budget.mode is Mode.HARD}


def configuration(*, degraded: bool) -> Configuration:
    """`degraded`: Authorize goes on while Valkey is away, up to a cap."""
    model = Model(
        provider=PROVIDER,
        model=MODEL,
        prices=(DatedRate(0, Rate(0, INPUT_MICROS * 10**6, 0, INPUT_MICROS * 10**6, OUTPUT_MICROS * 10**6)),),
    )
    organization = Organization(id=ORGANIZATION)
    if degraded:
        organization = replace(
            organization, outage_policy=OutagePolicy.ALLOW_DEGRADED, degraded_cost_cap_micros=500
        )
    teams = sorted(set(USERS.values()))
    return Configuration(
        version=1,
        organization=organization,
        directory=Directory(
            teams={team: Team(id=team) for team in teams},
            users={user: User(id=user, teams=(team,)) for user, team in USERS.items()},
        ),
        budgets={budget.id: budget for budget in BUDGETS},
        rate_limits={
            "calls": RateLimit(id="calls", meter=Meter.REQUESTS, limit=60, interval_ms=10_000, burst=20)
        },
        own_models={(PROVIDER, MODEL): model},
    )


def subject(user: str) -> Subject:
    return Subject(organization=ORGANIZATION, user=user)


def price_micros(input_tokens: int, output_tokens: int) -> int:
    """What a usage costs, worked out apart from the service."""
    return input_tokens * INPUT_MICROS + output_tokens * OUTPUT_MICROS
