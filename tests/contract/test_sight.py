"""No caller learns the existence of anything outside its scopes: made-up organizations, callers and requests,
and what each of them is answered.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quota.v1 import (
    budget_pb2,
    directory_pb2,
    money_pb2,
    quota_pb2,
    types_pb2,
)
from quota_service.application import memory
from quota_service.edge.access import callers
from tests.support.callers import calling, written
from tests.support.service import Client, running_service
from tests.support.stores import Stores
from tests.support.views import (
    NOBODY,
    Identity,
    View,
    answered,
    get,
    gets,
    id_of,
    instead,
    is_in_sight,
    items,
    let_in,
    lists,
    pages,
    require_silent,
    subject_of,
    trim,
    view_of,
)
from tests.support.worlds import FIELDS, World, found, worlds

MATRIX = settings(
    max_examples=int(os.environ.get("QUOTA_TEST_EXAMPLES", "4")),
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
_numbers = itertools.count()


class Place(NamedTuple):
    """A server that asks who calls, what stands behind it, and the file of its callers."""

    address: str
    file: Path
    pool: asyncpg.Pool
    stores: Stores


@pytest.fixture
async def place(
    valkey_url: str,
    postgres_url: str,
    key_prefix: str,
    stores: Stores,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Place]:
    monkeypatch.setattr(callers, "LOOK_S", 0.0)
    monkeypatch.setattr(memory, "LIVE_PER_READ", 2)
    file = written(tmp_path / "callers.yaml", {"operator": ("admin", "*")})
    async with (
        asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as pool,
        running_service(valkey_url, postgres_url, key_prefix, callers=str(file)) as client,
    ):
        yield Place(client.address, file, pool, stores)


def identities(both: Sequence[World]) -> st.SearchStrategy[Identity]:
    def of(world: World) -> st.SearchStrategy[Identity]:
        role, id_ = st.sampled_from(("team_lead", "viewer")), st.just(world.id)
        others = [NOBODY, *(team for each in both for team in each.teams)]
        teams = st.tuples(st.sampled_from(world.teams), st.sampled_from(others))
        user = st.sampled_from(sorted(world.users))
        return st.one_of(
            st.builds(Identity, id_, role, teams, st.just("")),
            st.builds(Identity, id_, role, st.just(()), user),
            st.builds(Identity, id_, st.just("viewer"), st.just(()), st.just("")),
        )

    return st.sampled_from(both).flatmap(of)


@MATRIX
@given(st.data())
async def test_a_caller_is_answered_as_though_there_were_nothing_but_what_is_its(
    place: Place, data: st.DataObject
) -> None:
    number = next(_numbers)
    both = [data.draw(worlds(f"w{number}{letter}")) for letter in "ab"]
    several = data.draw(st.lists(identities(both), min_size=2, max_size=2))
    named = {f"c{index}": identity for index, identity in enumerate(several)}
    let_in(place.file, named)
    async with calling(place.address, "operator-token") as operator:
        await asyncio.gather(*(found(operator, place.pool, world) for world in both))
        await place.stores.drained()
        for name, identity in named.items():
            async with calling(place.address, f"{name}-token") as client:
                view = view_of(identity, client, both)
                await look_at_names(view)
                await look_at_lists(view, operator)
                await look_at_reports(view, operator)
                await look_at_statuses(view, operator)
                await move_headroom(view)


# --- what requests name
# ----------------------------------------------------------------------------------------------------


async def look_at_names(view: View) -> None:
    for way in gets(view.client):
        nobodys, nowhere = await get(way, view.world.id, NOBODY), await get(way, NOBODY, NOBODY)
        assert nobodys[0] == nowhere[0] == "NOT_FOUND"
        for id_ in view.world.names[way.collection]:
            got = await get(way, view.world.id, id_)
            if id_ in view.seen:
                require_silent(view, got)
            else:
                assert got == instead(nobodys, {NOBODY: id_}), view.identity
        for id_ in view.other.names[way.collection]:
            assert await get(way, view.other.id, id_) == instead(nowhere, {NOBODY: view.other.id})


# --- what lists have
# ----------------------------------------------------------------------------------------------------


async def look_from_their_places(view: View, operator: Client, field: str, in_sight: list[Any]) -> None:
    """With page tokens of somebody who sees more: they lead to nothing else."""
    method, request = lists(operator)[field]
    asked = request(parent=f"organizations/{view.world.id}", page_size=3)
    for _ in range(3):
        page = await method(asked)
        if not page.next_page_token:
            return
        asked.page_token = page.next_page_token
        got = getattr(await lists(view.client)[field][0](asked), field)
        assert all(item in in_sight for item in got), (view.identity, field)


async def look_at_lists(view: View, operator: Client) -> None:
    for (collection, ids), field in zip(view.world.names.items(), lists(view.client), strict=False):
        expected = [
            f"organizations/{view.world.id}/{collection}/{id_}" for id_ in sorted(set(ids) & view.seen)
        ]
        for size in (0, 1):
            got = await items(view, field, size)
            assert [item.name for item in got] == expected, (view.identity, size)
            for item in got:
                require_silent(view, item)
            await look_from_their_places(view, operator, field, got)
    for method, request in lists(view.client).values():
        nowhere = await answered(method(request(parent=f"organizations/{NOBODY}")))
        others = await answered(method(request(parent=f"organizations/{view.other.id}")))
        assert others == instead(nowhere, {NOBODY: view.other.id})
    organizations = await view.client.directory.ListOrganizations(directory_pb2.ListOrganizationsRequest())
    assert [each.name for each in organizations.organizations] == [f"organizations/{view.world.id}"]


# --- what was spent
# ----------------------------------------------------------------------------------------------------


async def look_at_reports(view: View, operator: Client) -> None:
    """All that there is, as whoever may see all of it is told, less what is out of sight."""
    for field in ("reservations", "ledger_entries", "alerts", "denials"):
        [everything] = await pages(operator, field, view.world.id, 1_000)
        in_sight = [each for each in everything if is_in_sight(view, field, each)]
        for item in in_sight if view.identity.is_of_teams else ():
            trim(view, item)
        for size in (0, 4 if field == "denials" else 1):
            assert await items(view, field, size) == in_sight, (view.identity, field)
        for item in in_sight:
            require_silent(view, item)
        for filters, matches in filters_of(view, field):
            got = await items(view, field, **filters)
            assert got == [item for item in in_sight if matches(item)], (view.identity, field, filters)
        await look_from_their_places(view, operator, field, in_sight)
        if field == "reservations":
            await look_at_reservations(view, everything)


Filters = tuple[dict[str, Any], Callable[[Any], bool]]


def filters_of(view: View, field: str) -> Iterable[Filters]:
    names = view.world.names
    parts = dict(zip(FIELDS, ("teams", "users", "apiKeys", "projects"), strict=True))
    for part, id_ in ((part, id_) for part, kind in parts.items() for id_ in (names[kind][0], NOBODY)):
        if field == "reservations":
            yield {"subject": subject_of({part: id_})}, _is_of(part, id_)
        elif field != "alerts":
            yield {part: id_}, _is_of(part, id_)
    for budget in (*names["budgets"][:2], NOBODY) if field != "reservations" else ():
        source = f"organizations/{view.world.id}/budgets/{budget}"
        yield {"source": source}, _is_from(source)


def _is_of(part: str, id_: str) -> Callable[[Any], bool]:
    return lambda item: getattr(item.subject, part) == id_


def _is_from(source: str) -> Callable[[Any], bool]:
    return lambda item: source in [each.source for each in getattr(item, "windows", (item,))]


async def look_at_reservations(view: View, everything: Iterable[quota_pb2.Reservation]) -> None:
    nobodys = "01930000-0000-7000-8000-000000000001"

    async def get(organization: str, id_: str) -> Any:
        name = f"organizations/{organization}/reservations/{id_}"
        return await answered(view.client.quota.GetReservation(quota_pb2.GetReservationRequest(name=name)))

    for each in everything:
        got = await get(view.world.id, id_of(each.name))
        assert got == (each if view.sees(each.subject) else await get(view.world.id, nobodys))


# --- where budgets stand
# ----------------------------------------------------------------------------------------------------


async def look_at_statuses(view: View, operator: Client) -> None:
    world = view.world
    pairs = zip(itertools.cycle((*world.teams, NOBODY)), world.users, strict=False)
    for parts in (
        *({}, *({"project": each} for each in world.projects)),
        *({"team": each} for each in (*world.teams, *view.other.teams)),
        *({"user": each} for each in world.users),
        *({"api_key": each} for each in (*world.keys, *view.other.keys)),
        *({"team": team, "user": user} for team, user in pairs),
    ):
        got = await statuses(view.client, world, parts)
        unseen = {id_: f"{NOBODY}.{field}" for field, id_ in parts.items() if id_ not in view.seen}
        if unseen:
            made_up = {field: unseen.get(id_, id_) for field, id_ in parts.items()}
            nobodys = await statuses(view.client, world, made_up)
            assert got == instead(nobodys, {new: old for old, new in unseen.items()}), (view.identity, parts)
            assert got[0] == "INVALID_ARGUMENT"
            continue
        expected = await statuses(operator, world, completed(view, parts))
        if isinstance(expected, budget_pb2.ListBudgetStatusesResponse):
            in_sight = [each for each in expected.statuses if id_of(each.source) in view.seen]
            expected = budget_pb2.ListBudgetStatusesResponse(statuses=in_sight)
        assert got == expected, (view.identity, parts)


async def statuses(client: Client, world: World, parts: dict[str, str]) -> Any:
    request = budget_pb2.ListBudgetStatusesRequest(
        parent=f"organizations/{world.id}", subject=subject_of(parts)
    )
    return await answered(client.budgets.ListBudgetStatuses(request))


def completed(view: View, parts: dict[str, str]) -> dict[str, str]:
    """With the first team in sight of a user."""
    owner = view.world.keys.get(parts.get("api_key", ""), "")
    user = parts.get("user", owner if owner in view.world.users else "")
    own = [team for team in view.world.users.get(user, ()) if team in view.seen]
    team = parts.get("team", owner if owner in view.world.teams else (own or [""])[0])
    return {**parts, **({"user": user} if user else {}), **({"team": team} if team else {})}


# --- what may be changed
# ----------------------------------------------------------------------------------------------------


async def move_headroom(view: View) -> None:
    if view.identity.role != "team_lead":
        return
    budgets = [*view.world.budgets, NOBODY]
    for source, destination in zip(budgets, (*budgets[1:], budgets[0]), strict=True):
        request = money_pb2.ReallocateBudgetRequest(
            source=f"organizations/{view.world.id}/budgets/{source}",
            destination=f"organizations/{view.world.id}/budgets/{destination}",
            amounts=types_pb2.Amounts(cost_micros=1),
            reason="more work",
            request_id=f"{source} {destination}",
        )
        got = await answered(view.client.budgets.ReallocateBudget(request))
        if {source, destination} <= view.seen:
            require_silent(view, got)
        else:
            out_of_sight = source if source not in view.seen else destination
            text = f"There is no budget “{out_of_sight}” in organization “{view.world.id}”."
            assert got == ("NOT_FOUND", "BUDGET_NOT_FOUND", text)
