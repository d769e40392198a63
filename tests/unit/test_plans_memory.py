"""Plans are worked out once and kept while they are used, in bounded memory, whoever asks for what."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable
from weakref import WeakKeyDictionary

import pytest

from quota_service.application.caching import Room
from quota_service.application.plans import Plan, Plans
from quota_service.domain.amounts import Limits
from quota_service.domain.budget import Budget, Carry, EachOverride
from quota_service.domain.configuration import Configuration
from quota_service.domain.ladder import LadderModel
from quota_service.domain.period import Fixed, Monthly, Once
from quota_service.domain.pricing import DatedRate, Model, Rate
from quota_service.domain.scope import Each, Scope
from quota_service.domain.subject import Dimension, Directory, Organization, Subject, Team, User
from quota_service.domain.terms import Terms
from quota_service.stores.valkey.keys import Keys
from quota_service.stores.valkey.terms import EncodedTerms, encode_terms

NOW_MS = 1_790_000_000_000
MINUTE_MS = 60_000
ROOM_BYTES = 256 * 1024


class NoAliases:
    def resolve(self, provider: str, model: str) -> tuple[str, str] | None:
        return None


def budget(id_: str, scope: Scope | None = None, **fields: object) -> Budget:
    given = {"period": Monthly(), "limits": Limits(10**12, 10**12)} | fields
    return Budget(id=id_, scope=scope or Scope(), since_ms=5, **given)  # type: ignore[arg-type]


BUDGETS = (
    budget("all"),
    budget("each-user", Scope(each=Each(dimension=Dimension.USER))),
    budget("red", Scope(team="red")),
    budget("minutes", period=Fixed(length_ms=MINUTE_MS), rollover=Carry(max_percent=50)),
    budget("each-session", Scope(each=Each(dimension=Dimension.TAG, tag="session", max_values=10**6))),
)


def plans(
    room: Room | None = None, *, budgets: Iterable[Budget] = BUDGETS, organization: str = "acme"
) -> Plans:
    price = DatedRate(0, Rate(0, 10**6, 10**6, 10**6, 10**6))
    configuration = Configuration(
        version=1,
        organization=Organization(id=organization),
        directory=Directory(teams={"red": Team(id="red")}, users={"ada": User(id="ada", teams=("red",))}),
        budgets={each.id: each for each in budgets},
        own_models={("house", "small"): Model(provider="house", model="small", prices=(price,))},
    )
    return Plans(configuration, NoAliases(), room)


class Caller:
    """Asks as Authorize does, and keeps what the store makes of terms for as long as the store would."""

    def __init__(self, asked: Plans) -> None:
        self._asked = asked
        self._encoded: WeakKeyDictionary[Terms, EncodedTerms] = WeakKeyDictionary()

    def session(self, number: int) -> Plan:
        subject = Subject(organization="acme", user="ada", tags=(("session", f"s-{number}"),))
        plan = self._asked.plan(subject, "house", "small")
        terms = plan.at(NOW_MS).terms
        if terms not in self._encoded:
            self._encoded[terms] = encode_terms(Keys("quota/"), "acme", terms)
        return plan


def traced_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.fixture
def traced() -> Iterable[None]:
    tracemalloc.start(1)
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_names_that_nobody_uses_again_take_no_more_memory_than_there_is_for_plans() -> None:
    caller = Caller(plans(Room(ROOM_BYTES)))
    caller.session(0)
    before = traced_bytes()
    for number in range(300):
        caller.session(number)
    assert traced_bytes() - before <= ROOM_BYTES
    # And what a first crowd has left is all that any later one leaves.
    filled = traced_bytes()
    for number in range(300, 600):
        caller.session(number)
    assert traced_bytes() - filled < ROOM_BYTES / 4


@pytest.mark.usefixtures("traced")
def test_memory_for_plans_is_used_well() -> None:
    """An estimate far above what plans take would make them anew again and again in an empty room."""
    caller = Caller(plans(Room(ROOM_BYTES)))
    caller.session(0)
    before, most = traced_bytes(), 0
    for number in range(120):
        caller.session(number)
        most = max(most, tracemalloc.get_traced_memory()[0] - before)
    assert most > ROOM_BYTES / 2


def test_organizations_share_the_memory_for_plans() -> None:
    room = Room(ROOM_BYTES)
    one, other = Caller(plans(room)), Caller(plans(room, organization="other"))
    kept = one.session(0)
    for number in range(200):
        other.session(number)
    assert one.session(0) is not kept


def test_a_plan_in_use_stays_while_hundreds_come_and_go() -> None:
    caller = Caller(plans(Room(ROOM_BYTES)))
    kept, moment = caller.session(0), caller.session(0).at(NOW_MS)
    for number in range(1, 600):
        caller.session(number)
        if number % 20 == 0:
            assert caller.session(0) is kept
    assert kept.at(NOW_MS) is moment


def test_plans_share_the_terms_of_budgets_that_they_have_in_common() -> None:
    caller = Caller(plans())
    one, other = (caller.session(number).at(NOW_MS).terms.budgets for number in (1, 2))
    shared = {term.window.budget for term, its in zip(one, other, strict=True) if term is its}
    assert shared == {"all", "each-user", "red", "minutes"}


def test_shared_terms_follow_the_windows_of_their_budgets() -> None:
    asked = plans()
    for number in range(3):
        now_ms = NOW_MS + number * MINUTE_MS
        for session in ("new", "known"):
            tag = f"{session}-{number}" if session == "new" else session
            plan = asked.plan(Subject(user="ada", tags=(("session", tag),)), "house", "small")
            start_ms = {term.window.budget: term.window.start_ms for term in plan.at(now_ms).terms.budgets}
            assert start_ms["minutes"] == now_ms - now_ms % MINUTE_MS
            assert plan.at(now_ms).basis.until_ms == start_ms["minutes"] + MINUTE_MS


def test_shared_terms_last_as_long_as_their_limits() -> None:
    raised = EachOverride(each_value="ada", limits=Limits(7), until_ms=NOW_MS + 10)
    each_user = Scope(each=Each(dimension=Dimension.USER))
    asked = plans(budgets=[budget("each-user", each_user, limits=Limits(5), overrides=(raised,))])
    found = []
    for session, now_ms in (("a", NOW_MS), ("b", NOW_MS + 9), ("c", NOW_MS + 10), ("a", NOW_MS + 10)):
        plan = asked.plan(Subject(user="ada", tags=(("session", session),)), "house", "small")
        [term] = plan.at(now_ms).terms.budgets
        found.append(term.limits.cost_micros)
        if now_ms < NOW_MS + 10:
            assert plan.at(now_ms).basis.until_ms == NOW_MS + 10
    assert found == [7, 7, 5, 5]


def test_the_past_is_worked_out_as_it_was_and_leaves_nothing_behind() -> None:
    raised = EachOverride(each_value="ada", limits=Limits(7), until_ms=NOW_MS - 10)
    each_user = Scope(each=Each(dimension=Dimension.USER))
    asked = plans(budgets=[budget("each-user", each_user, limits=Limits(5), overrides=(raised,))])
    plan = asked.plan(Subject(user="ada"), "house", "small")

    def limits() -> tuple[int | None, int | None]:
        now, past = plan.at(NOW_MS), plan.moment(NOW_MS - 20)
        return now.terms.budgets[0].limits.cost_micros, past.terms.budgets[0].limits.cost_micros

    assert (limits(), limits()) == ((5, 7), (5, 7))


def test_a_budget_between_its_windows_has_no_term_until_the_next_one_begins() -> None:
    once = Once(start_ms=NOW_MS, end_ms=NOW_MS + 100)
    asked = plans(budgets=[budget("launch", period=once)])
    counts = []
    for session, now_ms in enumerate((NOW_MS - 1, NOW_MS, NOW_MS + 99, NOW_MS + 100)):
        plan = asked.plan(Subject(user="ada", tags=(("session", str(session)),)), "house", "small")
        counts.append(len(plan.at(now_ms).terms.budgets))
    assert counts == [0, 1, 1, 0]


def test_the_term_of_a_window_is_the_same_for_plans_and_for_holds_in_it() -> None:
    asked = plans()
    plan = asked.plan(Subject(user="ada"), "house", "small")
    for term in plan.at(NOW_MS).terms.budgets:
        known = asked.term_in(term.window, LadderModel("house", "small", None), NOW_MS)
        assert known is not None
        assert known[1] is term
