"""What a request falls under is found without looking at all there is, and is the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quota_service.domain.budget import Budget
from quota_service.domain.matching import Matching
from quota_service.domain.scope import Facts, Scope, matches
from quota_service.domain.subject import Subject

words = st.sampled_from(["", "a", "b", "user"])
some = st.sampled_from(["a", "b", "user"])
tags = st.dictionaries(some, words, max_size=2).map(lambda pairs: tuple(sorted(pairs.items())))
tiers = st.sampled_from([None, 1, 2])

scopes = st.builds(
    Scope,
    team=words,
    user=words,
    api_key=words,
    project=words,
    cost_center=words,
    provider=words,
    model=words,
    tier=tiers,
    tags=tags,
)
subjects = st.builds(
    Subject, team=words, user=words, api_key=words, project=words, cost_center=words, tags=tags
)
facts = st.builds(Facts, subject=subjects, provider=words, model=words, tier=tiers)


def made(given_: list[tuple[Scope, bool]]) -> dict[str, Budget]:
    return {
        f"b{number}": Budget(id=f"b{number}", scope=scope, disabled=disabled)
        for number, (scope, disabled) in reversed(list(enumerate(given_)))
    }


def expected(budgets: dict[str, Budget], request: Facts) -> tuple[Budget, ...]:
    found = [each for _, each in sorted(budgets.items()) if not each.disabled]
    return tuple(each for each in found if matches(each.scope, request))


budgets_ = st.lists(st.tuples(scopes, st.booleans()), max_size=8).map(made)


@given(budgets_, facts)
def test_all_that_match_are_found_by_id_and_nothing_else(budgets: dict[str, Budget], request: Facts) -> None:
    assert Matching(budgets).of(request) == expected(budgets, request)


@given(budgets_, budgets_, st.sets(st.sampled_from(["b0", "b1", "b2"])), facts)
def test_what_stays_through_a_change_is_found_with_what_is_new_and_without_what_is_gone(
    before: dict[str, Budget], new: dict[str, Budget], gone: set[str], request: Facts
) -> None:
    after = {id_: each for id_, each in (before | new).items() if id_ not in gone}
    former = Matching(before)
    assert former.after(after).of(request) == expected(after, request)
    assert former.of(request) == expected(before, request)
    assert former.after(dict(before)) is former
