"""Nobody can spend more than the exposure says, whoever asks for what in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from hypothesis import event, given
from hypothesis import strategies as st

from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import (
    Adjustment,
    Block,
    Budget,
    EachOverride,
    LadderStep,
    Mode,
    Restrict,
    limits_at,
)
from quota_service.domain.caps import caps
from quota_service.domain.configuration import Configuration
from quota_service.domain.exposure import exposure
from quota_service.domain.ladder import LadderModel, block_percent
from quota_service.domain.period import Daily, Monthly, Once
from quota_service.domain.pricing import Model
from quota_service.domain.schedule import window_of
from quota_service.domain.scope import Each, Facts, Scope, each_value, matches
from quota_service.domain.subject import (
    Dimension,
    Directory,
    Organization,
    Project,
    Subject,
    SubjectFault,
    Team,
    User,
    complete,
)
from quota_service.domain.terms import Counters

NOW_MS = 1_796_126_400_000  # 2026-12-01T12:00:00Z
LATER_MS = NOW_MS + 6 * 3_600_000  # the same windows still run
TEAMS, USERS, KEYS, PROJECTS = ("sales", "lab"), ("ada", "bob", "eve"), ("ada-key", "lab-key"), ("p",)
RUNS = ("1", "2")
NEWCOMER = "newcomer"
MODELS = (Model(provider="openai", model="large", tier=1), Model(provider="house", model="own"))

DIRECTORY = Directory(
    teams={"sales": Team(id="sales", cost_center="cc"), "lab": Team(id="lab")},
    users={
        "ada": User(id="ada", teams=("sales",)),
        "bob": User(id="bob", teams=("sales", "lab")),
        "eve": User(id="eve"),
    },
    api_keys={"ada-key": ApiKey(id="ada-key", user="ada"), "lab-key": ApiKey(id="lab-key", team="lab")},
    projects={"p": Project(id="p")},
)


def _or_not(values: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.one_of(st.just(""), st.just(""), st.sampled_from(values))


eaches = st.one_of(
    st.none(),
    st.builds(Each, dimension=st.sampled_from([Dimension.TEAM, Dimension.USER])),
    st.builds(
        Each,
        dimension=st.sampled_from([each for each in Dimension if each not in (1, 10)]),
        max_values=st.sampled_from([0, 0, 0, 1, 3]),
    ),
    st.builds(Each, dimension=st.just(Dimension.TAG), tag=st.just("run"), max_values=st.integers(1, 4)),
)
scopes = st.one_of(
    st.builds(Scope, each=eaches),
    st.builds(Scope, each=eaches),
    st.builds(
        Scope,
        team=_or_not(TEAMS),
        user=_or_not(USERS),
        api_key=_or_not(KEYS),
        project=_or_not(PROJECTS),
        cost_center=_or_not(("cc",)),
        model=_or_not(("large",)),
        tags=st.sampled_from([(), (), (("run", "1"),)]),
        each=eaches,
    ),
)
ladders = st.sampled_from(
    [
        (),
        (LadderStep(at_percent=120, action=Block()), LadderStep(at_percent=150, action=Block())),
        (LadderStep(at_percent=50, action=Restrict(max_tier=0)), LadderStep(at_percent=90, action=Block())),
    ]
)
periods = st.one_of(
    st.builds(Daily), st.builds(Monthly), st.builds(Once, end_ms=st.sampled_from([None, LATER_MS + 1]))
)
named = st.sampled_from(("", *TEAMS, *USERS, *KEYS, *RUNS, "large"))
moments = st.sampled_from([None, NOW_MS - 1, NOW_MS + 1, LATER_MS])


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    scope = draw(scopes)
    overrides = st.builds(
        EachOverride,
        each_value=named,
        limits=st.builds(Limits, cost_micros=st.integers(0, 300)),
        until_ms=moments,
    )
    adjustments = st.builds(
        Adjustment,
        each_value=named if scope.each else st.just(""),
        amounts=st.builds(Amounts, cost_micros=st.integers(-50, 50)),
        until_ms=st.sampled_from([NOW_MS + 1, LATER_MS, LATER_MS + 1]),
    )
    return Budget(
        id="?",
        scope=scope,
        period=draw(periods),
        mode=draw(st.sampled_from([Mode.HARD, Mode.HARD, Mode.HARD, Mode.SOFT])),
        limits=draw(st.sampled_from([Limits(100), Limits(0), Limits(40, 10), Limits(None, 10)])),
        ladder=draw(ladders),
        overrides=draw(st.lists(overrides, max_size=3, unique_by=lambda each: each.each_value).map(tuple))
        if scope.each
        else (),
        adjustments=draw(st.lists(adjustments, max_size=1).map(tuple)),
        disabled=draw(st.sampled_from([False, False, False, True])),
    )


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    found = draw(st.lists(budgets(), min_size=1, max_size=4))
    organization = Organization(
        id="acme",
        allow_unbudgeted=draw(st.sampled_from([False, False, True])),
        create_unknown_subjects=draw(st.booleans()),
        required_dimensions=draw(st.sampled_from([(), (), (Dimension.TEAM,), (Dimension.USER,)])),
    )
    return Configuration(
        version=1,
        organization=organization,
        directory=DIRECTORY,
        budgets={f"b{number}": replace(each, id=f"b{number}") for number, each in enumerate(found)},
        own_models={(each.provider, each.model): each for each in MODELS},
    )


Used = dict[tuple[str, str], int]
"""What is used of each counter, by budget and each value."""


@dataclass
class Spenders:
    """Everybody who may ask, and takes all that they are granted."""

    configuration: Configuration
    used: Used
    now_ms: int = NOW_MS
    spent: int = 0
    unlimited: bool = False

    def ask(self, subject: Subject, model: Model) -> None:
        """Spends what the request can get: the least room of all its budgets that block."""
        facts = self._facts(subject, model)
        if facts is None:
            return
        matching = [
            budget
            for budget in self.configuration.budgets.values()
            if not budget.disabled and window_of(budget, self.now_ms) and matches(budget.scope, facts)
        ]
        if not matching and not self.configuration.organization.allow_unbudgeted:
            return
        counters = [(budget, each_value(budget.scope, facts)) for budget in matching]
        hard = [(budget, value) for budget, value in counters if budget.mode is Mode.HARD]
        if any(self._is_full(budget, value) for budget, value in hard):
            return
        rooms = [room for budget, value in hard if (room := self._room(budget, value, model)) is not None]
        if not rooms:
            self.unlimited = True
        elif (least := min(rooms)) > 0:
            self.spent += least
            for budget, value in counters:
                self.used[budget.id, value] = self.used.get((budget.id, value), 0) + least

    def _facts(self, subject: Subject, model: Model) -> Facts | None:
        organization = self.configuration.organization
        completed, problems = COMPLETED[subject]
        unknown = organization.create_unknown_subjects and all(
            problem.fault is SubjectFault.UNKNOWN for problem in problems
        )
        facts = Facts(subject=completed, provider=model.provider, model=model.model, tier=model.tier)
        required = {Dimension.TEAM: completed.team, Dimension.USER: completed.user}
        missing = any(not required[dimension] for dimension in organization.required_dimensions)
        return None if missing or (problems and not unknown) else facts

    def _is_full(self, budget: Budget, value: str) -> bool:
        each = budget.scope.each
        if each is None or not each.max_values or self.used.get((budget.id, value)):
            return False
        return sum(1 for (id_, _), used in self.used.items() if id_ == budget.id and used) >= each.max_values

    def _room(self, budget: Budget, value: str, model: Model) -> int | None:
        percent = block_percent(budget, LadderModel(model.provider, model.model, model.tier))
        limits, _ = limits_at(budget, value, self.now_ms)
        if limits.cost_micros is None or percent is None:
            return None
        return limits.cost_micros * percent // 100 - self.used.get((budget.id, value), 0)


def _subjects() -> list[Subject]:
    return [
        Subject(
            organization="acme",
            team=team,
            user=user,
            api_key=key,
            project=project,
            tags=(("run", run),) if run else (),
        )
        for team, user, key, project, run in product(
            ("", *TEAMS, NEWCOMER), ("", *USERS, NEWCOMER), ("", *KEYS), ("", *PROJECTS), ("", *RUNS)
        )
    ]


COMPLETED = {subject: complete(subject, DIRECTORY) for subject in _subjects()}
EVERYBODY = list(product(COMPLETED, MODELS))
askers = st.lists(st.sampled_from(EVERYBODY), max_size=20)
"""Those who ask first; everybody else comes after them."""
starts = st.lists(st.tuples(st.integers(0, 2), named, st.sampled_from((30, 60, 150, 400))), max_size=4)


@given(configurations(), starts, askers, askers)
def test_no_spending_exceeds_the_exposure(
    configuration: Configuration,
    start: list[tuple[int, str, int]],
    now: list[tuple[Subject, Model]],
    later: list[tuple[Subject, Model]],
) -> None:
    used = _started(configuration, start)
    found = caps(configuration, NOW_MS)
    readings = {
        cap.budget.id: {
            value: Counters(spent=Amounts(amount))
            for (id_, value), amount in used.items()
            if id_ == cap.budget.id
        }
        for cap in found
    }
    told = exposure(configuration, found, readings, NOW_MS)
    before = sum(part.spent_micros + part.held_micros for part in told.parts)
    spenders = Spenders(configuration, dict(used))
    for subject, model in (*now, *EVERYBODY):
        spenders.ask(subject, model)
    spenders.now_ms = LATER_MS
    for subject, model in (*later, *EVERYBODY):
        spenders.ask(subject, model)
    event(f"bounded: {told.bounded}, unlimited: {spenders.unlimited}, spent: {spenders.spent > 0}")
    if told.bounded:
        assert not spenders.unlimited
        assert before + spenders.spent <= told.total_micros


def _started(configuration: Configuration, start: list[tuple[int, str, int]]) -> Used:
    used: Used = {}
    for number, value, amount in start:
        budget = configuration.budgets.get(f"b{number}")
        if budget is not None:
            used[budget.id, value if budget.scope.each else ""] = amount
    return used
