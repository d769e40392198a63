"""Whatever the order and the batches in which entries come: the same ledger."""

from __future__ import annotations

import asyncio
import itertools
from functools import reduce

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quota_service.application.ledger_ports import LedgerFilter, Written
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.reservation import State
from quota_service.stores.postgres.ledger import PostgresLedger
from tests.integration.postgres_lives import WINDOWS, Life, a_hold, open_reservations, spent

NEW, REPLAYED, CONFLICT = Written.NEW, Written.REPLAYED, Written.CONFLICT

moves = st.lists(
    st.one_of(
        st.tuples(st.just("extend"), st.integers(0, 200)),
        st.tuples(st.just("part"), st.integers(0, 900)),
        st.tuples(st.sampled_from(["release", "expire"]), st.just(0)),
        st.tuples(st.just("commit"), st.integers(0, 900)),
    ),
    max_size=6,
)


def live(organization: str, id_: str, steps: list[tuple[str, int]]) -> Life:
    life = Life(a_hold(organization, id_))
    for verb, amount in steps:
        if verb == "extend" and life.hold.state is State.HELD:
            life.extend(amount)
        elif verb in ("release", "expire"):
            life.end(State.RELEASED if verb == "release" else State.EXPIRED)
        elif verb in ("part", "commit") and life.hold.settlement is None:
            life.commit(amount, keep_open=verb == "part")
    return life


numbers = itertools.count()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scripts=st.lists(moves, min_size=1, max_size=4), data=st.data())
async def test_any_order_any_batches_and_any_repeats_give_the_same_ledger(
    ledger: PostgresLedger, pool: asyncpg.Pool, scripts: list[list[tuple[str, int]]], data: st.DataObject
) -> None:
    organization = f"o{next(numbers)}"
    lives = [live(organization, f"r{number}", steps) for number, steps in enumerate(scripts)]
    entries = [entry for life in lives for entry in life.entries]
    repeats = data.draw(st.lists(st.sampled_from(entries), max_size=4))
    shuffled = data.draw(st.permutations(entries + repeats))
    borders = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=4)))
    batches = [shuffled[a:b] for a, b in itertools.pairwise([0, *borders, len(shuffled)])]
    at_once = data.draw(st.booleans())

    if at_once:
        written = await asyncio.gather(*map(ledger.write, batches))
    else:
        written = [await ledger.write(batch) for batch in batches]

    assert CONFLICT not in itertools.chain(*(each.results for each in written))
    assert await open_reservations(pool, organization) == {
        life.hold.reservation for life in lives if life.hold.state is State.HELD
    }
    total = reduce(Amounts.plus, (entry.charged for entry in entries), NOTHING)
    expected = {(window.budget, window.each_value): total for window in WINDOWS} if total != NOTHING else {}
    assert await spent(pool, organization) == expected
    rows, _ = await ledger.list(organization, LedgerFilter(), 100, None)
    assert sorted(row.entry.key for row in rows) == sorted(entry.key for entry in entries)
    for life in lives:
        assert await ledger.hold(organization, life.hold.reservation) == life.hold
