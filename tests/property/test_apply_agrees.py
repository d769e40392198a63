"""What the ledger has and the keys have not is brought in by the script `apply` as the reference does it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quota_service.domain import applying, commands, reservation
from quota_service.domain.amounts import Amounts
from quota_service.domain.ledger import Entry, EntryType, key_of_record
from quota_service.domain.pricing import Usage, charge
from quota_service.domain.reservation import Hold, Move, State, recorded
from quota_service.stores.valkey.recovery import ValkeyKeys
from quota_service.stores.valkey.runner import Runner
from tests.support.commands import authorize, draft, release, term, window
from tests.support.fence import EPOCH, unfenced
from tests.support.strategies import DAY_MS
from tests.support.twins import Twins, Valkey

_numbers = itertools.count()
_WINDOWS = (window("all"), window("other"))

_steps = st.one_of(
    st.tuples(st.just("part"), st.integers(0, 60)),
    st.tuples(st.just("part"), st.integers(0, 60)),
    st.tuples(st.just("commit"), st.integers(0, 60)),
    st.tuples(st.just("release"), st.just(0)),
    st.tuples(st.just("expire"), st.just(0)),
    st.tuples(st.just("extend"), st.integers(0, 20)),
)
_lives = st.lists(_steps, max_size=4)


class _Elsewhere:
    """The same reservation in the ledger's hands: what became of it there, entry by entry."""

    def __init__(self, hold: Hold, now_ms: int) -> None:
        self._hold = hold
        self._now_ms = now_ms

    def entries(self, steps: list[tuple[str, int]]) -> Iterator[Entry]:
        yield self._entry(EntryType.HOLD, Move(self._hold))
        for kind, tokens in steps:
            move = self._move(kind, tokens)
            if move is not None and not move.replayed:
                self._hold = move.hold
                yield self._entry(EntryType.EXTEND if kind == "extend" else EntryType.COMMIT, move)

    def _move(self, kind: str, tokens: int) -> Move | None:
        hold = self._hold
        match kind:
            case "part" | "commit" if hold.settlement is None:
                return reservation.commit(
                    hold,
                    total=charge(hold.rates, Usage(input_tokens=tokens)),
                    total_pico=tokens * 10**6,
                    content_hash="elsewhere",
                    keep_open=kind == "part",
                    now_ms=self._now_ms,
                )
            case "release" | "expire":
                state = State.RELEASED if kind == "release" else State.EXPIRED
                return reservation.end(hold, state, self._now_ms)
            case "extend" if hold.state is State.HELD:
                return reservation.extend(
                    hold, ttl_ms=1_000, additional_output_tokens=tokens, now_ms=self._now_ms
                )
            case _:
                return None

    def _entry(self, type_: EntryType, move: Move) -> Entry:
        return Entry(
            key=f"{move.hold.reservation}/{type_}/{next(_numbers)}",
            content_hash=move.hold.content_hash,
            type=type_,
            at_ms=self._now_ms,
            hold=move.hold,
            charged=move.spent,
            overrun=move.overrun,
        )


class _Twins(Twins):
    """Both stores, and how entries are brought to each."""

    def __init__(self, valkey: Valkey) -> None:
        year_ahead_ms = (time.time_ns() // 1_000_000 // DAY_MS + 365) * DAY_MS
        super().__init__(valkey, f"org{next(_numbers)}", year_ahead_ms)
        self.places.update(_WINDOWS)
        self.counters()  # which raises the fence
        runner = unfenced(Runner(valkey.connection, valkey.keys))
        runner.adopt(self.organization, EPOCH)
        self._keys = ValkeyKeys(runner)

    def apply(self, entry: Entry) -> None:
        assert self.valkey.run(self._keys.apply(entry, EPOCH))
        applying.apply(self.book, entry, self.now_ms)
        self.counters()
        if entry.hold.reservation:
            self.compare_holds([entry.hold.reservation])

    def live_through(self, hold: Hold, steps: list[tuple[str, int]]) -> None:
        """What became of the reservation here."""
        for kind, tokens in steps:
            usage = Usage(input_tokens=tokens)
            match kind:
                case "part" | "commit":
                    self.commit(
                        commands.Commit(
                            organization=self.organization,
                            reservation=hold.reservation,
                            usage=usage,
                            content_hash="here",
                            keep_open=kind == "part",
                        )
                    )
                case "release":
                    self.release(release(hold))
                case "expire":
                    self.advance(60_000)
                case _:
                    self.advance(1)


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(is_here=st.booleans(), here=_lives, elsewhere=_lives, twice=st.booleans())
def test_the_script_and_the_reference_bring_in_the_same(
    valkey: Valkey,
    is_here: bool,
    here: list[tuple[str, int]],
    elsewhere: list[tuple[str, int]],
    twice: bool,
) -> None:
    twins = _Twins(valkey)
    asked = draft(twins.organization, f"r{next(_numbers)}", output_tokens=10, windows=_WINDOWS)
    hold = replace(asked, create_ms=twins.now_ms, expire_ms=twins.now_ms + 60_000)
    if is_here:
        twins.authorize(authorize(asked, *map(term, _WINDOWS)))
        twins.live_through(hold, here)
    for entry in _Elsewhere(hold, twins.now_ms).entries(elsewhere):
        for _ in range(1 + twice):
            twins.apply(entry)


def test_a_record_is_brought_in_once(valkey: Valkey) -> None:
    twins = _Twins(valkey)
    amounts = Amounts(7, 5, 1)
    made = recorded(
        draft(twins.organization, "", windows=_WINDOWS),
        charged=amounts,
        charged_pico=7 * 10**6,
        at_ms=twins.now_ms,
        content_hash="content",
    )
    entry = Entry(
        key=key_of_record("key"),
        content_hash="content",
        type=EntryType.RECORD,
        at_ms=twins.now_ms,
        hold=made,
        charged=amounts,
    )
    for _ in range(2):
        twins.apply(entry)
    assert [counters.spent for counters in twins.counters().values()] == [amounts, amounts]


def test_what_was_charged_elsewhere_counts_although_the_hold_has_ended_here(valkey: Valkey) -> None:
    twins = _Twins(valkey)
    asked = draft(twins.organization, "reservation", output_tokens=10, windows=_WINDOWS)
    twins.authorize(authorize(asked, *map(term, _WINDOWS)))
    hold = twins.book.holds["reservation"]
    twins.advance(60_000)  # it is over here, while a part of it was charged elsewhere
    for entry in _Elsewhere(hold, twins.now_ms).entries([("part", 12)]):
        twins.apply(entry)
    assert {counters.spent for counters in twins.counters().values()} == {Amounts(12, 12, 1)}


def test_what_is_settled_here_stays_so(valkey: Valkey) -> None:
    twins = _Twins(valkey)
    asked = draft(twins.organization, "reservation", output_tokens=10, windows=_WINDOWS)
    twins.authorize(authorize(asked, *map(term, _WINDOWS)))
    hold = twins.book.holds["reservation"]
    twins.live_through(hold, [("expire", 0), ("commit", 15)])
    for entry in _Elsewhere(hold, twins.now_ms).entries([("expire", 0), ("part", 12)]):
        twins.apply(entry)
    assert twins.book.holds["reservation"].settlement is not None
    assert {counters.spent for counters in twins.counters().values()} == {Amounts(15, 15, 1)}
