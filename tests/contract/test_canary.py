"""No secret is in a log, an error, the ledger or a store, wherever a caller has put it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.descriptor import MethodDescriptor
from jwt.algorithms import ECAlgorithm

from quota.v1 import directory_pb2
from quota_service.cli.token import entry, new_token
from quota_service.embedded.ports import free_port
from tests.contract.test_callers import ALL
from tests.support import canary
from tests.support.callers import BUDGET, about, calling, stub_of
from tests.support.process import ServeProcess, serving
from tests.support.service import ACME, PEPPER, Client, authorize_request
from tests.support.stores import Stores

Header = Callable[[str], tuple[str, str | bytes]]
RESOLVE = "quota.v1.DirectoryService/ResolveApiKey"
AUTHORIZE, COMMIT = (ALL[f"quota.v1.QuotaService/{name}"] for name in ("Authorize", "Commit"))
WATCH = ALL["quota.v1.BudgetService/WatchBudgetStatus"]
CREATE = ALL["quota.v1.DirectoryService/CreateProject"]
KEY = ec.generate_private_key(ec.SECP256R1())


def _under(name: str) -> Header:
    return lambda secret: (name, secret)


HEADERS: dict[str, Header] = {
    name: _under(name)
    for name in ("x-request-id", "x-api-key", "cookie", "user-agent", "traceparent", "baggage", "x-any")
} | {
    "a second credential": lambda secret: ("authorization", f"Bearer {secret}"),
    "a part of a request id": lambda secret: ("x-request-id", f"id-{secret}"),
    "bytes": lambda secret: ("x-any-bin", secret.encode()),
    "a header's name": lambda secret: (f"x-{secret.lower()}", "x"),
}


def named(name: str) -> list[tuple[str, str]]:
    """Options of a channel: the server and the client have that name."""
    return [("grpc.default_authority", name), ("grpc.primary_user_agent", name)]


class World:
    """A server process that tells as much as it can, and all that it has told."""

    def __init__(self, process: ServeProcess, operator: Client, stores: Stores) -> None:
        self.operator = operator
        self._process = process
        self._stores = stores
        self._answered: list[bytes] = []

    async def sent(self, method: MethodDescriptor, request: Any, **more: Any) -> grpc.StatusCode:
        """Makes a call, and keeps what is said beside its answer."""
        call = stub_of(self.operator, method)(request, timeout=20, **more)
        return await self.ended(call, streams=method.server_streaming)

    async def ended(self, call: Any, *, streams: bool = False) -> grpc.StatusCode:
        code, said = grpc.StatusCode.OK, ""
        try:
            await (call.read() if streams else call)
            call.cancel()  # a stream would go on
        except grpc.aio.AioRpcError as error:
            code, said = error.code(), error.details() or ""
        said += f"{await call.initial_metadata()}{await call.trailing_metadata()}"
        self._answered.append(said.encode())
        return code

    async def places(self, needles: Iterable[str]) -> dict[str, set[str]]:
        """Where something is, by what was looked for, once all that is under way has been written."""
        await self._stores.drained()
        assert self._process.stop() == 0
        everything = [("an answer", told) for told in self._answered]
        everything += [("a log", line.encode()) for line in self._process.output.splitlines()]
        everything += [stored async for stored in self._stores.everything()]
        found = defaultdict(set)
        for needle in needles:
            for place, content in everything:
                if needle.encode() in content:
                    found[needle].add(place)
        return found


@pytest.fixture
async def world(
    valkey_url: str, postgres_url: str, key_prefix: str, stores: Stores, tmp_path: Path
) -> AsyncIterator[World]:
    token, hashed = new_token()
    keys, callers = tmp_path / "jwks.json", tmp_path / "callers.yaml"
    keys.write_text(json.dumps({"keys": [json.loads(ECAlgorithm.to_jwk(KEY.public_key())) | {"kid": "k"}]}))
    issuer = f'{{issuer: "{canary.ISSUER}", audience: quota, jwks: "{keys}", algorithms: [ES256]}}'
    callers.write_text(f"issuers: [{issuer}]\ncallers:\n{entry('operator', 'admin', '*', hashed)}\n")
    address = f"127.0.0.1:{free_port()}"
    settings = {
        "VALKEY_URL": valkey_url,
        "POSTGRES_URL": postgres_url,
        "KEY_PREFIX": f"{key_prefix}/",
        "KEY_PEPPER": PEPPER,
        "CALLERS": str(callers),
        "CALLS_BEHIND_MAX": "1000",
        "LOG_CALLS": "true",
        "LOG_LEVEL": "debug",
    }
    environment = {f"QUOTA_{name}": value for name, value in settings.items()}
    with serving("--address", address, **environment) as process:
        await asyncio.to_thread(process.wait_for, "is ready on")
        async with calling(address, token) as operator:
            await operator.found_acme()
            await operator.budget("acme-1", limits=BUDGET.limits)
            world = World(process, operator, stores)
            yield world
        passwords = [urlsplit(url).password or "" for url in (valkey_url, postgres_url)]
        assert not await world.places((token, PEPPER, *passwords))


async def in_every_field(world: World) -> dict[str, str]:
    """Sends one in each field of each method, and says where by what is to be looked for."""
    labels, kinds = {}, itertools.cycle(canary.KINDS.items())
    for name, method in ALL.items():
        for path in canary.paths(method.input_type):
            kind, made = next(kinds)
            label = f"{kind} as {'.'.join(path)} of {name}"
            labels[canary.needle(label)] = label
            code = await world.sent(method, canary.put(about(method, "acme"), path, made(label)))
            assert code is grpc.StatusCode.INVALID_ARGUMENT or name == RESOLVE, label
    assert len(labels) > 300
    return labels


async def in_every_header(world: World) -> dict[str, str]:
    """The same for headers."""
    labels = {}
    for kind, made in canary.KINDS.items():
        for name, header in HEADERS.items():
            for method in (AUTHORIZE, COMMIT, WATCH):
                label = f"{kind} as {name} of {method.name}"
                labels[canary.needle(label)] = label
                await world.sent(method, about(method, "acme"), metadata=(header(made(label)),))
        label = f"{kind} as x-reason of a change"
        labels[canary.needle(label)] = label
        request = directory_pb2.CreateProjectRequest(
            parent=ACME, project_id=f"p{len(labels)}", project=directory_pb2.Project()
        )
        assert await world.sent(CREATE, request, metadata=(("x-reason", made(label)),)) is grpc.StatusCode.OK
        for scheme in ("Bearer ", "bearer ", "Basic ", ""):
            label = f"{kind} behind “{scheme}”, and as method and host"
            labels[canary.needle(label)] = label
            async with grpc.aio.insecure_channel(world.operator.address, named(made(label))) as channel:
                for path in (f"{AUTHORIZE.containing_service.full_name}/{AUTHORIZE.name}", made(label)):
                    call: Any = channel.unary_unary(f"/{path}")
                    code = await world.ended(call(b"", metadata=(("authorization", scheme + made(label)),)))
                    assert code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED), label
    return labels


async def test_a_secret_is_nowhere_whatever_field_or_header_it_was_sent_in(world: World) -> None:
    labels = await in_every_field(world) | await in_every_header(world)
    found = await world.places(labels)
    assert not {labels[needle]: places for needle, places in found.items()}


async def test_of_a_key_s_own_secrets_nothing_but_their_start_is_anywhere(world: World) -> None:
    directory, name = world.operator.directory, f"{ACME}/apiKeys/key-ada"
    rotate = directory_pb2.RotateApiKeyRequest(name=name)
    secrets = [(await directory.RotateApiKey(rotate)).secret for _ in range(2)]
    for secret in secrets:
        await directory.ResolveApiKey(directory_pb2.ResolveApiKeyRequest(secret=secret))
    await directory.RevokeApiKey(directory_pb2.RevokeApiKeyRequest(name=name))
    for secret in secrets:
        await world.sent(ALL[RESOLVE], directory_pb2.ResolveApiKeyRequest(secret=secret))
    starts, rest = {secret[:11] for secret in secrets}, {secret[11:] for secret in secrets}
    assert await world.places(starts | rest) == {start: {"resources", "audit_events"} for start in starts}


async def test_what_nobody_can_know_for_a_secret_is_the_id_that_it_is_sent_as(
    client: Client, stores: Stores
) -> None:
    """Which also shows that all the others are looked for where they would be."""
    await client.found_acme()
    await client.budget("all", limits=BUDGET.limits)
    await client.quota.Authorize(authorize_request("hunter2hunter2"))
    await stores.drained()
    places = {place async for place, content in stores.everything() if b"hunter2hunter2" in content}
    assert "Valkey" in places
    assert any(place.startswith("ledger_entries") for place in places)
