"""Opening windows in the Lua script and in the reference: the same answers, the same state."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quota_service.domain.amounts import NOTHING, WINDOW_LIMIT_MAX, Amounts, Limits
from quota_service.domain.ledger import EntryType, key_of_rollover
from quota_service.domain.opening import (
    Beginning,
    BeginningUnknown,
    Carried,
    FromLedger,
    FromPrevious,
    Open,
    Opened,
    opened,
)
from quota_service.domain.reservation import WindowRef
from quota_service.domain.rollover import Remainder
from quota_service.domain.terms import Basis, Counters, Term
from quota_service.stores.valkey.codec import decode_counters, pack
from quota_service.stores.valkey.runner import Runner
from quota_service.stores.valkey.windows import ValkeyWindowStore
from tests.support.fence import unfenced
from tests.support.strategies import DAY_MS, EACH_VALUES
from tests.support.twins import Twins, Valkey

EXAMPLES = int(os.environ.get("QUOTA_TEST_EXAMPLES", "200"))
PHASES = tuple(Phase) if "QUOTA_TEST_EXAMPLES" in os.environ else (Phase.explicit, Phase.generate)
NOW_MS = 4_000_000_000_000 // DAY_MS * DAY_MS + 1

_numbers = itertools.count()
_amount = st.one_of(
    st.integers(0, 1_000),
    st.integers(0, WINDOW_LIMIT_MAX),
    st.sampled_from((0, 1, WINDOW_LIMIT_MAX - 1, WINDOW_LIMIT_MAX)),
)
_signed = st.one_of(_amount, _amount.map(int.__neg__), st.just(0))
_amounts = st.builds(Amounts, _amount, _amount, _amount)
_changes = st.one_of(st.just(NOTHING), st.builds(Amounts, _signed, _signed, _signed))
_limits = st.builds(Limits, *(st.one_of(st.none(), _amount) for _ in range(3)))
_openings = st.sampled_from((0, 1, 7, NOW_MS))
_counters = st.builds(
    Counters,
    spent=_amounts,
    held=_amounts,
    holds=st.integers(0, 9),
    overrun=_amounts,
    blocked_requests=_amounts,
    blocked=_amounts,
    added=_changes,
    moved=_changes,
    opened=_openings,
)
_states = st.one_of(st.none(), _counters)


@st.composite
def _beginnings(draw: st.DrawFn, previous: WindowRef) -> Beginning | None:
    match draw(st.sampled_from(("previous", "previous", "previous", "carried", "ledger", "unknown"))):
        case "previous":
            return FromPrevious(window=previous, remainder=Remainder(draw(_limits), draw(_limits)))
        case "carried":
            return Carried(amounts=draw(st.one_of(st.just(NOTHING), _amounts)), in_ledger=draw(st.booleans()))
        case "ledger":
            return FromLedger(*(draw(kind) for kind in (_amounts, _amounts, *[_changes] * 4)))
        case _:
            return None


@st.composite
def _commands(draw: st.DrawFn, organization: str) -> Open:
    each_value, start_ms = draw(st.sampled_from(EACH_VALUES)), NOW_MS // DAY_MS * DAY_MS
    window = WindowRef("budget", each_value, start_ms, draw(st.sampled_from((None, start_ms + DAY_MS))))
    previous = WindowRef("budget", each_value, start_ms - DAY_MS, start_ms)
    from_ms, version = draw(
        st.sampled_from(((0, 3), (0, 3), (0, 3), (0, 3), (NOW_MS + 1, 3), (0, 2), (0, 4)))
    )
    return Open(
        basis=Basis(organization=organization, version=version, from_ms=from_ms),
        term=Term(
            window=window,
            limits=Limits(),
            percent=100,
            mode=draw(st.sampled_from((1, 3))),  # type: ignore[arg-type]  # not looked at
            max_values=draw(st.sampled_from((0, 2))),
            opening=draw(st.sampled_from((1, 7, NOW_MS))),
            keep_ms=draw(st.sampled_from((0, DAY_MS))),
        ),
        beginning=draw(_beginnings(previous)),
    )


@pytest.fixture(scope="module")
def valkey(store_urls: dict[str, str]) -> Iterator[Valkey]:
    found = Valkey(store_urls["valkey"], "openings-agree/")
    yield found
    found.run(_forget(found))
    found.close()


async def _forget(valkey: Valkey) -> None:
    for key in await valkey.connection.call("KEYS", "openings-agree/*"):
        await valkey.connection.call("DEL", key)


@settings(max_examples=EXAMPLES, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_script_opens_windows_as_the_reference_does(valkey: Valkey, data: st.DataObject) -> None:
    twins = Twins(valkey, f"org{next(_numbers)}", NOW_MS)
    twins.book.version = 3
    meta = valkey.keys.common(twins.organization)[0]
    valkey.run(valkey.connection.call("HSET", meta, "version", 3))
    command = data.draw(_commands(twins.organization))
    window = command.term.window
    before = WindowRef("budget", window.each_value, window.start_ms - DAY_MS, window.start_ms)
    for place in (window, before):
        _put(twins, place, data.draw(_states))
    store = ValkeyWindowStore(unfenced(Runner(valkey.connection, valkey.keys)))
    had = twins.book.windows.get(("budget", window.each_value, window.start_ms), Counters())
    for _ in range(2):  # the second time it is open
        expected = opened(twins.book, command, NOW_MS)
        answer = valkey.run(store.open(command))
        event = answer.event if isinstance(answer, Opened) else None
        assert (replace(answer, event=None) if isinstance(answer, Opened) else answer) == expected
        for place in (window, before):
            key = ("budget", place.each_value, place.start_ms)
            assert _get(twins, place) == twins.book.windows.get(key, Counters())
        carried = _carried(command, had, expected)
        if event is None:
            assert carried == NOTHING or (isinstance(expected, Opened) and expected.replayed)
        else:
            assert event.entry.type is EntryType.ROLLOVER
            assert event.entry.key == key_of_rollover(window)
            assert [(each.window, each.added) for each in event.entry.changes] == [(window, carried)]
            assert [each.entry for each in twins.stream()] == [event.entry]
        if isinstance(expected, BeginningUnknown):
            return


def _carried(command: Open, had: Counters, answer: object) -> Amounts:
    """What the ledger must be told."""
    if not isinstance(answer, Opened) or isinstance(command.beginning, FromLedger):
        return NOTHING
    if isinstance(command.beginning, Carried) and command.beginning.in_ledger:
        return NOTHING
    return answer.counters.added.minus(had.added)


def _put(twins: Twins, window: WindowRef, state: Counters | None) -> None:
    if state is None or state._replace(blocked=NOTHING, overrun=NOTHING) == Counters():
        return
    twins.book.windows["budget", window.each_value, window.start_ms] = state
    key = twins.valkey.keys.window(twins.organization, window)
    twins.valkey.run(twins.valkey.connection.call("SET", key, pack(state)))


def _get(twins: Twins, window: WindowRef) -> Counters:
    key = twins.valkey.keys.window(twins.organization, window)
    return decode_counters(twins.valkey.run(twins.valkey.connection.call("GET", key)))
