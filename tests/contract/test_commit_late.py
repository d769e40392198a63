"""A Commit after the end: after expiry, after a release, after Valkey has forgotten the hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import (
    NOWHERE,
    amount,
    committed,
    cost,
    entries,
    expired,
    held,
    model,
    released,
    reservation,
    stands,
    subject,
    types,
)
from tests.support.refusals import answer, fields, refusal
from tests.support.service import Client
from tests.support.stores import Stores

CONFLICT = ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")
EXPIRED, RELEASED = quota_pb2.Reservation.STATE_EXPIRED, quota_pb2.Reservation.STATE_RELEASED
WHO: dict[str, Any] = {"subject": subject(user="ada"), "provider": "openai", "model": "gpt-4o"}


async def ended(client: Client, how: int, key: str = "k") -> str:
    """The name of a reservation that has expired or been released."""
    if how == EXPIRED:
        return await expired(client, key)
    name = await held(client, key)
    await released(client, name)
    return name


async def found(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(8_000))


@pytest.mark.parametrize(("how", "type_"), [(EXPIRED, "EXPIRE"), (RELEASED, "RELEASE")])
async def test_a_late_commit_is_charged_in_full_and_flagged(client: Client, how: int, type_: str) -> None:
    await found(client)
    name = await ended(client, how)
    await held(client, "somebody else's")
    done = await committed(client, name)
    assert (done.late, done.replayed, done.durability) == (True, False, types_pb2.DURABILITY_LEDGER)
    assert amount(done.charged) == (4_500, 1_200, 1)
    assert (amount(done.returned), amount(done.overrun)) == ((0, 0, 0), (0, 0, 0))
    assert done.reservation.state == how
    assert amount(done.reservation.committed) == (4_500, 1_200, 1)
    [status] = done.budgets
    assert (status.spent, status.held, status.remaining) == (4_500, 7_500, -4_000)
    mine = await entries(client, 3, reservation=name)
    assert sorted(types(mine)) == sorted(["HOLD", type_, "COMMIT"])
    assert [type_ for type_, each in zip(types(mine), mine, strict=True) if each.late] == ["COMMIT"]


@pytest.mark.parametrize("how", [EXPIRED, RELEASED])
async def test_there_is_one_late_settlement(client: Client, how: int) -> None:
    await found(client)
    name = await ended(client, how)
    first = await committed(client, name)
    again = await committed(client, name)
    assert (again.late, again.replayed) == (True, True)
    assert again.charged == first.charged
    assert answer(await refusal(committed(client, name, 1_000, 201))) == CONFLICT
    assert await stands(client, "engineering") == (4_500, 0)


async def test_late_parts_and_their_final_commit_are_one_late_settlement(client: Client) -> None:
    await found(client)
    name = await ended(client, RELEASED)
    charged = []
    for output_tokens, keep_open in ((100, True), (50, True), (200, True), (300, False)):
        done = await committed(client, name, 1_000, output_tokens, keep_open=keep_open)
        assert done.late
        charged.append(amount(done.charged))
    assert charged == [(3_500, 1_100, 1), (0, 0, 0), (1_000, 100, 0), (1_000, 100, 0)]
    assert await stands(client, "engineering") == (5_500, 0)
    assert (await committed(client, name, 1_000, 900, keep_open=True)).replayed
    assert (await committed(client, name, 1_000, 300)).replayed
    assert answer(await refusal(committed(client, name, 1_000, 301))) == CONFLICT
    found_ = await entries(client, 5)
    assert types(found_) == ["HOLD", "RELEASE", "COMMIT", "COMMIT", "COMMIT"]
    assert sum(amount(each.charged).cost for each in found_) == 5_500


async def test_what_was_charged_in_part_before_the_end_is_not_charged_again(client: Client) -> None:
    await found(client)
    name = await held(client)
    await committed(client, name, 1_000, 100, keep_open=True)
    await released(client, name)
    done = await committed(client, name, 1_000, 200)
    assert (done.late, amount(done.charged)) == (True, (1_000, 100, 0))
    assert await stands(client, "engineering") == (4_500, 0)


async def test_a_late_commit_above_the_hold_is_an_overrun_too(client: Client) -> None:
    await found(client)
    done = await committed(client, await ended(client, RELEASED), 2_000, 500)
    assert (done.charged.cost_micros, done.overrun.cost_micros) == (10_000, 2_500)


@pytest.mark.parametrize("forget", ["released", "held"])
async def test_a_commit_works_from_the_ledger_when_valkey_has_forgotten_the_hold(
    client: Client, stores: Stores, forget: str
) -> None:
    await found(client)
    name = await held(client) if forget == "held" else await ended(client, RELEASED)
    await stores.forget(name)
    remembered = await reservation(client, name)
    assert remembered.state == (EXPIRED if forget == "held" else RELEASED)
    done = await committed(client, name)
    assert (done.late, done.charged.cost_micros) == (True, 4_500)
    assert (await committed(client, name)).replayed
    assert answer(await refusal(committed(client, name, 1, 1))) == CONFLICT
    [status] = done.budgets
    assert status.spent == 4_500


async def test_a_commit_that_valkey_has_forgotten_is_replayed_from_the_ledger(
    client: Client, stores: Stores
) -> None:
    await found(client)
    name = await held(client)
    first = await committed(client, name)
    await stores.forget(name)
    again = await committed(client, name)
    assert again.replayed
    assert (again.late, amount(again.charged)) == (False, amount(first.charged))
    await stores.forget(name)
    assert answer(await refusal(committed(client, name, 1, 1))) == CONFLICT
    assert (await released(client, name)).replayed
    assert await stands(client, "engineering") == (4_500, 0)


async def test_parts_that_valkey_has_forgotten_are_not_charged_again(client: Client, stores: Stores) -> None:
    await found(client)
    name = await ended(client, RELEASED)
    await committed(client, name, 1_000, 100, keep_open=True)
    await stores.forget(name)
    assert amount((await committed(client, name, 1_000, 200)).charged) == (1_000, 100, 0)
    assert (await stands(client, "engineering"))[0] == 4_500


async def test_a_wholly_unknown_reservation_is_charged_from_what_its_commit_carries(client: Client) -> None:
    await found(client)
    done = await committed(client, NOWHERE, **WHO)
    assert (done.late, done.replayed, done.durability) == (True, False, types_pb2.DURABILITY_LEDGER)
    assert amount(done.charged) == (4_500, 1_200, 1)
    assert done.reservation.name == NOWHERE
    assert await stands(client, "engineering") == (4_500, 0)
    assert (await committed(client, NOWHERE, **WHO)).replayed
    assert answer(await refusal(committed(client, NOWHERE, 1, 1, **WHO))) == CONFLICT
    assert await stands(client, "engineering") == (4_500, 0)
    [entry] = await entries(client, 1)
    assert (types([entry]), entry.late, entry.reservation) == (["COMMIT"], True, NOWHERE)


@pytest.mark.parametrize("missing", ["subject", "provider", "model"])
async def test_an_unknown_reservation_without_somebody_to_charge_is_not_found(
    client: Client, missing: str
) -> None:
    await found(client)
    who = {part: value for part, value in WHO.items() if part != missing}
    error = await refusal(committed(client, NOWHERE, **who))
    assert answer(error) == ("NOT_FOUND", "RESERVATION_NOT_FOUND")
    assert await stands(client, "engineering") == (0, 0)


async def test_an_unknown_reservation_charges_unknown_subjects_but_refuses_unknown_models(
    client: Client,
) -> None:
    await found(client)
    error = await refusal(committed(client, NOWHERE, **{**WHO, "model": "unheard-of"}))
    assert answer(error) == ("INVALID_ARGUMENT", "MODEL_UNKNOWN")
    assert list(fields(error)) == ["model"]
    done = await committed(client, NOWHERE, **{**WHO, "subject": subject(user="nobody")})
    assert done.reservation.subject == subject(user="nobody")
    assert await stands(client, "engineering") == (4_500, 0)


async def test_parts_of_an_unknown_reservation_add_up_to_its_total(client: Client) -> None:
    await found(client)
    for output_tokens, keep_open in ((100, True), (100, True), (200, True), (300, False)):
        done = await committed(client, NOWHERE, 1_000, output_tokens, keep_open=keep_open, **WHO)
        assert done.late
    assert await stands(client, "engineering") == (5_500, 0)
    assert (await committed(client, NOWHERE, 1_000, 300, **WHO)).replayed


async def test_an_unknown_reservation_is_charged_once_by_whichever_server(
    client: Client, other: Client
) -> None:
    await found(client)
    done = await asyncio.gather(
        *(committed(each, NOWHERE, **WHO) for _ in range(10) for each in (client, other))
    )
    assert sum(not each.replayed for each in done) == 1
    assert await stands(client, "engineering") == (4_500, 0)
    await entries(client, 1)


async def test_an_unknown_reservation_of_a_caller_priced_model_is_charged_the_callers_price(
    client: Client,
) -> None:
    await found(client)
    await model(client, "image", caller_priced=True, unpriced=True)
    request = quota_pb2.CommitRequest(
        name=NOWHERE,
        usage=types_pb2.Usage(cost_micros=70),
        subject=subject(user="ada"),
        provider="house",
        model="image",
    )
    assert (await client.quota.Commit(request)).charged.cost_micros == 70
