"""Who spends behind a real Envoy: what it has verified says it, what callers claim of themselves does not."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from quota.v1 import directory_pb2, report_pb2
from tests.support.envoy import GENERATE, MESSAGES, secret_of
from tests.support.gateway import Change, Gateway, with_tokens
from tests.support.libraries import CHAT, Question, refused
from tests.support.raw_http import ask, post
from tests.support.service import ACME, Client, running_service

Gateways = Callable[..., Awaitable[Gateway]]
Settled = Callable[..., Awaitable[list[report_pb2.LedgerEntry]]]
Behind = Callable[..., Awaitable[Gateway]]
ISSUER = "https://people.example"
BODY = json.dumps({"model": "gpt-4o", "max_tokens": 20, "messages": []}).encode()
GEMINI_BODY = b'{"contents":[{"parts":[{"text":"Why?"}]}]}'
MESSAGES_BODY = BODY.replace(b"gpt-4o", b"claude-haiku-4-5")
BOB = {"sub": "bob", "iss": ISSUER}


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    """The identity provider's."""
    return generate_private_key(65_537, 2_048)


@pytest.fixture(scope="module")
def tokens(key: RSAPrivateKey) -> Change:
    """Envoy knows the identity provider."""
    public = {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "alg": "RS256", "kid": "one"}
    return with_tokens(ISSUER, json.dumps({"keys": [public]}))


def token(key: RSAPrivateKey, **claims: Any) -> str:
    claims = {**BOB, "exp": int(time.time()) + 3_600, **claims}
    return jwt.encode(claims, key, "RS256", {"kid": "one"})


@pytest.fixture
async def behind(
    gateways: Gateways, valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path
) -> AsyncIterator[Behind]:
    """Starts an Envoy with these changes, before a service with this gateway file."""
    async with AsyncExitStack() as stack:

        async def start(text: str, *changes: Change) -> Gateway:
            file = tmp_path / "gateway.yaml"
            file.write_text(text)
            running = running_service(valkey_url, postgres_url, key_prefix, envoy=str(file))
            return await gateways(*changes, service=(await stack.enter_async_context(running)).address)

        yield start


@pytest.fixture
async def people(client: Client, secret: str) -> str:
    """Bob and Dora work with Ada, whose secret this is."""
    for name in ("bob", "dora"):
        user = directory_pb2.User(teams=["engineering"])
        await client.directory.CreateUser(
            directory_pb2.CreateUserRequest(parent=ACME, user_id=name, user=user)
        )
    return secret


async def status(envoy: Gateway, *headers: tuple[str, str]) -> tuple[int, str]:
    """Of a chat completion with those headers: the status, and the error's code."""
    answer = await ask(envoy.address, post(CHAT.path, BODY, *headers))
    return answer.status, answer.json.get("error", {}).get("code", "")


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "x-goog-api-key"])
async def test_a_key_counts_in_each_header_and_stays_here(
    envoy: Gateway, secret: str, settled: Settled, header: str
) -> None:
    shown = (header, f"Bearer {secret}" if header == "authorization" else secret)
    for path, body in ((CHAT.path, BODY), (MESSAGES, MESSAGES_BODY), (GENERATE, GEMINI_BODY)):
        assert (await ask(envoy.address, post(path, body, shown))).status == 200
    found = await settled(3)
    assert [(each.subject.user, each.subject.api_key) for each in found] == [("ada", "key-gateway")] * 3
    assert len(envoy.upstream) == 3
    assert "qk_" not in str(envoy.upstream)


async def test_a_call_with_two_keys_is_nobody_s(client: Client, envoy: Gateway, secret: str) -> None:
    other = await secret_of(client, "key-of-team", team="engineering")
    bearer = ("authorization", f"Bearer {secret}")
    for headers in (
        [bearer, ("authorization", f"Bearer {other}")],
        [("authorization", "Bearer sk-their-own"), bearer],
        [bearer, bearer],
        [bearer, ("x-api-key", other)],
        [("x-api-key", secret), ("x-api-key", other)],
    ):
        assert await status(envoy, *headers) == (401, "credentials_invalid"), headers
    assert envoy.upstream == []
    assert await status(envoy, bearer, ("x-api-key", secret)) == (200, "")


