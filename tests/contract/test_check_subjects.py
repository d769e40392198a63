"""Who spends behind Envoy: the order of trust, and what is never believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from quota.v1 import directory_pb2, types_pb2
from tests.support.callers import calling, written
from tests.support.envoy import (
    QUESTION,
    Envoy,
    check_request,
    error,
    reservation,
    secret_of,
    status,
    with_key,
)
from tests.support.service import ACME, Client, running_service

LIMITS = types_pb2.Amounts(cost_micros=10_000_000)
STORES = tuple[str, str, str]


@pytest.fixture
def stores(valkey_url: str, postgres_url: str, key_prefix: str) -> STORES:
    return valkey_url, postgres_url, key_prefix


async def founded(client: Client) -> str:
    """Acme with a budget; the secret of a key of Ada's."""
    await client.found_acme()
    await client.budget("all", limits=LIMITS)
    return await secret_of(client)


def gateway(folder: Path, text: str) -> str:
    file = folder / "gateway.yaml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize(
    ("header", "scheme"),
    [("authorization", "Bearer "), ("authorization", "bearer "), ("x-api-key", ""), ("x-goog-api-key", "")],
)
async def test_a_key_says_who_spends_in_each_header_that_an_sdk_puts_it(
    client: Client, header: str, scheme: str
) -> None:
    secret = await founded(client)
    answer = await Envoy(client).check(check_request(headers={header: f"{scheme}{secret}"}))
    held = await reservation(client, answer)
    assert (held.subject.organization, held.subject.team) == ("acme", "engineering")
    assert (held.subject.user, held.subject.api_key) == ("ada", "key-of-ada")
    assert header in answer.ok_response.headers_to_remove


async def test_who_shows_no_key_or_an_unknown_one_is_told_so(client: Client) -> None:
    await founded(client)
    envoy = Envoy(client)
    for headers, code in (
        ({}, "credentials_missing"),
        ({"authorization": "Bearer sk-their-own"}, "credentials_missing"),
        ({"authorization": f"Bearer qk_{'x' * 43}"}, "api_key_unknown"),
        ({"authorization": f"Bearer qk_{'x' * 10_000}"}, "api_key_unknown"),
        ({"x-api-key": "qk_"}, "api_key_unknown"),
    ):
        answer = await envoy.check(check_request(headers=headers))
        assert (status(answer), error(answer)["code"]) == (401, code), headers


async def test_keys_that_contradict_each_other_are_refused(client: Client) -> None:
    secret = await founded(client)
    other = await secret_of(client, "key-of-team", team="engineering")
    envoy = Envoy(client)
    bearer = f"Bearer {secret}"
    ambiguous = (
        {"headers": {"authorization": bearer, "x-api-key": other}},
        {"headers": {"authorization": f"{bearer},{bearer}"}},  # as Envoy joins two headers
        {"headers": {"authorization": f"{bearer}, Bearer {other}"}},
        {"headers": {"x-api-key": f"sk-mine,{secret}"}},
        {"several": [("x-api-key", secret), ("x-api-key", other)]},
    )
    for sent in ambiguous:
        answer = await envoy.check(check_request(**sent))
        assert (status(answer), error(answer)["code"]) == (401, "credentials_invalid"), sent
    same = await envoy.check(check_request(headers={"authorization": bearer, "x-api-key": secret}))
    assert status(same) == 200
    assert {"authorization", "x-api-key"} <= set(same.ok_response.headers_to_remove)


async def test_raw_headers_are_understood_as_well(client: Client) -> None:
    secret = await founded(client)
    request = check_request(
        several=[("authorization", f"Bearer {secret}"), ("accept", "*/*"), ("accept", "a/b")]
    )
    assert status(await Envoy(client).check(request)) == 200


async def test_revoked_keys_and_disabled_subjects_are_forbidden(client: Client) -> None:
    secret = await founded(client)
    envoy = Envoy(client)
    revoked = await secret_of(client, "key-revoked", user="ada")
    await client.directory.RevokeApiKey(directory_pb2.RevokeApiKeyRequest(name=f"{ACME}/apiKeys/key-revoked"))
    answer = await envoy.check(check_request(headers=with_key(revoked)))
    assert (status(answer), error(answer)["code"]) == (403, "api_key_revoked")
    user = directory_pb2.User(name=f"{ACME}/users/ada", disabled=True)
    await client.directory.UpdateUser(
        directory_pb2.UpdateUserRequest(user=user, update_mask=FieldMask(paths=["disabled"]))
    )
    answer = await envoy.check(check_request(headers=with_key(secret)))
    assert (status(answer), error(answer)["code"]) == (403, "subject_disabled")
    assert "ada" in error(answer)["message"]


async def test_what_a_caller_says_of_itself_is_not_believed(client: Client) -> None:
    secret = await founded(client)
    lies = {
        "x-quota-user": "bob",
        "x-quota-organization": "globex",
        "x-quota-phase": "response",
        "x-user": "bob",
    }
    answer = await Envoy(client).check(check_request(headers={**with_key(secret), **lies}))
    assert (await reservation(client, answer)).subject.user == "ada"
    idempotency = {"idempotency-key": "mine", "x-request-id": "mine"}
    names = {
        (
            await reservation(
                client, await Envoy(client).check(check_request(headers={**with_key(secret), **idempotency}))
            )
        ).name
        for _ in range(2)
    }
    assert len(names) == 2


