"""What callers see who are bound to teams. That nothing else is answered is shown over the network."""

from __future__ import annotations

from typing import Any

import pytest

from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import Budget
from quota_service.domain.caller import Caller, Role
from quota_service.domain.configuration import Configuration
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.scope import Scope
from quota_service.domain.sight import EVERYTHING, Sight, sight_of
from quota_service.domain.subject import Directory, Organization, Project, Subject, Team, User

SCOPES = {
    "core": Scope(team="core"),
    "ada": Scope(user="ada"),
    "k": Scope(api_key="k"),
    "core-x": Scope(team="core", project="x"),
    "core-bob": Scope(team="core", user="bob"),
    "sales": Scope(team="sales"),
    "x": Scope(project="x"),
    "all": Scope(),
}
CONFIGURATION = Configuration(
    version=1,
    organization=Organization(id="acme"),
    directory=Directory(
        teams={"core": Team(id="core", leads=("ada", "cleo")), "sales": Team(id="sales", leads=("bob",))},
        users={
            "ada": User(id="ada", teams=("sales", "core")),
            "bob": User(id="bob", teams=("sales",)),
            "cleo": User(id="cleo"),
        },
        api_keys={
            "k": ApiKey(id="k", team="core"),
            "ada-k": ApiKey(id="ada-k", user="ada"),
            "bob-k": ApiKey(id="bob-k", user="bob"),
            "sales-k": ApiKey(id="sales-k", team="sales"),
        },
        projects={"x": Project(id="x")},
    ),
    budgets={id_: Budget(id=id_, scope=scope) for id_, scope in SCOPES.items()},
    model_policies={
        "core": ModelPolicy(id="core", team="core"),
        "sales": ModelPolicy(id="sales", team="sales"),
        "all": ModelPolicy(id="all"),
    },
)


def sight(*teams: str, user: str = "") -> Sight:
    return sight_of(Caller("x", Role.TEAM_LEAD, "acme", teams, user), CONFIGURATION)


def ids(seen: Sight, collection: str) -> set[str]:
    found = seen.ids(collection)
    assert found is not None
    return set(found)


def test_what_is_a_team_s_is_in_sight_and_nothing_else() -> None:
    seen = sight("core")
    assert ids(seen, "teams") == {"core"}
    assert ids(seen, "users") == {"ada"}
    assert ids(seen, "apiKeys") == {"k", "ada-k"}
    assert ids(seen, "projects") == set()
    assert ids(seen, "budgets") == {"core", "ada", "k", "core-x"}
    assert ids(seen, "modelPolicies") == {"core"}
    assert seen.sees("budgets/ada")
    assert not seen.sees("budgets/all")
    assert not seen.sees("deadLetters/1")


def test_who_leads_teams_sees_those_and_who_leads_none_sees_nothing() -> None:
    assert sight(user="cleo") == sight("core")
    assert ids(sight(user="bob"), "teams") == {"sales"}
    for nothing in (sight(user="stranger"), sight("nobodys")):
        assert not any(
            ids(nothing, collection)
            for collection in ("teams", "users", "apiKeys", "budgets", "modelPolicies")
        )


def test_a_user_is_in_those_of_their_teams_that_are_in_sight() -> None:
    ada = CONFIGURATION.directory.users["ada"]
    assert sight("core").shown("users", "ada", ada).teams == ("core",)
    assert sight("core", "sales").shown("users", "ada", ada).teams == ("sales", "core")
    assert EVERYTHING.shown("users", "ada", ada) is ada


@pytest.mark.parametrize(
    "subject", [Subject(team="core"), Subject(user="ada"), Subject(api_key="ada-k"), Subject(api_key="k")]
)
def test_a_subject_is_completed_from_what_is_in_sight(subject: Subject) -> None:
    completed, problems = sight("core").completed(subject)
    assert not problems
    assert completed.team == "core"


@pytest.mark.parametrize(
    ("field", "known"), [("team", "sales"), ("user", "bob"), ("api_key", "bob-k"), ("project", "x")]
)
def test_a_subject_out_of_sight_has_the_problems_of_one_that_nobody_has(field: str, known: str) -> None:
    def told(id_: str) -> list[str]:
        parts: dict[str, Any] = {field: id_}
        _, problems = sight("core").completed(Subject(**parts))
        return [problem.message.replace(id_, "…") for problem in problems]

    assert told(known) == told("nobodys") != []


def test_what_is_spent_is_in_sight_by_its_team_alone() -> None:
    assert sight("core").sees_subject(Subject(team="core", user="bob"))
    assert not sight("core").sees_subject(Subject(team="sales", user="ada"))
    assert not sight("core").sees_subject(Subject())
    assert EVERYTHING.sees_subject(Subject())
