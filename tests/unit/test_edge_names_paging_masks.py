"""Resource names, page tokens and field masks."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from quota.v1 import budget_pb2, directory_pb2, types_pb2
from quota_service.domain.errors import InvalidRequest, NameMalformed, PageTokenInvalid
from quota_service.edge import masks, names, paging


def test_names_are_parsed_back() -> None:
    name = names.resource_name("acme", names.BUDGETS, "team+1@x.y")
    assert name == "organizations/acme/budgets/team+1@x.y"
    assert names.parse(name, names.BUDGETS, "name") == ("acme", "team+1@x.y")
    assert names.parse_organization(names.organization_name("acme"), "parent") == "acme"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "organizations/acme",
        "organizations/acme/users/ada",
        "organizations//budgets/b",
        "organizations/acme/budgets/",
        "organizations/acme/budgets/b/c",
        "organisations/acme/budgets/b",
        "organizations/acme/budgets/-b",
        "organizations/acme/budgets/" + "b" * 129,
    ],
)
def test_a_malformed_name_is_refused_on_its_field(name: str) -> None:
    with pytest.raises(NameMalformed) as raised:
        names.parse(name, names.BUDGETS, "budget.name")
    assert raised.value.problems[0].field == "budget.name"


def _list_users(**fields: object) -> directory_pb2.ListUsersRequest:
    return directory_pb2.ListUsersRequest(parent="organizations/acme", **fields)  # type: ignore[arg-type]


def test_a_token_leads_to_its_position_whatever_the_page_size() -> None:
    token = paging.token(_list_users(page_size=2), "ada")
    assert paging.position(_list_users(page_size=7, page_token=token)) == "ada"


@given(st.text(min_size=1, max_size=200))
def test_a_token_is_taken_back_and_looks_like_no_secret(position: str) -> None:
    request = directory_pb2.ListTeamsRequest(parent="organizations/acme")
    request.page_token = paging.token(request, position)
    assert paging.position(request) == position
    assert not {"-", "_"} & set(request.page_token)


@pytest.mark.parametrize("told", ["x", "-1", "1.0", "9223372036854775808", "9" * 40, "٣"])
def test_a_position_that_is_no_number_of_the_ledger_is_refused(told: str) -> None:
    with pytest.raises(PageTokenInvalid):
        paging.parsed(told)


def test_the_first_page_needs_no_token_and_the_last_gives_none() -> None:
    assert paging.position(_list_users()) == ""
    assert paging.token(_list_users(), "") == ""
    assert paging.page_size(_list_users()) == paging.PAGE_SIZE_DEFAULT


@pytest.mark.parametrize("token", ["x", "ada", "====", "é", "A" * 16, "A" * 40])
def test_an_invented_token_is_refused(token: str) -> None:
    with pytest.raises(PageTokenInvalid):
        paging.position(_list_users(page_token=token))


def test_a_token_of_another_list_parent_or_filter_is_refused() -> None:
    users = paging.token(_list_users(), "ada")
    foreign = [
        directory_pb2.ListTeamsRequest(parent="organizations/acme", page_token=users),
        directory_pb2.ListUsersRequest(parent="organizations/globex", page_token=users),
        _list_users(page_token=paging.token(_list_users(), "bob")[:-2] + "AA"),
    ]
    for request in foreign:
        with pytest.raises(PageTokenInvalid):
            paging.position(request)


CURRENT = budget_pb2.Budget(
    display_name="old",
    scope=budget_pb2.Scope(team="core", user="ada", tags={"a": "1"}),
    limits=types_pb2.Amounts(cost_micros=5, tokens=7),
    recipients=["user", "leads"],
    disabled=True,
)


@pytest.mark.parametrize(
    ("new", "paths", "changed"),
    [
        # Without a mask: what has a value.
        (budget_pb2.Budget(display_name="new"), [], {"display_name": "new"}),
        # A field in the mask without a value is cleared.
        (budget_pb2.Budget(), ["display_name", "disabled"], {"display_name": "", "disabled": False}),
        (budget_pb2.Budget(recipients=["admins"]), ["recipients"], {"recipients": ["admins"]}),
        (
            budget_pb2.Budget(limits=types_pb2.Amounts(cost_micros=9)),
            ["limits.cost_micros"],
            {"limits": types_pb2.Amounts(cost_micros=9, tokens=7)},
        ),
        # A meter that is cleared is not limited any more, which is not a limit of 0.
        (budget_pb2.Budget(), ["limits.tokens"], {"limits": types_pb2.Amounts(cost_micros=5)}),
        (
            budget_pb2.Budget(limits=types_pb2.Amounts(requests=1)),
            ["limits"],
            {"limits": types_pb2.Amounts(requests=1)},
        ),
        (
            budget_pb2.Budget(),
            ["scope.team", "scope.tags"],
            {"scope": budget_pb2.Scope(user="ada")},
        ),
    ],
)
def test_a_mask_changes_its_fields_and_no_others(
    new: budget_pb2.Budget, paths: list[str], changed: dict[str, object]
) -> None:
    expected = budget_pb2.Budget()
    expected.CopyFrom(CURRENT)
    for field in changed:
        expected.ClearField(field)  # type: ignore[arg-type]
    expected.MergeFrom(budget_pb2.Budget(**changed))  # type: ignore[arg-type]
    assert masks.merged(CURRENT, new, FieldMask(paths=paths)) == expected


def test_a_star_replaces_everything() -> None:
    new = budget_pb2.Budget(display_name="new")
    assert masks.merged(CURRENT, new, FieldMask(paths=["*"])) == new


def test_merging_leaves_what_is_stored_alone() -> None:
    before = CURRENT.SerializeToString(deterministic=True)
    masks.merged(
        CURRENT, budget_pb2.Budget(recipients=["x"]), FieldMask(paths=["recipients", "limits.tokens"])
    )
    assert CURRENT.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("displayname", "did you mean “display_name”?"),
        ("scope.nobody", "Scope has no field “nobody”"),
        ("overrides.reason", "replaced as a whole"),
        ("scope.tags.a", "replaced as a whole"),
        ("display_name.x", "replaced as a whole"),
        ("", "has no field"),
        ("scope.", "has no field"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as raised:
        masks.check(FieldMask(paths=["*", "display_name", path]), budget_pb2.Budget.DESCRIPTOR)
    assert [problem.field for problem in raised.value.problems] == ["update_mask"]
