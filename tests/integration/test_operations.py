"""OperationsService over real stores: what the ledger refused is seen, replayed, and not taken for drift."""

from __future__ import annotations

import asyncio

from quota.v1 import operations_pb2 as pb
from quota.v1 import types_pb2
from tests.support.calls import amount, committed, cost, held, stands
from tests.support.refusals import answer, refusal
from tests.support.service import ACME, Client
from tests.support.stores import Stores

POISON = types_pb2.Subject(organization="acme", user="ada", tags={"poison": "yes"})
REFUSE = (
    "ALTER TABLE ledger_entries ADD CONSTRAINT poison CHECK (tags->>'poison' IS NULL OR type <> 'COMMIT')"
)
TAKE = "ALTER TABLE ledger_entries DROP CONSTRAINT poison"


async def letters(client: Client, **fields: object) -> pb.ListDeadLettersResponse:
    request = pb.ListDeadLettersRequest(parent=ACME, **fields)  # type: ignore[arg-type]
    return await client.operations.ListDeadLetters(request)


async def dead_letters(client: Client, count: int) -> list[pb.DeadLetter]:
    """All dead letters, once there are as many."""
    async with asyncio.timeout(40):
        while True:
            found = (await letters(client)).dead_letters
            if len(found) >= count:
                return list(found)
            await asyncio.sleep(0.1)


async def replayed(client: Client, *names: str) -> list[str]:
    request = pb.ReplayDeadLettersRequest(parent=ACME, names=names)
    results = (await client.operations.ReplayDeadLetters(request)).replayed
    assert [each.name for each in results] == list(names)
    return [pb.ReplayedDeadLetter.Result.Name(each.result).removeprefix("RESULT_") for each in results]


async def drifts(client: Client) -> list[pb.Drift]:
    request = pb.ReconcileRequest(name=ACME)
    return [each.drift async for each in client.operations.Reconcile(request) if each.HasField("drift")]


async def finding(client: Client, check: str) -> pb.Finding:
    diagnosis = await client.operations.Diagnose(pb.DiagnoseRequest())
    [found] = [each for each in diagnosis.findings if each.check == check]
    return found


async def test_a_dead_letter_is_told_is_no_drift_and_is_written_once(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(1_000_000))
    names = [await held(client, key, subject=POISON) for key in ("k1", "k2")]
    await stores.drained()
    await stores.execute(REFUSE)
    for name in names:
        await committed(client, name)
    first, second = await dead_letters(client, 2)
    assert (first.type, first.reservation, amount(first.charged)) == ("COMMIT", names[0], (4_500, 1_200, 1))
    assert first.tries == 5
    assert "CheckViolation" in first.error

    page = await letters(client, page_size=1)
    assert [each.name for each in page.dead_letters] == [first.name]
    page = await letters(client, page_size=1, page_token=page.next_page_token)
    assert [each.name for each in page.dead_letters] == [second.name]

    found = await finding(client, "organizations.dead_letters")
    assert (found.level, found.organization) == (pb.Finding.LEVEL_WARNING, ACME)
    assert not await drifts(client)

    assert await replayed(client, first.name) == ["REFUSED"]
    await stores.execute(TAKE)
    assert await replayed(client, first.name, second.name) == ["WRITTEN", "WRITTEN"]
    assert await replayed(client, first.name) == ["REFUSED"]
    assert not (await letters(client)).dead_letters
    assert await stores.balance("team") == (9_000, 0)
    assert await stands(client, "team") == (9_000, 0)
    assert not await drifts(client)
    assert (await finding(client, "organizations.dead_letters")).level == pb.Finding.LEVEL_OK


async def test_what_does_not_exist_is_not_found(client: Client) -> None:
    nobody = "organizations/nobody"
    listing = client.operations.ListDeadLetters(pb.ListDeadLettersRequest(parent=nobody))
    assert answer(await refusal(listing)) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
    replaying = client.operations.ReplayDeadLetters(
        pb.ReplayDeadLettersRequest(parent=nobody, names=[f"{nobody}/deadLetters/1"])
    )
    assert answer(await refusal(replaying)) == ("NOT_FOUND", "ORGANIZATION_NOT_FOUND")
    elsewhere = client.operations.ReplayDeadLetters(
        pb.ReplayDeadLettersRequest(parent=nobody, names=[f"{ACME}/deadLetters/1"])
    )
    assert answer(await refusal(elsewhere)) == ("INVALID_ARGUMENT", "NAME_MALFORMED")


async def test_keys_that_are_to_be_made_anew_are_told(client: Client, stores: Stores) -> None:
    await client.found_acme()
    await client.budget("team", limits=cost(1_000_000))
    await held(client, "k")
    assert (await finding(client, "organizations.epoch")).level == pb.Finding.LEVEL_OK
    await stores.execute("SELECT pg_advisory_lock(store_epoch_lock('acme'))")  # nobody makes them anew
    await stores.execute("UPDATE store_epochs SET broken = true")
    found = await finding(client, "organizations.epoch")
    assert (found.level, found.organization) == (pb.Finding.LEVEL_WARNING, ACME)
    await stores.execute("SELECT pg_advisory_unlock(store_epoch_lock('acme'))")
