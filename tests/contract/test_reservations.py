"""GetReservation and ListReservations."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quota.v1 import quota_pb2, types_pb2
from tests.support.calls import (
    NOWHERE,
    api_key,
    authorized,
    committed,
    cost,
    expired,
    held,
    project,
    released,
    reservation,
    seconds,
    subject,
    team,
    user,
)
from tests.support.refusals import answer, refusal
from tests.support.service import ACME, Client
from tests.support.stores import Stores


async def listed(client: Client, page_size: int = 0, **parts: Any) -> list[str]:
    """The names of live holds, over all pages."""
    request = quota_pb2.ListReservationsRequest(
        parent=ACME, page_size=page_size, subject=types_pb2.Subject(**parts)
    )
    names: list[str] = []
    while True:
        page = await client.quota.ListReservations(request)
        names += [each.name for each in page.reservations]
        assert not page_size or len(page.reservations) <= page_size
        if not page.next_page_token:
            return names
        request.page_token = page.next_page_token


async def test_a_reservation_can_be_read_in_every_state(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    hold = (await authorized(client, "held")).reservation
    assert await reservation(client, hold.name) == hold
    name = await held(client, "committed")
    assert (await committed(client, name)).reservation == await reservation(client, name)
    name = await held(client, "released")
    assert (await released(client, name)).reservation == await reservation(client, name)
    assert (
        await reservation(client, await expired(client, "e"))
    ).state == quota_pb2.Reservation.STATE_EXPIRED


async def test_a_reservation_that_valkey_has_forgotten_is_read_from_the_ledger(
    client: Client, stores: Stores
) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(100_000))
    name = await held(client)
    done = await committed(client, name)
    await stores.forget(name)
    assert await reservation(client, name) == done.reservation


async def test_an_unknown_reservation_is_not_found(client: Client, stores: Stores) -> None:
    await client.found_acme()
    before = await stores.snapshot()
    for name in (NOWHERE, NOWHERE.replace("acme", "nowhere")):
        error = await refusal(reservation(client, name))
        assert answer(error) == ("NOT_FOUND", "RESERVATION_NOT_FOUND")
    assert await stores.snapshot() == before


async def test_live_holds_are_listed_those_that_expire_first_first(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(1_000_000))
    last = await held(client, "last", ttl=seconds(500))
    first = await held(client, "first", ttl=seconds(50))
    middle = await held(client, "middle", ttl=seconds(100))
    await committed(client, await held(client, "committed"))
    await released(client, await held(client, "released"))
    await expired(client, "expired")
    assert await listed(client) == [first, middle, last]


async def test_holds_are_listed_page_by_page_without_gap_or_repeat(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(1_000_000))
    names = await asyncio.gather(*(held(client, f"k{number}") for number in range(25)))
    for page_size in (1, 7, 25, 1_000):
        found = await listed(client, page_size)
        assert len(found) == 25
        assert set(found) == set(names)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"user": "bob"}, ["bob", "key"]),
        ({"team": "engineering"}, ["ada", "project"]),
        ({"api_key": "key-bob"}, ["key"]),
        ({"project": "apollo"}, ["project"]),
        ({"tags": {"run": "7"}}, ["tagged"]),
        ({"user": "ada", "project": "apollo"}, ["project"]),
        ({"user": "nobody"}, []),
    ],
    ids=str,
)
async def test_a_subject_picks_the_holds_that_have_its_parts(
    client: Client, parts: dict[str, Any], expected: list[str]
) -> None:
    await client.found_acme()
    await team(client, "support")
    await user(client, "bob", "support")
    await api_key(client, "key-bob", user="bob")
    await project(client, "apollo")
    await client.budget("all", limits=cost(1_000_000))
    names = {
        await held(client, key, subject=sent): key
        for key, sent in (
            ("ada", subject(user="ada")),
            ("bob", subject(user="bob")),
            ("key", subject(api_key="key-bob")),
            ("project", subject(user="ada", team="engineering", project="apollo")),
            ("tagged", subject(team="support", tags={"run": "7", "more": "x"})),
        )
    }
    for page_size in (0, 1):
        assert sorted(names[name] for name in await listed(client, page_size, **parts)) == expected


async def test_holds_of_an_unknown_organization_are_not_found(client: Client) -> None:
    call = client.quota.ListReservations(quota_pb2.ListReservationsRequest(parent="organizations/nowhere"))
    assert answer(await refusal(call)) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")


async def test_a_page_token_of_something_else_is_refused(client: Client) -> None:
    await client.found_acme()
    await client.budget("engineering", limits=cost(1_000_000))
    for key in "ab":
        await held(client, key)
    request = quota_pb2.ListReservationsRequest(parent=ACME, page_size=1)
    request.page_token = (await client.quota.ListReservations(request)).next_page_token
    assert request.page_token
    request.subject.user = "ada"
    for token in (request.page_token, "x", "ü", "e30", "=" * 500):
        request.page_token = token
        error = await refusal(client.quota.ListReservations(request))
        assert answer(error) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
