"""The stream of events: what callers are told is what stands in it, and what acknowledging forgets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from quota_service.domain.amounts import Amounts, Limits
from quota_service.domain.commands import Event, Granted, Recorded, Settled
from quota_service.domain.ledger import EntryType
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold, State
from quota_service.stores.valkey.events import REMEMBER_MS
from tests.support.commands import (
    authorize,
    commit,
    draft,
    extend,
    granted,
    record,
    recorded,
    release,
    settled,
    term,
    window,
)
from tests.support.valkey import Stores, opened

NO_TTL = -1
AGE_MS = -60_000
"""Every event is older than that."""


@pytest.fixture
async def stores(valkey_url: str) -> AsyncIterator[Stores]:
    async with opened(valkey_url) as found:
        yield found


async def _stream(stores: Stores, organization: str) -> Sequence[Event]:
    return await stores.events.older_than(organization, AGE_MS, 1_000)


async def _hold(stores: Stores, organization: str, name: str, ttl_ms: int = 60_000) -> Hold:
    hold = draft(organization, name, windows=(window(),))
    return granted(await stores.holds.authorize(authorize(hold, term(), ttl_ms=ttl_ms))).hold


async def _expire(stores: Stores, hold: Hold) -> None:
    await stores.connection.call(
        "HSET", stores.keys.common(hold.organization)[0], "time", max(hold.expire_ms, 4_000_000_000_000)
    )
    while await stores.holds.sweep(hold.organization):
        pass


async def _time_left_ms(stores: Stores, key: str) -> int:
    return int(await stores.connection.call("PTTL", key))


async def test_an_event_in_the_stream_says_what_the_caller_was_told(stores: Stores, key_prefix: str) -> None:
    limited = term(ceilings=Limits(1_000, 1_000, 1_000))
    hold = draft(key_prefix, "r", windows=(window(),))
    answers: list[Granted | Settled | Recorded] = [
        granted(await stores.holds.authorize(authorize(hold, limited))),
        granted(await stores.holds.extend(extend(hold, limited, tokens=20, request_id="more"))),
        granted(await stores.holds.extend(extend(hold, limited, ttl_ms=90_000))),
        granted(await stores.holds.extend(extend(hold, limited, ttl_ms=120_000))),
        settled(await stores.holds.commit(commit(hold, 4, keep_open=True))),
        settled(await stores.holds.commit(commit(hold, 7, keep_open=True))),
        settled(await stores.holds.commit(commit(hold, 40, output_tokens=1))),
        recorded(await stores.holds.record(record(replace(hold, reservation=""), "rec/key"))),
    ]
    told = [answer.event for answer in answers]
    assert list(await _stream(stores, key_prefix)) == told
    longer = [answer.hold.expire_ms for answer in answers[2:4] if isinstance(answer, Granted)]
    assert [event.entry.key for event in told if event] == [
        "r/hold",
        "r/extend/more",
        f"r/extend-until/{longer[0]}",
        f"r/extend-until/{longer[1]}",
        "r/part/1",
        "r/part/2",
        "r/end",
        "rec/key",
    ]


async def test_an_extend_that_changes_nothing_is_no_event(stores: Stores, key_prefix: str) -> None:
    hold = await _hold(stores, key_prefix, "r")
    answer = granted(await stores.holds.extend(extend(hold, ttl_ms=1_000)))
    assert answer.hold == hold
    assert answer.event is None
    assert len(await _stream(stores, key_prefix)) == 1


async def test_a_commit_says_for_the_ledger_what_was_used_by_which_model(
    stores: Stores, key_prefix: str
) -> None:
    hold = await _hold(stores, key_prefix, "r")
    command = replace(commit(hold, 12, output_tokens=3), provider="other", model="m2", usage_estimated=True)
    entry = settled(await stores.holds.commit(command)).event
    assert entry is not None
    told = entry.entry
    assert (told.provider, told.model) == ("other", "m2")
    assert (told.usage, told.usage_estimated) == (Usage(input_tokens=12, output_tokens=3), True)
    assert (told.charged, told.overrun) == (Amounts(15, 15, 1), Amounts(5, 5, 0))
    assert told.cost_pico == 15_000_000
    assert told.hold.state is State.COMMITTED


async def test_expiries_are_events_that_nobody_is_told(stores: Stores, key_prefix: str) -> None:
    hold = await _hold(stores, key_prefix, "r")
    await _expire(stores, hold)
    _, expiry = await _stream(stores, key_prefix)
    assert expiry.entry.type is EntryType.EXPIRE
    assert expiry.entry.key == "r/end"
    assert expiry.entry.final
    assert expiry.entry.hold == await stores.holds.get(key_prefix, "r")


async def test_parts_and_the_end_of_a_late_settlement_have_keys_of_their_own(
    stores: Stores, key_prefix: str
) -> None:
    hold = await _hold(stores, key_prefix, "r")
    settled(await stores.holds.commit(commit(hold, 1, keep_open=True)))
    settled(await stores.holds.release(release(hold)))
    for tokens, keep_open in ((2, True), (3, True), (4, False)):
        assert settled(await stores.holds.commit(commit(hold, tokens, keep_open=keep_open))).late
    keys = [event.entry.key for event in await _stream(stores, key_prefix)]
    assert keys == ["r/hold", "r/part/1", "r/end", "r/late/1", "r/late/2", "r/late"]


async def test_only_events_of_that_age_are_found(stores: Stores, key_prefix: str) -> None:
    await _hold(stores, key_prefix, "r")
    assert await stores.events.older_than(key_prefix, 60_000, 10) == []
    assert len(await stores.events.older_than(key_prefix, AGE_MS, 10)) == 1


async def test_acknowledged_events_leave_the_stream_and_only_what_ended_is_forgotten(
    stores: Stores, key_prefix: str
) -> None:
    held = await _hold(stores, key_prefix, "held")
    ended = await _hold(stores, key_prefix, "ended")
    settled(await stores.holds.commit(commit(held, 1, keep_open=True)))
    settled(await stores.holds.commit(commit(ended)))
    recorded(await stores.holds.record(record(replace(held, reservation=""), "rec/key")))
    await stores.events.acknowledge(key_prefix, await _stream(stores, key_prefix))
    assert await _stream(stores, key_prefix) == []
    keys = stores.keys
    for forgotten in (
        keys.hold(key_prefix, "ended"),
        keys.idempotency(key_prefix, ended.idempotency_key),
        keys.record(key_prefix, "rec/key"),
    ):
        assert 0 < await _time_left_ms(stores, forgotten) <= REMEMBER_MS
    for kept in (
        keys.hold(key_prefix, "held"),
        keys.idempotency(key_prefix, held.idempotency_key),
        keys.window(key_prefix, window()),
        *keys.common(key_prefix)[:2],
    ):
        assert await _time_left_ms(stores, kept) == NO_TTL


async def test_a_late_settlement_does_not_forget_a_key_that_is_anothers_by_now(
    stores: Stores, key_prefix: str
) -> None:
    first = await _hold(stores, key_prefix, "first")
    settled(await stores.holds.release(release(first)))
    await stores.events.acknowledge(key_prefix, await _stream(stores, key_prefix))
    key = stores.keys.idempotency(key_prefix, first.idempotency_key)
    await stores.connection.call("DEL", key)  # ten minutes later
    second = draft(key_prefix, "second", key=first.idempotency_key)
    granted(await stores.holds.authorize(authorize(second, term())))
    settled(await stores.holds.commit(commit(first, 3)))
    await stores.events.acknowledge(key_prefix, await _stream(stores, key_prefix))
    assert await _time_left_ms(stores, key) == NO_TTL


async def test_windows_outlive_their_end_by_two_days(stores: Stores, key_prefix: str) -> None:
    end_ms = 4_000_000_000_000
    place = window(each_value="value", end_ms=end_ms)
    await stores.holds.authorize(authorize(draft(key_prefix, "r"), term(place, max_values=5)))
    for key in (stores.keys.window(key_prefix, place), stores.keys.values(key_prefix, place)):
        assert await stores.connection.call("PEXPIRETIME", key) == end_ms + 48 * 3_600_000
    await stores.holds.commit(commit(draft(key_prefix, "r")))
    key = stores.keys.window(key_prefix, place)
    assert await stores.connection.call("PEXPIRETIME", key) == end_ms + 48 * 3_600_000


async def test_an_unused_counter_disappears(stores: Stores, key_prefix: str) -> None:
    place = window(each_value="value")
    hold = draft(key_prefix, "r")
    await stores.holds.authorize(authorize(hold, term(place, max_values=1)))
    await stores.holds.release(release(hold))
    assert await stores.connection.call("EXISTS", stores.keys.window(key_prefix, place)) == 0
    assert await stores.connection.call("EXISTS", stores.keys.values(key_prefix, place)) == 0
