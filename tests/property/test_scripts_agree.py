"""Random commands to the Lua scripts and to the reference in Python: the same answers, the same state."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from quota_service.domain import commands
from quota_service.domain.errors import AmountTooLarge
from quota_service.domain.ledger import key_of_record
from quota_service.domain.pricing import charge, cost_pico
from quota_service.domain.reservation import Hold, WindowRef, demand
from quota_service.domain.terms import Basis, Terms
from tests.support import strategies
from tests.support.auditor import Auditor
from tests.support.commands import authorize, draft
from tests.support.strategies import DAY_MS
from tests.support.twins import Twins, Valkey

EXAMPLES = int(os.environ.get("QUOTA_TEST_EXAMPLES", "75"))
PHASES = tuple(Phase) if "QUOTA_TEST_EXAMPLES" in os.environ else (Phase.explicit, Phase.generate)
"""A run of all tests has no time to look for the smallest example; the one found is printed, to be run again
by hand.
"""
STEPS = 30
CROWD = 60
"""Holds that expire together: more than any script retires by itself."""
INTENTS = (*[(False, False)] * 8, (True, False), (False, True), (True, True))
"""Refused, dry run."""

_numbers = itertools.count()


class Machine(RuleBasedStateMachine):
    """One organization, both stores, a clock that the test moves, and an auditor that believes neither."""

    def __init__(self, valkey: Valkey) -> None:
        super().__init__()
        year_ahead_ms = (time.time_ns() // 1_000_000 // DAY_MS + 365) * DAY_MS
        self.organization = f"org{next(_numbers)}"
        self.twins = Twins(valkey, self.organization, year_ahead_ms)
        self.auditor = Auditor(self.twins)
        self.names: list[str] = []
        self.crowded = False
        self.asked: list[commands.Authorize] = []
        self.committed: list[commands.Commit] = []

    def teardown(self) -> None:
        if self.twins.agreed:
            self.auditor.audit()
            self.auditor.audit_stream()
            self.twins.compare_live()

    # --- time ---

    @rule(milliseconds=st.sampled_from(strategies.STEPS_MS))
    def time_passes(self, milliseconds: int) -> None:
        self.twins.advance(milliseconds)

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def time_passes_until_a_hold_is_due(self, data: st.DataObject) -> None:
        hold = self.twins.book.holds.get(data.draw(st.sampled_from(self.names)))
        if hold is not None and hold.expire_ms > self.twins.now_ms:
            self.twins.advance(hold.expire_ms - self.twins.now_ms - data.draw(st.integers(0, 1)))

    # --- verbs ---

    @rule(data=st.data())
    def authorize_with_room_for_it(self, data: st.DataObject) -> None:
        terms = data.draw(strategies.terms(self.twins.now_ms, strategies.room))
        windows = tuple(term.window for term in terms)
        hold = draft(
            self.organization,
            self._name(),
            rates=data.draw(strategies.rates),
            input_tokens=data.draw(strategies.small_tokens),
            output_tokens=data.draw(strategies.small_tokens),
            windows=windows,
        )
        ttl_ms = data.draw(st.sampled_from(strategies.TTLS_MS))
        self._authorize(authorize(hold, *terms, ttl_ms=ttl_ms, version=self.twins.book.version))
        self._audit(data)

    @rule(data=st.data())
    def authorize(self, data: st.DataObject) -> None:
        first = self._draft(data, ())
        if first is None:
            return
        drafts = [first, *(self._another(data, first) for _ in range(data.draw(st.integers(0, 2))))]
        refused, dry_run = data.draw(st.sampled_from(INTENTS))
        now_ms = self.twins.now_ms
        command = commands.Authorize(
            basis=self._basis(data),
            alternatives=tuple(data.draw(strategies.alternatives(now_ms, hold)) for hold in drafts if hold),
            ttl_ms=data.draw(st.sampled_from(strategies.TTLS_MS)),
            refused=refused,
            dry_run=dry_run,
        )
        self._authorize(command)
        self._audit(data)

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def an_authorize_is_repeated(self, data: st.DataObject) -> None:
        command = data.draw(st.sampled_from([*self.asked[-2:], *self.asked]))
        before = command.alternatives[0].hold.content_hash
        content_hash = data.draw(st.sampled_from((before, *strategies.CONTENT_HASHES)))
        name = self._name()
        alternatives = tuple(
            replace(each, hold=replace(each.hold, reservation=name, content_hash=content_hash))
            for each in command.alternatives
        )
        basis = replace(command.basis, version=self.twins.book.version)
        self._authorize(replace(command, alternatives=alternatives, basis=basis))
        self._audit(data)

    @precondition(lambda self: not self.crowded)
    @rule(data=st.data())
    def a_crowd_authorizes(self, data: st.DataObject) -> None:
        terms = data.draw(strategies.terms(self.twins.now_ms, strategies.room))
        windows = tuple(term.window for term in terms)
        ttl_ms = data.draw(st.sampled_from((1_000, 1_500)))
        asked = [
            authorize(
                draft(self.organization, self._name(), input_tokens=1, windows=windows),
                *terms,
                ttl_ms=ttl_ms,
                version=self.twins.book.version,
            )
            for _ in range(CROWD)
        ]
        self.twins.authorize_all(asked)
        first = asked[0].alternatives[0].hold.reservation
        if first in self.twins.book.holds:
            self.names.append(first)
        self.crowded = True
        if data.draw(st.booleans()):
            self.twins.advance(ttl_ms)

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        command = commands.Commit(
            organization=self.organization,
            reservation=self._any_name(data),
            usage=data.draw(strategies.any_usages),
            content_hash=data.draw(st.sampled_from(strategies.CONTENT_HASHES)),
            keep_open=data.draw(st.booleans()),
            rates=data.draw(st.one_of(st.none(), strategies.rates)),
            own_price_allowed=data.draw(st.sampled_from((None, None, True, False))),
            provider=data.draw(st.sampled_from(("", "another"))),
        )
        self.committed.append(command)
        self.auditor.settled(self.twins.commit(command))
        self._audit(data)

    @precondition(lambda self: self.committed)
    @rule(data=st.data())
    def a_commit_is_repeated(self, data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(self.committed))
        content_hash = data.draw(st.sampled_from((command.content_hash, *strategies.CONTENT_HASHES)))
        self.auditor.settled(self.twins.commit(replace(command, content_hash=content_hash)))
        self._audit(data)

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        command = commands.Release(
            organization=self.organization, reservation=self._any_name(data), reason="the caller gave up"
        )
        self.auditor.settled(self.twins.release(command))
        self._audit(data)

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        name = self._any_name(data)
        hold = self.twins.book.holds.get(name)
        terms = data.draw(strategies.terms_in(hold.windows if hold is not None else ()))
        request_id = data.draw(st.sampled_from(strategies.REQUEST_IDS))
        command = commands.Extend(
            basis=self._basis(data),
            reservation=name,
            request_id=request_id,
            content_hash=data.draw(st.sampled_from(strategies.CONTENT_HASHES)),
            ttl_ms=data.draw(st.sampled_from((0, *strategies.TTLS_MS))),
            additional_output_tokens=data.draw(strategies.any_tokens) if request_id else 0,
            terms=Terms(budgets=terms, rates=data.draw(strategies.rate_terms())),
        )
        before = self.twins.book.holds.get(command.reservation)
        self.auditor.extended(command, before, self.twins.extend(command))
        self._audit(data)

    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        occur_ms = self.twins.now_ms - data.draw(st.sampled_from((0, DAY_MS, 5 * DAY_MS)))
        terms = data.draw(strategies.terms(occur_ms))
        hold = self._draft(data, tuple(term.window for term in terms), name="")
        usage = data.draw(strategies.any_usages)
        if hold is None or cost_pico(hold.rates, usage) > 9 * 10**15:
            return
        command = commands.Record(
            basis=self._basis(data),
            key=key_of_record(data.draw(st.sampled_from(strategies.KEYS))),
            content_hash=data.draw(st.sampled_from(strategies.CONTENT_HASHES)),
            hold=hold,
            terms=terms,
            usage=usage,
            charged=charge(hold.rates, usage),
            cost_pico=cost_pico(hold.rates, usage),
            occur_ms=occur_ms,
        )
        self.auditor.recorded(command, self.twins.record(command))
        self._audit(data)

    # --- parts ---

    def _audit(self, data: st.DataObject) -> None:
        """Not after every step: reading sweeps what is due, and the verbs are to meet it too."""
        if data.draw(st.booleans()):
            self.auditor.audit()
            self.twins.compare_holds(self.names)

    def _authorize(self, command: commands.Authorize) -> None:
        self.auditor.authorized(command, self.twins.authorize(command))
        name = command.alternatives[0].hold.reservation
        if name in self.twins.book.holds:
            self.names.append(name)
            self.asked.append(command)

    def _another(self, data: st.DataObject, first: Hold) -> Hold | None:
        """The same request, for another model at other prices."""
        rates = data.draw(strategies.rates)
        held = (rates, first.input_tokens, first.granted_output_tokens, first.own_cost_micros)
        try:
            return replace(first, model="another", rates=rates, held=demand(*held))
        except AmountTooLarge:
            return None

    def _draft(
        self, data: st.DataObject, windows: tuple[WindowRef, ...], name: str | None = None
    ) -> Hold | None:
        rates, own_cost = data.draw(strategies.rates), data.draw(strategies.own_costs)
        tokens = data.draw(strategies.any_tokens), data.draw(strategies.any_tokens)
        try:
            return draft(
                self.organization,
                self._name() if name is None else name,
                key=data.draw(st.sampled_from((*[""] * 8, *strategies.KEYS))),
                content_hash=data.draw(st.sampled_from(strategies.CONTENT_HASHES)),
                rates=rates,
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                own_cost_micros=own_cost,
                caller_priced=data.draw(st.booleans()),
                windows=windows,
                subject=data.draw(strategies.subjects(self.organization)),
            )
        except AmountTooLarge:
            return None

    def _basis(self, data: st.DataObject) -> Basis:
        return data.draw(strategies.bases(self.organization, self.twins.book.version, self.twins.now_ms))

    def _name(self) -> str:
        return f"r{next(_numbers)}"

    def _any_name(self, data: st.DataObject) -> str:
        holds = self.twins.book.holds
        live = [
            name for name in self.names if not holds[name].end_ms and not holds[name].due(self.twins.now_ms)
        ]
        return data.draw(st.sampled_from([*live[-3:] * 3, *self.names[-3:], *self.names, "unknown"]))


@pytest.mark.timeout(10 * EXAMPLES)
def test_the_scripts_and_the_book_give_the_same_answers_and_end_in_the_same_state(valkey: Valkey) -> None:
    run_state_machine_as_test(
        lambda: Machine(valkey),  # type: ignore[arg-type]  # any factory will do
        settings=settings(
            max_examples=EXAMPLES,
            phases=PHASES,
            stateful_step_count=STEPS,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
