"""API keys: a secret is shown once, says whose it is on every server, and ends when it is to end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import directory_pb2 as pb
from quota.v1 import types_pb2
from tests.support.calls import authorized, committed, cost, denied, held, reasons, released
from tests.support.refusals import answer, fields, refusal
from tests.support.service import ACME, PEPPER, Client, authorize_request, running_service

LAPTOP = f"{ACME}/apiKeys/laptop"
UNKNOWN = ("NOT_FOUND", "API_KEY_UNKNOWN")
REVOKED = ("FAILED_PRECONDITION", "API_KEY_REVOKED")


def at(seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromNanoseconds(int((time.time() + seconds) * 1e9))
    return moment


async def create(client: Client, id_: str = "laptop", request_id: str = "", **fields: Any) -> pb.ApiKey:
    key = pb.ApiKey(**(fields or {"user": "ada"}))
    return await client.directory.CreateApiKey(
        pb.CreateApiKeyRequest(parent=ACME, api_key_id=id_, api_key=key, request_id=request_id)
    )


async def rotate(
    client: Client, grace_s: float | None = None, request_id: str = "", name: str = LAPTOP
) -> pb.ApiKey:
    request = pb.RotateApiKeyRequest(name=name, request_id=request_id)
    if grace_s is not None:
        request.grace.CopyFrom(Duration(nanos=int(grace_s * 1e9)))
    return await client.directory.RotateApiKey(request)


async def revoke(client: Client, name: str = LAPTOP) -> pb.ApiKey:
    return await client.directory.RevokeApiKey(pb.RevokeApiKeyRequest(name=name))


async def resolve(client: Client, secret: str) -> pb.ResolveApiKeyResponse:
    return await client.directory.ResolveApiKey(pb.ResolveApiKeyRequest(secret=secret))


async def refused(client: Client, secret: str) -> tuple[str, str]:
    return answer(await refusal(resolve(client, secret)))


def subject() -> types_pb2.Subject:
    return types_pb2.Subject(organization="acme", api_key="laptop")


@pytest.fixture
async def acme(client: Client) -> Client:
    await client.found_acme()
    await client.budget("engineering", limits=cost(1_000_000))
    return client


async def test_a_secret_is_shown_once_and_is_never_in_the_database(acme: Client, postgres_url: str) -> None:
    made = await create(acme)
    assert made.secret.startswith("qk_")
    assert len(made.secret) == 46
    assert [each.start for each in made.secrets] == [made.secret[:11]]
    read = await acme.directory.GetApiKey(pb.GetApiKeyRequest(name=LAPTOP))
    listed = await acme.directory.ListApiKeys(pb.ListApiKeysRequest(parent=ACME))
    updated = await acme.directory.UpdateApiKey(
        pb.UpdateApiKeyRequest(api_key=pb.ApiKey(name=LAPTOP, display_name="Laptop"))
    )
    for key in (read, updated, *listed.api_keys):
        assert key.secret == ""
    assert updated.secrets == made.secrets
    database = await asyncpg.connect(postgres_url)
    documents = await database.fetch("SELECT document::text FROM resources WHERE kind = 'api_key'")
    await database.close()
    [kept] = [row["document"] for row in documents if made.secret[:11] in row["document"]]
    assert made.secret[11:] not in kept


async def test_every_key_has_a_secret_of_its_own(acme: Client) -> None:
    made = [await create(acme, f"key-{number}", user="ada") for number in range(20)]
    assert len({each.secret for each in made}) == 20
    assert all(each.secret[3:].isalnum() for each in made)


async def test_a_secret_says_who_spends_on_every_server(acme: Client, other: Client) -> None:
    made = await create(acme)
    for server in (other, acme):
        found = await resolve(server, made.secret)
        assert found.name == LAPTOP
        assert not found.HasField("expire_time")
        assert (found.subject.organization, found.subject.api_key) == ("acme", "laptop")
        assert (found.subject.user, found.subject.team) == ("ada", "engineering")
        await held(server, found.name, subject=found.subject)


async def test_a_repeated_creation_returns_the_key_without_its_secret(acme: Client) -> None:
    first = await create(acme, request_id="r1", user="ada")
    again = await create(acme, request_id="r1", user="ada")
    assert again.secret == ""
    assert again.secrets == first.secrets
    assert (await resolve(acme, first.secret)).name == LAPTOP
    other_content = await refusal(create(acme, request_id="r1", user="ada", display_name="x"))
    assert answer(other_content) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")


async def test_a_secret_with_one_character_changed_is_unknown(acme: Client) -> None:
    secret = (await create(acme)).secret
    for position in range(3, len(secret)):
        changed = "a" if secret[position] != "a" else "b"
        assert await refused(acme, secret[:position] + changed + secret[position + 1 :]) == UNKNOWN


async def test_what_is_no_secret_is_unknown_and_not_repeated(acme: Client) -> None:
    for secret in ("sk-123", "qk_", "qk_" + "é" * 43, "qk_" + "a" * 44, "qk_" + "a" * 43, "\0"):
        error = await refusal(resolve(acme, secret))
        assert answer(error) == UNKNOWN
        assert secret not in (error.details() or "")


async def test_a_secret_that_is_sent_as_something_else_is_refused_and_written_nowhere(
    acme: Client, postgres_url: str
) -> None:
    secret = (await create(acme)).secret
    for fields_ in (
        {"subject": types_pb2.Subject(organization="acme", api_key=secret)},
        {"subject": types_pb2.Subject(organization="acme", user="ada", tags={"key": f"Bearer {secret}"})},
        {"model": secret},
    ):
        call = acme.quota.Authorize(
            authorize_request("k", **fields_), metadata=(("x-request-id", f"r-{secret}"),)
        )
        error = await refusal(call)
        assert answer(error) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert secret not in f"{error.details()}{error.trailing_metadata()}{await call.initial_metadata()}"
    error = await refusal(acme.quota.Authorize(authorize_request(secret)))
    assert secret not in f"{error.details()}{error.trailing_metadata()}"
    await acme.quota.Authorize(authorize_request("k"))  # so that something is written
    database = await asyncpg.connect(postgres_url)
    tables = await database.fetch(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    )
    for table in tables:
        rows = await database.fetch(f'SELECT t::text AS row FROM "{table["relname"]}" t')
        assert not [row for row in rows if secret in row["row"]], table["relname"]
    await database.close()


async def test_a_secret_that_is_empty_or_too_long_is_refused_by_its_field(acme: Client) -> None:
    for secret in ("", "x" * 513):
        error = await refusal(resolve(acme, secret))
        assert list(fields(error)) == ["secret"]
        assert "xxx" not in (error.details() or "")


async def test_both_secrets_are_good_during_the_grace_time_and_then_the_new_one_alone(
    acme: Client, other: Client
) -> None:
    first = await create(acme)
    second = await rotate(acme, grace_s=0.8)
    assert second.secret not in ("", first.secret)
    for server in (acme, other):
        assert (await resolve(server, second.secret)).name == LAPTOP
    assert (await resolve(other, first.secret)).HasField("expire_time")
    await asyncio.sleep(1)
    for server in (acme, other):
        assert await refused(server, first.secret) == REVOKED
        assert (await resolve(server, second.secret)).name == LAPTOP


async def test_a_rotation_ends_at_once_what_an_earlier_one_has_left_on_every_server(
    acme: Client, other: Client
) -> None:
    secrets = [(await create(acme)).secret]
    for server in (acme, other):
        assert (await resolve(server, secrets[0])).name == LAPTOP
    secrets += [(await rotate(acme)).secret, (await rotate(acme)).secret]
    for server in (acme, other):
        assert await refused(server, secrets[0]) == UNKNOWN
        assert (await resolve(server, secrets[1])).HasField("expire_time")
        assert (await resolve(server, secrets[2])).name == LAPTOP


async def test_without_a_grace_time_the_secret_before_ends_at_once(acme: Client, other: Client) -> None:
    first = await create(acme)
    await resolve(other, first.secret)
    second = await rotate(acme, grace_s=0)
    assert await refused(other, first.secret) == UNKNOWN
    assert (await resolve(other, second.secret)).name == LAPTOP


async def test_a_repeated_rotation_changes_nothing_and_shows_no_secret(acme: Client) -> None:
    await create(acme)
    rotated = await rotate(acme, request_id="r1")
    again = await rotate(acme, request_id="r1")
    assert again.secret == ""
    assert again.secrets == rotated.secrets
    conflict = await refusal(rotate(acme, grace_s=0.5, request_id="r1"))
    assert answer(conflict) == ("ALREADY_EXISTS", "IDEMPOTENCY_CONFLICT")


async def test_a_key_that_was_only_an_id_gets_its_first_secret_by_rotation(acme: Client) -> None:
    made = await rotate(acme, name=f"{ACME}/apiKeys/key-ada")
    assert len(made.secrets) == 1
    assert (await resolve(acme, made.secret)).subject.api_key == "key-ada"


async def test_a_revoked_key_is_refused_on_every_server_when_the_call_has_returned(
    acme: Client, other: Client
) -> None:
    secret = (await create(acme)).secret
    name = await held(other, "a", subject=subject())
    kept = await held(other, "b", subject=subject())
    assert (await resolve(other, secret)).name == LAPTOP
    revoked = await revoke(acme)
    assert revoked.HasField("revoke_time")
    for number, server in enumerate((acme, other)):
        assert await refused(server, secret) == REVOKED
        answered = await denied(server, f"c{number}", subject=subject())
        assert reasons(answered) == ["API_KEY_REVOKED"]
        assert "laptop" in answered.message
    assert (await committed(other, name)).charged.cost_micros == 4_500
    await released(other, kept)


async def test_nothing_makes_a_revoked_key_good_again(acme: Client) -> None:
    secret = (await create(acme)).secret
    revoked = await revoke(acme)
    assert await revoke(acme) == revoked
    assert answer(await refusal(rotate(acme))) == REVOKED
    key = pb.ApiKey(name=LAPTOP, user="ada", display_name="x")
    await acme.directory.UpdateApiKey(
        pb.UpdateApiKeyRequest(api_key=key, update_mask=FieldMask(paths=["*"]), allow_missing=True)
    )
    assert await refused(acme, secret) == REVOKED
    assert reasons(await denied(acme, "a", subject=subject())) == ["API_KEY_REVOKED"]


async def test_a_key_is_good_until_its_end_to_the_moment_and_may_be_given_more_time(
    acme: Client, other: Client
) -> None:
    secret = (await create(acme, user="ada", expire_time=at(1.2))).secret
    assert (await resolve(other, secret)).HasField("expire_time")
    await authorized(other, "a", subject=subject())
    await asyncio.sleep(1.4)
    for number, server in enumerate((acme, other)):
        assert await refused(server, secret) == REVOKED
        answered = await denied(server, f"b{number}", subject=subject())
        assert reasons(answered) == ["API_KEY_REVOKED"]
        assert "was over on" in answered.message
    key = pb.ApiKey(name=LAPTOP, expire_time=at(3_600))
    await acme.directory.UpdateApiKey(pb.UpdateApiKeyRequest(api_key=key))
    await authorized(other, "c", subject=subject())
    assert (await resolve(other, secret)).name == LAPTOP


async def test_a_frozen_key_still_says_whose_it_is_and_a_deleted_one_does_not(
    acme: Client, other: Client
) -> None:
    secret = (await create(acme)).secret
    await acme.directory.UpdateApiKey(pb.UpdateApiKeyRequest(api_key=pb.ApiKey(name=LAPTOP, disabled=True)))
    found = await resolve(other, secret)
    assert reasons(await denied(other, "a", subject=found.subject)) == ["SUBJECT_DISABLED"]
    await acme.directory.DeleteApiKey(pb.DeleteApiKeyRequest(name=LAPTOP))
    for server in (acme, other):
        assert await refused(server, secret) == UNKNOWN


@pytest.mark.parametrize("method", ["RotateApiKey", "RevokeApiKey"])
async def test_a_key_that_does_not_exist_is_not_found(acme: Client, method: str) -> None:
    call = getattr(acme.directory, method)
    for name in (f"{ACME}/apiKeys/nobody", "organizations/nobody/apiKeys/key-ada"):
        error = await refusal(call(getattr(pb, f"{method}Request")(name=name)))
        assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_a_grace_time_out_of_range_is_refused_and_rotates_nothing(acme: Client) -> None:
    first = await create(acme)
    for grace in (Duration(seconds=-1), Duration(seconds=90 * 86_400 + 1)):
        error = await refusal(acme.directory.RotateApiKey(pb.RotateApiKeyRequest(name=LAPTOP, grace=grace)))
        assert list(fields(error)) == ["grace"]
    assert (await acme.directory.GetApiKey(pb.GetApiKeyRequest(name=LAPTOP))).secrets == first.secrets


async def test_secrets_outlive_a_change_of_the_pepper_while_the_one_before_is_still_given(
    acme: Client, valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    secret = (await create(acme)).secret
    newer, stores = "another pepper that is just as long as that", (valkey_url, postgres_url, key_prefix)
    async with running_service(*stores, key_pepper=f"{newer},{PEPPER}") as server:
        assert (await resolve(server, secret)).name == LAPTOP
        fresh = (await create(server, "desktop")).secret
    async with running_service(*stores, key_pepper=newer) as server:
        assert await refused(server, secret) == UNKNOWN
        assert (await resolve(server, fresh)).subject.api_key == "desktop"


async def test_without_a_pepper_no_secret_is_made_and_nothing_is_changed(
    acme: Client, valkey_url: str, postgres_url: str, key_prefix: str
) -> None:
    async with running_service(valkey_url, postgres_url, key_prefix, key_pepper="") as server:
        for call in (create(server), rotate(server, name=f"{ACME}/apiKeys/key-ada")):
            assert answer(await refusal(call)) == ("FAILED_PRECONDITION", "PEPPER_MISSING")
        found = await server.directory.ListApiKeys(pb.ListApiKeysRequest(parent=ACME))
        assert [(each.name, len(each.secrets)) for each in found.api_keys] == [(f"{ACME}/apiKeys/key-ada", 0)]