async def test_sources_are_asked_in_the_order_of_trust(stores: STORES, tmp_path: Path) -> None:
    order = """
organization: acme
subjects:
- api_key
- jwt: {metadata: claims, user: sub, project: project}
- certificates: {"spiffe://acme/batch": {team: engineering}}
- headers: {user: x-user}
tags: {task: x-task}
"""
    async with running_service(*stores, envoy=gateway(tmp_path, order)) as client:
        secret = await founded(client)
        for name in ("bob", "carol", "dora"):
            await client.directory.CreateUser(
                directory_pb2.CreateUserRequest(
                    parent=ACME, user_id=name, user=directory_pb2.User(teams=["engineering"])
                )
            )
        envoy = Envoy(client)
        everything: dict[str, Any] = {
            "headers": {**with_key(secret), "x-user": "dora", "x-task": "nightly"},
            "claims": {"sub": "bob"},
            "principal": "spiffe://acme/batch",
        }

        async def said(**fields: Any) -> tuple[str, str]:
            answer = await envoy.check(check_request(**fields))
            assert status(answer) == 200, answer
            subject = (await reservation(client, answer)).subject
            assert subject.tags == ({"task": "nightly"} if "x-task" in fields["headers"] else {})
            return subject.user, subject.team

        assert await said(**everything) == ("ada", "engineering")
        del everything["headers"]["authorization"]
        assert await said(**everything) == ("bob", "engineering")
        assert await said(**{**everything, "claims": {"other": "x"}}) == ("", "engineering")
        assert await said(headers={"x-user": "dora"}) == ("dora", "engineering")
        assert await said(headers={"x-user": "dora"}, principal="spiffe://acme/unknown") == (
            "dora",
            "engineering",
        )
        nobody = await envoy.check(check_request(headers={"x-other": "dora"}))
        assert (status(nobody), error(nobody)["code"]) == (401, "credentials_missing")
        number = await envoy.check(check_request(headers={}, claims={"sub": 7}))
        assert (status(number), error(number)["code"]) == (401, "credentials_invalid")
        malformed = await envoy.check(check_request(headers={}, claims={"sub": "not an id"}))
        assert status(malformed) == 400
        twice = await envoy.check(check_request(several=[("x-user", "dora"), ("x-user", "bob")]))
        assert status(twice) == 401


async def test_sources_that_are_not_configured_say_nothing(client: Client) -> None:
    await founded(client)
    request = check_request(headers={"x-user": "ada"}, claims={"sub": "ada"}, principal="spiffe://acme/batch")
    assert status(await Envoy(client).check(request)) == 401


async def test_a_gateway_of_one_organization_lets_only_its_keys_spend(stores: STORES, tmp_path: Path) -> None:
    callers = written(tmp_path / "callers.yaml", {"operator": ("admin", "*"), "edge": ("gateway", "globex")})
    order = "subjects: [api_key, {headers: {organization: x-org, user: x-user}}]"
    async with running_service(*stores, callers=str(callers), envoy=gateway(tmp_path, order)) as client:
        async with calling(client.address, "operator-token") as operator:
            secret = await founded(operator)
        envoy = Envoy(client, "edge-token")
        answer = await envoy.check(check_request(headers=with_key(secret)))
        assert (status(answer), error(answer)["code"]) == (401, "api_key_unknown")
        answer = await envoy.check(check_request(headers={"x-org": "acme", "x-user": "ada"}))
        assert (status(answer), error(answer)["code"]) == (401, "credentials_invalid")


async def test_a_route_can_be_one_organizations(client: Client) -> None:
    secret = await founded(client)
    other = check_request(headers=with_key(secret), extensions={"organization": "globex"})
    assert status(await Envoy(client).check(other)) == 401
    own = check_request(headers=with_key(secret), extensions={"organization": "acme"})
    assert status(await Envoy(client).check(own)) == 200


async def test_a_gateway_that_may_not_ask_is_answered_with_a_denial(stores: STORES, tmp_path: Path) -> None:
    callers = written(tmp_path / "callers.yaml", {"operator": ("admin", "*"), "looker": ("viewer", "acme")})
    async with running_service(*stores, callers=str(callers)) as client:
        for token in ("", "unknown", "looker-token"):
            answer = await Envoy(client, token).check(check_request())
            assert (status(answer), error(answer)["code"]) == (503, "gateway_fault"), token


async def test_the_key_travels_on_where_it_is_to(stores: STORES, tmp_path: Path) -> None:
    async with running_service(*stores, envoy=gateway(tmp_path, "remove_key: false")) as client:
        secret = await founded(client)
        answer = await Envoy(client).check(check_request(QUESTION, headers=with_key(secret)))
        assert list(answer.ok_response.headers_to_remove) == ["accept-encoding"]


async def test_a_route_of_one_organization_binds_whatever_says_who_spends(
    stores: STORES, tmp_path: Path
) -> None:
    order = "subjects: [{jwt: {metadata: claims, organization: org, user: sub}}, api_key]"
    async with running_service(*stores, envoy=gateway(tmp_path, order)) as client:
        secret = await founded(client)
        claims = {"org": "acme", "sub": "ada"}
        other = check_request(claims=claims, extensions={"organization": "globex"})
        answer = await Envoy(client).check(other)
        assert (status(answer), error(answer)["code"]) == (401, "credentials_invalid")
        # A key that was not what said it does not travel on, either.
        both = await Envoy(client).check(check_request(claims=claims, headers={"x-api-key": secret}))
        assert status(both) == 200
        assert "x-api-key" in both.ok_response.headers_to_remove