async def test_what_callers_say_with_the_gateway_s_own_headers_is_not_believed(
    envoy: Gateway, people: str, settled: Settled
) -> None:
    lies = [
        ("x-quota-user", "bob"),
        ("x-quota-organization", "globex"),
        ("x-quota-phase", "response"),
        ("x-quota-rewrite", "true"),
        ("x-user", "bob"),
        ("x-envoy-auth-partial-body", "true"),
        ("x-envoy-original-path", "/v1/models"),
        ("x-envoy-upstream-alt-stat-name", "x"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-internal", "true"),
        ("x-forwarded-client-cert", "URI=spiffe://acme/batch"),
    ]
    assert await status(envoy, *lies) == (401, "credentials_missing")
    assert envoy.upstream == []
    assert await status(envoy, ("authorization", f"Bearer {people}"), *lies) == (200, "")
    [entry] = await settled()
    assert (entry.subject.organization, entry.subject.user) == ("acme", "ada")
    [arrived] = envoy.upstream
    assert not [name for name, _ in arrived.headers if name.startswith("x-envoy-")]


async def test_a_token_that_envoy_has_verified_says_who_spends(
    behind: Behind, people: str, settled: Settled, key: RSAPrivateKey, tokens: Change
) -> None:
    envoy = await behind(
        "organization: acme\nsubjects: [api_key, {jwt: {metadata: claims, user: sub}}]", tokens
    )
    assert await CHAT.ask(envoy.url, token(key), Question())
    assert [entry.subject.user for entry in await settled()] == ["bob"]
    assert await CHAT.ask(envoy.url, people, Question())  # as well as ever
    assert [entry.subject.user for entry in await settled(2)] == ["bob", "ada"]
    assert token(key)[:20] not in str(envoy.upstream)


async def test_a_token_that_is_not_the_identity_provider_s_says_nothing(
    behind: Behind, people: str, key: RSAPrivateKey, tokens: Change
) -> None:
    envoy = await behind(
        "organization: acme\nsubjects: [api_key, {jwt: {metadata: claims, user: sub}}]", tokens
    )
    head, _, signature = token(key).split(".")
    _, claims, _ = token(key, sub="dora").split(".")
    forged = {
        "other claims": f"{head}.{claims}.{signature}",
        "another key": token(generate_private_key(65_537, 2_048)),
        "unsigned": jwt.encode(BOB, "", "none"),
        "symmetric": jwt.encode(BOB, "x" * 32, "HS256", {"kid": "one"}),
        "over": token(key, exp=1),
        "another issuer": token(key, iss="https://elsewhere.example"),
        "cut": token(key)[:-10],
    }
    for name, shown in forged.items():
        refusal = await refused(CHAT, envoy.url, shown, Question())
        assert (refusal.status, name) == (401, name)
        assert shown not in str(refusal)
    assert await status(envoy, ("x-api-key", token(key))) == (401, "credentials_missing")
    assert envoy.upstream == []
    assert await CHAT.ask(envoy.url, token(key), Question())


@pytest.mark.parametrize(
    ("order", "who"),
    [
        ("[api_key, {jwt: {metadata: claims, user: sub}}, {headers: {user: x-user}}]", "ada bob dora"),
        ("[{headers: {user: x-user}}, api_key, {jwt: {metadata: claims, user: sub}}]", "dora dora dora"),
        ("[{jwt: {metadata: claims, user: sub}}, {headers: {user: x-user}}]", "dora bob dora"),
    ],
)
async def test_sources_are_asked_in_the_order_of_the_gateway_s_file(
    behind: Behind, people: str, settled: Settled, key: RSAPrivateKey, tokens: Change, order: str, who: str
) -> None:
    envoy = await behind(f"organization: acme\nsubjects: {order}\ntags: {{task: x-task}}", tokens)
    header = [("x-user", "dora"), ("x-task", "nightly")]
    found: list[report_pb2.LedgerEntry] = []
    for count, bearer in enumerate((people, token(key), ""), 1):
        shown = [("authorization", f"Bearer {bearer}")] if bearer else []
        assert await status(envoy, *header, *shown) == (200, "")
        found = await settled(count)
    assert [entry.subject.user for entry in found] == who.split()
    assert [dict(entry.subject.tags) for entry in found] == [{"task": "nightly"}] * 3
    both = await status(envoy, ("x-user", "bob"), ("x-user", "dora"))  # Envoy joins them: that is no id
    assert both == (400, "invalid_request")
