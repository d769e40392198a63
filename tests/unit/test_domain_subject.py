"""Subjects completed from the directory, and every reason to refuse them."""

from __future__ import annotations

import pytest

from quota_service.domain.api_key import ApiKey
from quota_service.domain.subject import Directory, Project, Subject, SubjectFault, Team, User, complete

DIRECTORY = Directory(
    teams={
        "research": Team(id="research", cost_center="CC-7"),
        "sales": Team(id="sales", cost_center="CC-9"),
        "closed": Team(id="closed", disabled=True),
    },
    users={
        "ada": User(id="ada", teams=("research", "sales")),
        "bob": User(id="bob", teams=("sales",)),
        "loner": User(id="loner"),
        "gone": User(id="gone", teams=("research",), disabled=True),
        "orphan": User(id="orphan", teams=("dissolved",)),
    },
    api_keys={
        "key-ada": ApiKey(id="key-ada", user="ada"),
        "key-sales": ApiKey(id="key-sales", team="sales"),
        "key-off": ApiKey(id="key-off", user="ada", disabled=True),
    },
    projects={"apollo": Project(id="apollo"), "old": Project(id="old", disabled=True)},
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Subject(), Subject()),
        (
            Subject(api_key="key-ada"),
            Subject(api_key="key-ada", user="ada", team="research", cost_center="CC-7"),
        ),
        (Subject(user="ada"), Subject(user="ada", team="research", cost_center="CC-7")),
        # a user in several teams may spend for each of them
        (Subject(user="ada", team="sales"), Subject(user="ada", team="sales", cost_center="CC-9")),
        (
            Subject(api_key="key-ada", team="sales"),
            Subject(api_key="key-ada", user="ada", team="sales", cost_center="CC-9"),
        ),
        # a team's key names nobody; somebody of the team may be named beside it
        (Subject(api_key="key-sales"), Subject(api_key="key-sales", team="sales", cost_center="CC-9")),
        (
            Subject(api_key="key-sales", user="bob"),
            Subject(api_key="key-sales", user="bob", team="sales", cost_center="CC-9"),
        ),
        (
            Subject(api_key="key-sales", user="ada"),
            Subject(api_key="key-sales", user="ada", team="sales", cost_center="CC-9"),
        ),
        (Subject(user="loner"), Subject(user="loner")),
        (Subject(team="sales"), Subject(team="sales", cost_center="CC-9")),
        # the cost center is the team's, whatever is sent
        (
            Subject(team="sales", cost_center="CC-1"),
            Subject(team="sales", cost_center="CC-9"),
        ),
        (Subject(project="apollo", tags=(("a", "b"),)), Subject(project="apollo", tags=(("a", "b"),))),
    ],
)
def test_a_subject_is_completed_from_the_directory(given: Subject, expected: Subject) -> None:
    assert complete(given, DIRECTORY) == (expected, ())


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        (Subject(user="nobody"), [(SubjectFault.UNKNOWN, "users/nobody")]),
        (Subject(team="nowhere"), [(SubjectFault.UNKNOWN, "teams/nowhere")]),
        (Subject(api_key="none"), [(SubjectFault.UNKNOWN, "apiKeys/none")]),
        (Subject(project="none"), [(SubjectFault.UNKNOWN, "projects/none")]),
        (
            Subject(user="nobody", team="nowhere", project="apollo"),
            [(SubjectFault.UNKNOWN, "users/nobody"), (SubjectFault.UNKNOWN, "teams/nowhere")],
        ),
        (Subject(user="orphan"), [(SubjectFault.UNKNOWN, "teams/dissolved")]),
        (Subject(user="bob", team="research"), [(SubjectFault.CONTRADICTORY, "users/bob")]),
        (Subject(user="loner", team="sales"), [(SubjectFault.CONTRADICTORY, "users/loner")]),
        (Subject(api_key="key-ada", user="bob"), [(SubjectFault.CONTRADICTORY, "apiKeys/key-ada")]),
        (Subject(api_key="key-sales", team="research"), [(SubjectFault.CONTRADICTORY, "apiKeys/key-sales")]),
        (Subject(api_key="key-sales", user="loner"), [(SubjectFault.CONTRADICTORY, "users/loner")]),
        (Subject(api_key="key-off"), [(SubjectFault.DISABLED, "apiKeys/key-off")]),
        (Subject(user="gone"), [(SubjectFault.DISABLED, "users/gone")]),
        (Subject(team="closed"), [(SubjectFault.DISABLED, "teams/closed")]),
        (Subject(project="old"), [(SubjectFault.DISABLED, "projects/old")]),
        (
            Subject(user="gone", project="old", team="sales"),
            [
                (SubjectFault.CONTRADICTORY, "users/gone"),
                (SubjectFault.DISABLED, "users/gone"),
                (SubjectFault.DISABLED, "projects/old"),
            ],
        ),
    ],
)
def test_every_reason_to_refuse_a_subject_is_named(
    given: Subject, problems: list[tuple[SubjectFault, str]]
) -> None:
    _, found = complete(given, DIRECTORY)
    assert [(problem.fault, problem.source) for problem in found] == problems
    assert all(problem.message.endswith(".") for problem in found)
