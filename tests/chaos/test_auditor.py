"""The auditor finds what a broken service would do: a harness that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.chaos.auditor import Verdict, audit
from tests.chaos.evidence import Balance, Entry, Evidence, LiveWindow, Window
from tests.chaos.journal import (
    Granted,
    Journal,
    LimitChange,
    Loss,
    MoneyChanged,
    Recorded,
    Refused,
    Settled,
    Unanswered,
    Unlike,
)
from tests.chaos.overshoot import Cause
from tests.chaos.scene import NOTHING, BudgetRule, Spent

R = "01890000-0000-7000-8000-000000000001"
NAME = f"organizations/chaos/reservations/{R}"
WINDOW = Window("chaos", "lanes", "7", 1_000)
RULES = {"lanes": BudgetRule((100, None, None), True), "soft": BudgetRule((1, None, None), False)}
USED = Spent(60, 30, 1)

HOLD = Entry(
    organization="chaos",
    key=f"{R}/hold",
    type="HOLD",
    reservation=R,
    charged=NOTHING,
    overrun=NOTHING,
    late=False,
    final=False,
    windows=(WINDOW,),
)
COMMIT = replace(HOLD, key=f"{R}/end", type="COMMIT", charged=USED, final=True)
EXPIRE = replace(HOLD, key=f"{R}/end", type="EXPIRE", final=True)
LATE = replace(COMMIT, key=f"{R}/late", late=True)
SETTLED = Settled(
    reservation=NAME, total=USED, told=USED, final=True, late=False, in_ledger=True, asked_s=19.0, at_s=20.0
)
GRANTED = Granted(reservation=NAME, asked_s=10.0, at_s=11.0, expire_s=40.0, degraded=False)


def journal(*told: object) -> Journal:
    """A client that was granted the reservation and committed it, and whatever else it was told."""
    book = Journal()
    book.totals_asked[NAME].add(USED)
    for each in (GRANTED, *(told or (SETTLED,))):
        book.tell(each)  # type: ignore[arg-type]
    return book


def evidence(*entries: Entry, live: LiveWindow | None = None, balance: Balance | None = None) -> Evidence:
    """Stores that agree with those entries, unless said otherwise."""
    spent, overrun = _sum([entry.charged for entry in entries]), _sum([entry.overrun for entry in entries])
    change = _sum([change.amount for entry in entries for _, change in entry.changes])
    return Evidence(
        entries=entries,
        balances={WINDOW: balance or Balance(spent=spent, overrun=overrun, added=change)},
        live={WINDOW: live or LiveWindow(spent=spent, held=NOTHING, holds=0, overrun=overrun, added=change)},
        work={},
    )


def _sum(amounts: Sequence[Spent]) -> Spent:
    total = NOTHING
    for amount in amounts:
        total = total.plus(amount)
    return total


def guarantees(verdict: Verdict) -> set[str]:
    return {finding.guarantee for finding in verdict.findings}


def loss(began_s: float, since_s: float = 0.0) -> Loss:
    return Loss(fault="empty-valkey", since_s=since_s, began_s=began_s, ended_s=began_s + 1)


def test_books_that_agree_are_found_so() -> None:
    verdict = audit(journal(), evidence(HOLD, COMMIT), RULES)
    assert verdict.findings == []
    assert verdict.counts["commits LEDGER found in the ledger"] == 1


def test_a_commit_answered_ledger_that_is_not_there_is_lost_even_if_valkey_was_emptied() -> None:
    verdict = audit(journal(SETTLED, loss(21.0)), evidence(HOLD, EXPIRE), RULES)
    assert guarantees(verdict) == {"G3"}
    assert verdict.counts["commits lost"] == 1


@pytest.mark.parametrize(("lost_at_s", "broken"), [(21.0, set()), (18.5, set()), (15.0, {"G3"})])
def test_a_commit_answered_buffered_may_be_lost_only_with_valkeys_data(
    lost_at_s: float, broken: set[str]
) -> None:
    buffered = replace(SETTLED, in_ledger=False)
    verdict = audit(journal(buffered, loss(lost_at_s)), evidence(HOLD, EXPIRE), RULES)
    assert guarantees(verdict) == broken


def test_what_was_buffered_before_the_copy_was_made_does_not_go_with_a_rollback() -> None:
    buffered = replace(SETTLED, in_ledger=False)
    verdict = audit(journal(buffered, loss(30.0, since_s=25.0)), evidence(HOLD, EXPIRE), RULES)
    assert guarantees(verdict) == {"G3"}


def test_an_entry_that_is_there_twice_is_found() -> None:
    verdict = audit(journal(), evidence(HOLD, COMMIT, COMMIT), RULES)
    assert verdict.counts["entries that are there twice"] == 1
    assert "G3" in guarantees(verdict)


def test_a_charge_made_under_two_keys_is_found() -> None:
    verdict = audit(journal(), evidence(HOLD, COMMIT, LATE), RULES)
    assert verdict.counts["commits doubled"] == 1
    assert verdict.counts["reservations ended twice"] == 1
    assert {"G3", "G5"} <= guarantees(verdict)


def test_an_end_that_charged_nothing_beside_another_is_counted_and_is_no_second_end() -> None:
    void = replace(LATE, charged=NOTHING)
    verdict = audit(journal(), evidence(HOLD, COMMIT, void), RULES)
    assert verdict.findings == []
    assert verdict.counts["ends that charged nothing, because another had come first"] == 1


def test_a_charge_of_another_amount_is_found() -> None:
    wrong = replace(COMMIT, charged=Spent(61, 30, 1))
    assert "G3" in guarantees(audit(journal(), evidence(HOLD, wrong), RULES))


def test_a_part_that_was_answered_is_not_forgotten_when_no_end_followed() -> None:
    part = replace(SETTLED, final=False)
    entry = replace(COMMIT, key=f"{R}/part/1", final=False)
    assert audit(journal(part), evidence(HOLD, entry, EXPIRE), RULES).findings == []
    assert "G3" in guarantees(audit(journal(part), evidence(HOLD, EXPIRE), RULES))


def test_an_end_answered_ledger_misses_at_most_the_parts_that_were_buffered_and_lost() -> None:
    part = replace(SETTLED, total=Spent(40, 20, 1), told=Spent(40, 20, 1), final=False, in_ledger=False)
    book = journal(part, SETTLED, loss(30.0))
    rest = replace(COMMIT, charged=Spent(20, 10, 0))
    assert audit(book, evidence(HOLD, rest), RULES).findings == []
    assert "G3" in guarantees(audit(book, evidence(HOLD, replace(rest, charged=Spent(19, 10, 0))), RULES))
    assert "G3" in guarantees(audit(journal(part, SETTLED), evidence(HOLD, rest), RULES))


def test_a_record_that_is_missing_or_that_nobody_asked_for_is_found() -> None:
    book = journal()
    book.records_asked["k"] = USED
    book.tell(Recorded(key="k", charged=USED, in_ledger=True, asked_s=19.0, at_s=20.0))
    record = replace(COMMIT, key="rec/k", type="RECORD", reservation="")
    roomy = {"lanes": BudgetRule((1_000, None, None), True)}
    assert audit(book, evidence(HOLD, COMMIT, record), roomy).findings == []
    assert "G3" in guarantees(audit(book, evidence(HOLD, COMMIT), roomy))
    stranger = replace(record, key="rec/other")
    assert "G3" in guarantees(audit(book, evidence(HOLD, COMMIT, record, stranger), roomy))


def test_a_change_of_money_that_is_missing_or_doubled_is_found() -> None:
    change = LimitChange(organization="chaos", budget="lanes", each_value="7", amount=Spent(50), moved=False)
    entry = replace(EXPIRE, key="adj/a", type="ADJUST", reservation="", changes=((WINDOW, change),))
    book = journal()
    book.changes_asked["a"] = (change,)
    book.tell(MoneyChanged(key="a", changes=(change,), at_s=20.0))
    assert audit(book, evidence(HOLD, COMMIT, entry), RULES).findings == []
    assert "G3" in guarantees(audit(book, evidence(HOLD, COMMIT), RULES))
    again = replace(entry, key="adj/b")
    assert "G3" in guarantees(audit(book, evidence(HOLD, COMMIT, entry, again), RULES))


def test_a_release_beside_a_commit_in_time_is_found_and_a_late_commit_after_it_is_not() -> None:
    release = replace(EXPIRE, key=f"{R}/other", type="RELEASE")
    assert "G5" in guarantees(audit(journal(), evidence(HOLD, COMMIT, release), RULES))
    assert audit(journal(), evidence(HOLD, release, LATE), RULES).findings == []


def test_a_hold_that_never_ended_is_found() -> None:
    book = Journal()
    assert guarantees(audit(book, evidence(HOLD), RULES)) == {"G6"}


@pytest.mark.parametrize(
    "live",
    [
        LiveWindow(spent=Spent(120, 60, 2), held=NOTHING, holds=0, overrun=NOTHING),
        LiveWindow(spent=NOTHING, held=NOTHING, holds=0, overrun=NOTHING),
        LiveWindow(spent=USED, held=NOTHING, holds=0, overrun=Spent(1)),
        LiveWindow(spent=USED, held=NOTHING, holds=0, overrun=NOTHING, added=Spent(5)),
        LiveWindow(spent=USED, held=Spent(1), holds=0, overrun=NOTHING),
        LiveWindow(spent=USED, held=NOTHING, holds=1, overrun=NOTHING),
    ],
    ids=["charged twice", "forgotten", "overrun", "limit", "held", "holds"],
)
def test_a_window_that_drifts_or_leaks_is_found(live: LiveWindow) -> None:
    assert guarantees(audit(journal(), evidence(HOLD, COMMIT, live=live), RULES)) == {"G6"}


def test_a_balance_that_is_not_the_sum_of_its_entries_is_found() -> None:
    balance = Balance(spent=Spent(59, 30, 1), overrun=NOTHING)
    assert "G6" in guarantees(audit(journal(), evidence(HOLD, COMMIT, balance=balance), RULES))


def test_work_that_is_left_over_is_found() -> None:
    left = replace(evidence(HOLD, COMMIT), work={"stream events": 1, "table pending": 0})
    verdict = audit(journal(), left, RULES)
    assert [finding.text for finding in verdict.findings] == ["1 left over: stream events"]


def test_another_answer_to_a_repeat_a_refusal_and_silence_are_found() -> None:
    unlike = Unlike(
        verb="Commit", key="k", first="a", again="b", excusable=False, outage=False, from_s=10.0, at_s=20.0
    )
    refused = Refused(verb="Commit", key="k", error="NOT_FOUND", excusable=True, from_s=10.0, at_s=20.0)
    silent = Unanswered(verb="Commit", key="k", error="UNAVAILABLE")
    agreeing = evidence(HOLD, COMMIT)
    assert guarantees(audit(journal(SETTLED, unlike, loss(15.0)), agreeing, RULES)) == {"G4"}
    assert guarantees(audit(journal(SETTLED, refused), agreeing, RULES)) == {"G4"}
    assert audit(journal(SETTLED, refused, loss(15.0)), agreeing, RULES).findings == []
    assert guarantees(audit(journal(SETTLED, silent), agreeing, RULES)) == {"G6"}


def test_a_hard_budget_may_be_over_by_its_items_and_not_by_more() -> None:
    more = replace(COMMIT, key="other/end", reservation="other", charged=Spent(50, 1, 1))
    book = journal()
    book.totals_asked["organizations/chaos/reservations/other"].add(more.charged)
    [over] = audit(book, evidence(HOLD, COMMIT, more), RULES).overshoots
    assert (over.over, over.unexplained) == (10, 10)
    assert guarantees(audit(book, evidence(HOLD, COMMIT, more), RULES)) == {"G2"}
    partly = replace(more, overrun=Spent(4))
    [over] = audit(book, evidence(HOLD, COMMIT, partly), RULES).overshoots
    assert (over.items, over.unexplained) == ({Cause.OVERRUN: 4}, 6)
    book.tell(loss(15.0))
    [over] = audit(book, evidence(HOLD, COMMIT, more), RULES).overshoots
    assert (over.items, over.unexplained) == ({Cause.LOST: 60}, 0)
