"""Callers by JSON Web Tokens: what an issuer has signed for this service, for as long as it says."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from quota.v1 import directory_pb2 as pb
from quota_service.edge.access.callers import token_hash
from tests.support.callers import calling
from tests.support.refusals import answer, refusal
from tests.support.service import running_service

ISSUER = "https://login.acme.example"
INVALID = ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
LIST = pb.ListTeamsRequest(parent="organizations/acme")
RSA_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

CALLERS = """\
issuers:
  - {{issuer: "{issuer}", audience: quota, jwks: "{jwks}", algorithms: [RS256, ES256]}}
callers:
  ada: {{role: admin, organization: acme, jwt: {{issuer: "{issuer}", claims: {{sub: ada}}}}}}
  finance: {{role: finance, organization: acme, jwt: {{issuer: "{issuer}", claims: {{groups: finance}}}}}}
  leads:
    {{role: team_lead, organization: acme, user_claim: email,
     jwt: {{issuer: "{issuer}", claims: {{groups: leads}}}}}}
"""


class World(NamedTuple):
    """A server that takes tokens of one issuer, and the file of that issuer's keys."""

    address: str
    jwks: Path


def jwks(*keys: tuple[str, Any]) -> str:
    """The public keys by their ids."""
    found = []
    for id_, key in keys:
        algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
        found.append(json.loads(algorithm.to_jwk(key.public_key())) | {"kid": id_, "use": "sig"})
    return json.dumps({"keys": found})


def token(key: Any = RSA_KEY, kid: str | None = "r", algorithm: str = "RS256", **claims: Any) -> str:
    said = {"iss": ISSUER, "aud": "quota", "sub": "ada", "exp": int(time.time()) + 600} | claims
    headers = {"kid": kid} if kid is not None else {}
    return jwt.encode(
        {name: value for name, value in said.items() if value is not None}, key, algorithm, headers
    )


