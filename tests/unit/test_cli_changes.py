"""What changes between a file and a server."""

from __future__ import annotations

from quota.v1 import budget_pb2, directory_pb2, types_pb2
from quota_service.cli.files import documents
from quota_service.cli.files.changes import Action, Plan, plan_changes
from quota_service.cli.files.defaults import default_ladder
from quota_service.cli.files.reading import Problems
from quota_service.cli.files.state import Kind, State

BUDGET = """\
organization: {id: acme, time_zone: Europe/Berlin}
budgets: {b: {limit: {usd: 1}, period: monthly, mode: hard}}
"""


def planned(text: str, state: State, *, prune: bool = False) -> Plan:
    problems = Problems()
    [desired] = documents.parse([documents.Source("acme.yaml", text)], "acme", problems)
    assert problems.errors == []
    return plan_changes(desired, state, prune=prune)


def as_the_server_has_it() -> State:
    budget = budget_pb2.Budget(
        name="organizations/acme/budgets/b",
        scope=budget_pb2.Scope(),
        limits=types_pb2.Amounts(cost_micros=1_000_000),
        mode=types_pb2.MODE_HARD,
        ladder=default_ladder(types_pb2.MODE_HARD),
        etag="7",
    )
    budget.period.monthly.reset_day = 1
    budget.period.time_zone = "Europe/Berlin"
    budget.alert_cooldown.seconds = 86_400
    budget.create_time.GetCurrentTime()
    organization = directory_pb2.Organization(
        name="organizations/acme",
        time_zone="Europe/Berlin",
        unbudgeted=directory_pb2.UNBUDGETED_POLICY_DENY,
    )
    return {(Kind.ORGANIZATION, "acme"): organization, (Kind.BUDGET, "b"): budget}


def test_defaults_that_the_server_fills_in_are_no_difference() -> None:
    assert planned(BUDGET, as_the_server_has_it()).changes == []


def test_a_difference_names_its_fields_and_sends_the_version_compared() -> None:
    [change] = planned(BUDGET.replace("usd: 1", "usd: 2"), as_the_server_has_it()).changes
    assert (change.action, change.fields, change.resource.etag) == (Action.UPDATED, ("limits",), "7")


def test_budgets_without_a_zone_follow_the_organizations_new_one() -> None:
    plan = planned(BUDGET.replace("Europe/Berlin", "UTC"), as_the_server_has_it())
    assert [(change.key[0], change.fields) for change in plan.changes] == [
        (Kind.ORGANIZATION, ("time_zone",)),
        (Kind.BUDGET, ("period",)),
    ]


def test_what_was_frozen_stays_frozen_unless_the_file_says_otherwise() -> None:
    state: State = {(Kind.TEAM, "a"): directory_pb2.Team(name="organizations/acme/teams/a", disabled=True)}
    silent = planned("teams: {a: {name: A}}", state)
    outspoken = planned("teams: {a: {name: A, frozen: false}}", state)
    assert [change.fields for change in silent.changes] == [("display_name",)]
    assert [change.fields for change in outspoken.changes] == [("display_name", "disabled")]
    assert isinstance(silent.changes[0].resource, directory_pb2.Team)
    assert silent.changes[0].resource.disabled


def test_changes_are_made_in_the_order_of_dependence_and_deleted_backwards() -> None:
    state: State = {
        (Kind.TEAM, "old"): directory_pb2.Team(),
        (Kind.USER, "old"): directory_pb2.User(teams=["old"]),
    }
    text = "organization: {id: acme}\nkeys: {k: {user: u}}\nusers: {u: {teams: [t]}}\nteams: {t: {}}\n"
    plan = planned(text, state, prune=True)
    assert [(change.action, change.key[0]) for change in plan.changes] == [
        (Action.CREATED, Kind.ORGANIZATION),
        (Action.CREATED, Kind.TEAM),
        (Action.CREATED, Kind.USER),
        (Action.CREATED, Kind.KEY),
        (Action.DELETED, Kind.USER),
        (Action.DELETED, Kind.TEAM),
    ]


def test_what_is_not_in_the_files_is_kept_and_mentioned() -> None:
    state: State = {(Kind.TEAM, "old"): directory_pb2.Team()}
    assert planned("teams: {t: {}}", state).not_in_files == [(Kind.TEAM, "old")]
