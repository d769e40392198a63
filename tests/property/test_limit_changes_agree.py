"""Limits change between all the other commands: the scripts and the reference agree, and no money is made."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from hypothesis.strategies import SearchStrategy

from quota_service.domain.amounts import NOTHING, WINDOW_LIMIT_MAX, Amounts, Limits, Meter
from quota_service.domain.budget import Mode
from quota_service.domain.ledger import EntryType, key_of_change
from quota_service.domain.limit_changes import (
    Adjust,
    AdjustAnswer,
    Changed,
    OutOfRange,
    Reallocate,
    Short,
    headroom,
)
from quota_service.domain.terms import Basis, Term
from tests.property.test_scripts_agree import EXAMPLES, PHASES, Machine
from tests.support import strategies
from tests.support.strategies import DAY_MS
from tests.support.twins import Twins, Valkey

STEPS = 40
REQUEST_IDS = ("r", "a request", "ünïcode {}/", "another")

_small = st.integers(1, 2_000)
_any = st.one_of(_small, _small, st.sampled_from((1, WINDOW_LIMIT_MAX - 1, WINDOW_LIMIT_MAX)))


@st.composite
def _amounts(draw: st.DrawFn, limits: Limits, amount: SearchStrategy[int]) -> Amounts:
    """Amounts of the limited meters, of some of them or all."""
    return Amounts(
        *(0 if limit is None or draw(st.integers(0, 3)) == 0 else draw(amount) for limit in limits)
    )


@st.composite
def _terms(draw: st.DrawFn, now_ms: int) -> Term:
    """A budget's term, as anybody may name it; now and then of a window that has to be opened."""
    budget = draw(st.sampled_from(sorted(strategies.BUDGETS)))
    each_value = draw(st.sampled_from(strategies.EACH_VALUES[:3])) if budget.startswith("each") else ""
    return Term(
        window=strategies.window_at(budget, each_value, now_ms),
        limits=draw(strategies.ceilings),
        percent=draw(strategies.percents),
        mode=draw(st.sampled_from(Mode)),
        max_values=3 if budget in strategies.COUNTED else 0,
        opening=draw(st.sampled_from((*[0] * 9, 7))),
    )


class LimitMachine(Machine):
    """All that the other machine does, and changes of limits."""

    def teardown(self) -> None:
        if self.twins.agreed:
            moved = [counters.moved for counters in self.twins.counters().values()]
            assert [sum(each[meter] for each in moved) for meter in Meter] == [0, 0, 0]
            self._audit_changes()
        super().teardown()

    @rule(data=st.data())
    def adjust(self, data: st.DataObject) -> None:
        term = data.draw(_terms(self.twins.now_ms))
        signed = st.one_of(_any, _any.map(lambda amount: -amount))
        command = Adjust(
            basis=self._basis(data),
            key=key_of_change(data.draw(self._request_ids())),
            content_hash=data.draw(st.sampled_from(strategies.CONTENT_HASHES)),
            term=term,
            amounts=data.draw(_amounts(term.limits, signed)),
            reason="because",
        )
        self.twins.adjust(command)
        self._audit(data)

    @rule(data=st.data())
    def reallocate(self, data: st.DataObject) -> None:
        source, destination = data.draw(_terms(self.twins.now_ms)), data.draw(_terms(self.twins.now_ms))
        if source.window == destination.window:
            return
        both = Limits(
            *(
                None if theirs is None else mine
                for mine, theirs in zip(source.limits, destination.limits, strict=True)
            )
        )
        self._reallocate(data, source, destination, data.draw(_amounts(both, _any)))

    @precondition(lambda self: self.twins.book.windows)
    @rule(data=st.data())
    def reallocate_just_what_is_there_or_a_little_more(self, data: st.DataObject) -> None:
        found = self.twins.counters()
        window = data.draw(st.sampled_from(sorted(found, key=repr)))
        limits = data.draw(strategies.ceilings)
        there = [headroom(found[window], limits, meter) for meter in Meter]
        amounts = Amounts(
            *(
                0 if limit is None else max(0, min(WINDOW_LIMIT_MAX, left + data.draw(st.integers(-1, 1))))
                for limit, left in zip(limits, there, strict=True)
            )
        )
        taker = strategies.window_at("for-good", "", self.twins.now_ms)
        if taker == window or amounts == NOTHING:
            return
        source, destination = (
            Term(window, limits, 50, Mode.HARD),
            Term(taker, Limits(0, 0, 0), 100, Mode.HARD),
        )
        self._reallocate(data, source, destination, amounts)

    def _reallocate(self, data: st.DataObject, source: Term, destination: Term, amounts: Amounts) -> None:
        command = Reallocate(
            basis=self._basis(data),
            key=key_of_change(data.draw(self._request_ids())),
            content_hash=data.draw(st.sampled_from(strategies.CONTENT_HASHES)),
            source=source,
            destination=destination,
            amounts=amounts,
            reason="because",
        )
        answer = self.twins.reallocate(command)
        if isinstance(answer, Changed) and not answer.replayed:
            for meter in Meter:
                assert not amounts[meter] or headroom(answer.counters[0], source.limits, meter) >= 0
        if isinstance(answer, Short):
            lefts = [headroom(answer.counters[0], source.limits, meter) for meter in Meter]
            assert any(left < amount for left, amount in zip(lefts, amounts, strict=True))
        self._audit(data)

    def _audit_changes(self) -> None:
        """The stream says by how much every limit has changed."""
        changed = dict.fromkeys(self.twins.places, NOTHING)
        for event in self.twins.stream():
            assert (event.entry.type in (EntryType.ADJUST, EntryType.REALLOCATE)) == bool(event.entry.changes)
            for change in event.entry.changes:
                changed[change.window] = changed[change.window].plus(change.amounts)
        assert changed == {window: counters.change for window, counters in self.twins.counters().items()}

    def _request_ids(self) -> SearchStrategy[str]:
        return st.one_of(st.builds(self._name), st.builds(self._name), st.sampled_from(REQUEST_IDS))


@pytest.mark.timeout(10 * EXAMPLES)
def test_limits_change_as_the_reference_says_and_none_of_it_gets_lost(valkey: Valkey) -> None:
    run_state_machine_as_test(
        lambda: LimitMachine(valkey),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=EXAMPLES // 2,
            phases=PHASES,
            stateful_step_count=STEPS,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_what_was_added_and_what_was_moved_are_each_bounded(valkey: Valkey) -> None:
    """Also where they make up for each other, so that the limit is none that could not be."""
    twins = Twins(valkey, "bounded", time.time_ns() // 1_000_000 + DAY_MS)
    mine = Term(strategies.window_at("for-good", "", 0), Limits(0), 100, Mode.HARD)
    theirs = mine._replace(window=mine.window._replace(each_value="other"))
    basis = Basis(organization="bounded", version=1)
    most = Amounts(WINDOW_LIMIT_MAX)

    def add(key: str, amounts: Amounts) -> AdjustAnswer:
        command = Adjust(basis=basis, key=key, content_hash="", term=mine, amounts=amounts, reason="because")
        return twins.adjust(command)

    assert isinstance(add("1", most), Changed)
    assert isinstance(add("2", Amounts(1)), OutOfRange)
    gift = Reallocate(
        basis=basis, key="3", content_hash="", source=mine, destination=theirs, amounts=most, reason="because"
    )
    assert isinstance(twins.reallocate(gift), Changed)
    assert isinstance(add("4", Amounts(1)), OutOfRange)
    assert isinstance(add("5", Amounts(-1)), OutOfRange)