def forged(header: dict[str, Any], signature: bytes = b"") -> str:
    """A token with any header, as nobody's library would make it."""
    said = {"iss": ISSUER, "aud": "quota", "sub": "ada", "exp": int(time.time()) + 600}
    parts = [json.dumps(header).encode(), json.dumps(said).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.fixture
async def world(valkey_url: str, postgres_url: str, key_prefix: str, tmp_path: Path) -> AsyncIterator[World]:
    keys, callers = tmp_path / "jwks.json", tmp_path / "callers.yaml"
    keys.write_text(jwks(("r", RSA_KEY), ("e", EC_KEY)))
    operator = '  ops: {role: admin, organization: "*", token_sha256: %s}\n'
    callers.write_text(CALLERS.format(issuer=ISSUER, jwks=keys) + operator % token_hash("ops-token"))
    async with running_service(valkey_url, postgres_url, key_prefix, callers=str(callers)) as client:
        async with calling(client.address, "ops-token") as operating:
            await operating.directory.CreateOrganization(
                pb.CreateOrganizationRequest(organization_id="acme", organization=pb.Organization())
            )
        yield World(client.address, keys)


async def accepted(world: World, sent: str) -> bool:
    """Whether a call with it is answered. What is refused is refused without saying why."""
    async with calling(world.address, sent) as caller:
        call = caller.directory.ListTeams(LIST)
        if await call.code() is grpc.StatusCode.OK:
            return True
        error = await refusal(call)
        assert answer(error) == INVALID
        assert error.details() == "The credential is not known, or not any more."
        return False


async def test_a_token_of_the_issuer_says_who_calls_and_with_which_role(world: World) -> None:
    for good in (token(), token(EC_KEY, "e", "ES256"), token(aud=["other", "quota"])):
        assert await accepted(world, good)
    create = pb.CreateTeamRequest(parent="organizations/acme", team_id="t", team=pb.Team())
    async with calling(world.address, token(sub="bob", groups=["sales", "finance"])) as finance:
        await finance.directory.ListTeams(LIST)
        error = await refusal(finance.directory.CreateTeam(create))
        assert answer(error) == ("PERMISSION_DENIED", "METHOD_NOT_ALLOWED")
    async with calling(world.address, token()) as admin:
        await admin.directory.CreateTeam(create)


async def test_whoever_leads_teams_is_known_by_one_line_for_all_who_do(world: World) -> None:
    async with calling(world.address, "ops-token") as operator:
        for team in ("core", "sales"):
            email = f"{team}@acme.example"
            user = pb.User(name=f"organizations/acme/users/{email}")
            await operator.directory.UpdateUser(pb.UpdateUserRequest(user=user, allow_missing=True))
            led = pb.Team(name=f"organizations/acme/teams/{team}", leads=[email])
            await operator.directory.UpdateTeam(pb.UpdateTeamRequest(team=led, allow_missing=True))
    for team in ("core", "sales"):
        sent = token(sub="x", groups=["all", "leads"], email=f"{team}@acme.example")
        async with calling(world.address, sent) as lead:
            listed = await lead.directory.ListTeams(LIST)
            assert [each.name for each in listed.teams] == [f"organizations/acme/teams/{team}"]
    assert not await accepted(world, token(sub="x", groups="leads"))


async def test_a_token_that_says_something_else_is_refused(world: World) -> None:
    now_s = int(time.time())
    good = {"iss": ISSUER, "aud": "quota", "sub": "ada", "exp": now_s + 600}
    wrong: tuple[dict[str, Any], ...] = (
        {"exp": now_s - 60},
        {"exp": None},
        {"exp": "soon"},
        {"nbf": now_s + 3_600},
        {"iat": now_s + 3_600},
        {"aud": "another"},
        {"aud": None},
        {"iss": "https://login.other.example"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"sub": "nobody"},
        {"sub": None, "groups": "finances"},
        {"sub": ["ada"], "groups": {"finance": True}},
    )
    for claims in ({}, *wrong):
        said = {name: value for name, value in (good | claims).items() if value is not None}
        # Not by the library's encode, which refuses to make some of them.
        sent = jwt.api_jws.encode(json.dumps(said).encode(), RSA_KEY, "RS256", {"kid": "r"})
        assert await accepted(world, sent) is not bool(claims), claims


async def test_signatures_of_others_and_of_nobody_are_refused(world: World) -> None:
    public = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    confused = forged({"alg": "HS256", "typ": "JWT", "kid": "r"}).rsplit(".", 1)[0]
    mac = hmac.new(public, confused.encode(), hashlib.sha256).digest()
    for sent in (
        token(STRANGER),
        token(STRANGER, kid="unknown"),
        token(kid=None),
        token(kid="e"),
        token(algorithm="RS512"),
        token(algorithm="PS256"),
        forged({"alg": "none", "typ": "JWT"}),
        forged({"alg": "none", "kid": "r"}),
        forged({"alg": "HS256", "kid": "r"}, mac),
        confused + "." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode(),
        forged({"alg": "RS256", "kid": ["r"]}),
        forged({"alg": "RS256", "kid": "r", "jwk": json.loads(jwks(("x", STRANGER)))["keys"][0]}),
        token()[:-2] + "AA",
        "a.b.c",
        "..",
        ("[" * 9_000) + "." + ("[" * 10) + ".x",
    ):
        assert not await accepted(world, sent), sent[:80]


async def test_a_new_key_is_learnt_and_one_that_was_taken_back_is_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.edge.access.tokens.FETCH_EVERY_S", 0.1)
    monkeypatch.setattr("quota_service.edge.access.control.LOOK_AGAIN_S", 0.1)
    assert await accepted(world, token())
    world.jwks.write_text(jwks(("new", STRANGER)))
    sent = token(STRANGER, kid="new")
    async with asyncio.timeout(5):
        while not await accepted(world, sent):  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.1)
    await asyncio.sleep(0.2)  # whoever was admitted a moment ago is looked at again after a while
    assert not await accepted(world, token())
    world.jwks.write_text("{}")  # cannot be used: what is known stays
    await asyncio.sleep(0.3)
    assert await accepted(world, sent)
    await asyncio.sleep(0.3)
    assert await accepted(world, sent)


async def test_a_token_s_time_ends_also_while_it_is_remembered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quota_service.edge.access.tokens.LEEWAY_S", 0)
    sent = token(exp=int(time.time()) + 2)
    assert await accepted(world, sent)
    await asyncio.sleep(2.1)
    assert not await accepted(world, sent)
