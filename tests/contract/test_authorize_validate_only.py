"""`validate_only` answers the same and writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from quota.v1 import types_pb2
from tests.support.calls import COST, authorized, cost, estimate, held, stands, subject, warnings
from tests.support.service import Client, authorize_request
from tests.support.stores import Stores


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"estimate": estimate(1_000_000, 0)},
        {"estimate": estimate(1_000, 400)},
        {"model": "gpt-unheard-of"},
        {"subject": subject(user="nobody")},
        {"subject": subject(user="ada", tags={"run": "3"})},
    ],
    ids=["allowed", "input", "output", "model", "subject", "values"],
)
async def test_it_decides_as_the_request_itself_and_leaves_no_trace(
    client: Client, stores: Stores, fields: dict[str, Any]
) -> None:
    await client.found_acme()
    await client.budget("strict", limits=cost(3 * COST))
    await client.budget("gentle", limits=cost(2 * COST), mode=types_pb2.MODE_SOFT)
    await client.budget("watched", limits=cost(COST), mode=types_pb2.MODE_MONITOR)
    each = {"dimension": "DIMENSION_TAG", "tag": "run", "max_values": 1}
    await client.budget("runs", limits=cost(10 * COST), scope={"each": each})
    await held(client, "before")
    before = await stores.snapshot()
    explained = await client.quota.Authorize(authorize_request("k", validate_only=True, **fields))
    assert await stores.snapshot() == before
    done = await client.quota.Authorize(authorize_request("k", **fields))
    assert not explained.HasField("reservation")
    done.ClearField("reservation")
    for answer in (explained, done):
        answer.ClearField("retry_after")  # the wait for a hold's end gets shorter
    assert explained == done


async def test_it_warns_of_what_the_request_itself_would_pass(client: Client) -> None:
    await client.found_acme()
    await client.budget("gentle", limits=cost(COST - 1), mode=types_pb2.MODE_SOFT)
    explained = await authorized(client, validate_only=True)
    assert warnings(explained) == ["SOFT_LIMIT"]
    assert await stands(client, "gentle") == (0, 0)


async def test_its_key_stays_free(client: Client) -> None:
    await client.found_acme()
    await client.budget("strict", limits=cost(COST))
    await authorized(client, validate_only=True)
    answer = await authorized(client, estimate=estimate(1_000, 0))
    assert not answer.replayed


async def test_of_a_key_that_is_in_use_it_says_what_a_repeat_would(client: Client) -> None:
    await client.found_acme()
    await client.budget("strict", limits=cost(COST))
    await held(client)
    answer = await authorized(client, validate_only=True)
    assert answer.replayed
    assert not answer.HasField("reservation")
