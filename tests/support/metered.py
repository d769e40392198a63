"""Calls through a gateway, each by an API key of its own, so that the ledger tells what became of which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from quota.v1 import directory_pb2, report_pb2, types_pb2
from quota_service.edge.dialects.calls import Dialect, Kind
from tests.support.behaviour import Behaviour
from tests.support.gateway import Gateway
from tests.support.model_provider import Script
from tests.support.raw_http import JSON, Reply, ask, post
from tests.support.service import ACME, Client

SETTLED_S = 20.0
LIMIT = 100
"""Of output tokens, in every call that does not say otherwise."""

CHAT, RESPONSES, MESSAGES, GENERATE = Kind.CHAT, Kind.RESPONSES, Kind.MESSAGES, Kind.GENERATE
DIALECTS = (CHAT, RESPONSES, MESSAGES, GENERATE)
"""One kind of call with an answer in text for each way to tell it."""

MODELS = {
    Dialect.OPENAI: "gpt-4o",
    Dialect.ANTHROPIC: "claude-haiku-4-5",
    Dialect.GEMINI: "gemini-2.5-flash",
}

_Type = report_pb2.LedgerEntry
_ENDS = (_Type.TYPE_COMMIT, _Type.TYPE_RELEASE, _Type.TYPE_EXPIRE, _Type.TYPE_RECORD)


class Call(NamedTuple):
    """A request to a provider, without its caller."""

    path: str
    body: bytes

    def of(self, secret: str, *headers: tuple[str, str]) -> bytes:
        """As it is sent by the owner of that key."""
        key, type_ = ("authorization", f"Bearer {secret}"), ("content-type", JSON)
        return post(self.path, self.body, key, *headers, type_)


class Outcome(NamedTuple):
    """What the ledger says of a call's end."""

    type: str
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    usage_estimated: bool = False


Expected = Callable[[Outcome], Outcome]
"""An outcome, made of what was held."""


def told(input_tokens: int, output_tokens: int, cached: int = 0, written: int = 0) -> Expected:
    """The provider's own numbers."""
    return lambda _: Outcome("COMMIT", input_tokens, cached, written, output_tokens)


def seen(output_tokens: int, input_tokens: int | None = None) -> Expected:
    """An estimate: as much came out. `input_tokens`: that the provider has told; `None`: those held."""
    return lambda held: Outcome(
        "COMMIT",
        held.input_tokens if input_tokens is None else input_tokens,
        output_tokens=output_tokens,
        usage_estimated=True,
    )


def all_of_it(held: Outcome) -> Outcome:
    """An estimate: nobody knows, so what was held."""
    return held._replace(type="COMMIT", usage_estimated=True)


def nothing(_: Outcome) -> Outcome:
    return Outcome("RELEASE")


class Metered:
    """Acme's calls through one gateway. Names of calls may be anything."""

    def __init__(self, client: Client, gateway: Gateway) -> None:
        self.client = client
        self.gateway = gateway
        self._ids: dict[str, str] = {}

    async def found(self, cost_micros: int = 1_000_000_000) -> None:
        """Acme, with a budget of 1,000 USD."""
        await self.client.found_acme()
        await self.client.budget("core", limits=types_pb2.Amounts(cost_micros=cost_micros))

    async def secret(self, name: str) -> str:
        """Of the key for the call of that name."""
        id_ = self._ids[name] = f"key-{len(self._ids)}"
        key = directory_pb2.CreateApiKeyRequest(
            parent=ACME, api_key_id=id_, api_key=directory_pb2.ApiKey(user="ada")
        )
        return (await self.client.directory.CreateApiKey(key)).secret

    async def ask(self, name: str, call: Call) -> Reply:
        """Makes the call under that name."""
        return await ask(self.gateway.address, call.of(await self.secret(name)))

    async def play(self, name: str, call: Call, script: Script) -> Reply:
        """The same, answered by the script. The call's prompt must have `word(name)`."""
        self.gateway.provider.scripts[word(name)] = script
        return await self.ask(name, call)

    async def outcomes(self) -> dict[str, Outcome]:
        """What became of every call, once all of them have ended. The books must balance."""
        await self._is_quiet()
        async with asyncio.timeout(SETTLED_S):
            while len(ends := self._by_key(entries := await self._entries(), _ENDS)) < len(self._ids):  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.02)
        await self._require_balance(entries)
        return {name: _outcome(ends[id_]) for name, id_ in self._ids.items()}

    async def held(self) -> dict[str, Outcome]:
        """What every call has held at its beginning."""
        holds = self._by_key(await self._entries(), (_Type.TYPE_HOLD,))
        return {name: _outcome(holds[id_]) for name, id_ in self._ids.items()}

    async def require(self, expected: Mapping[str, Expected]) -> None:
        """Every call has become what is expected of it."""
        outcomes, held = await self.outcomes(), await self.held()
        wanted = {name: of(held[name]) for name, of in expected.items()}
        odd = [name for name in {**outcomes, **wanted} if outcomes.get(name) != wanted.get(name)]
        assert not odd, {name: (outcomes.get(name), wanted.get(name)) for name in odd}

    async def _is_quiet(self) -> None:
        """Envoy has nothing more to tell of calls that are over."""
        async with asyncio.timeout(SETTLED_S):
            while await self.gateway.statistic("cluster.quota.upstream_rq_active"):  # noqa: ASYNC110  (nobody tells)
                await asyncio.sleep(0.02)

    async def _require_balance(self, entries: list[report_pb2.LedgerEntry]) -> None:
        """Each hold has one end, nothing is held, and what is spent is what the ledger has charged."""
        holds = sorted(each.reservation for each in entries if each.type == _Type.TYPE_HOLD)
        assert sorted(each.reservation for each in entries if each.type in _ENDS) == holds
        [status] = await self.client.status("core")
        assert status.held == 0
        assert status.spent == sum(each.charged.cost_micros for each in entries)

    async def _entries(self) -> list[report_pb2.LedgerEntry]:
        request = report_pb2.ListLedgerEntriesRequest(parent=ACME, page_size=1_000)
        return list((await self.client.reports.ListLedgerEntries(request)).ledger_entries)

    def _by_key(
        self, entries: list[report_pb2.LedgerEntry], types: tuple[Any, ...]
    ) -> dict[str, report_pb2.LedgerEntry]:
        return {each.subject.api_key: each for each in entries if each.type in types}


def word(name: str) -> str:
    """By which the stand-in knows a call of that name."""
    return f"<{name}>"


def call(
    kind: Kind, prompt: str, *, streamed: bool = False, as_array: bool = False, limit: int = LIMIT
) -> Call:
    """`as_array`: Gemini's stream without events."""
    model, turn = MODELS[kind.dialect], [{"role": "user", "content": prompt}]
    stream: dict[str, Any] = {"stream": True} if streamed else {}
    match kind:
        case Kind.CHAT:
            options = {"stream_options": {"include_usage": True}} if streamed else {}
            path, body = "/v1/chat/completions", {"messages": turn, "max_tokens": limit, **options}
        case Kind.RESPONSES:
            path, body = "/v1/responses", {"input": prompt, "max_output_tokens": limit}
        case Kind.MESSAGES:
            path, body = "/v1/messages", {"messages": turn, "max_tokens": limit}
        case Kind.GENERATE:
            action = "streamGenerateContent" if streamed or as_array else "generateContent"
            path = f"/v1beta/models/{model}:{action}{'?alt=sse' if streamed else ''}"
            contents = [{"role": "user", "parts": [{"text": prompt}]}]
            document = {"contents": contents, "generationConfig": {"maxOutputTokens": limit}}
            return Call(path, json.dumps(document).encode())
        case Kind.EMBEDDINGS:
            path, body, model = "/v1/embeddings", {"input": prompt}, "text-embedding-3-small"
        case _:
            raise NotImplementedError(kind)
    return Call(path, json.dumps({"model": model, **body, **stream}).encode())


def asking(kind: Kind, behaviour: Behaviour, *, streamed: bool = False, as_array: bool = False) -> Call:
    """A call that asks the stand-in to behave so."""
    return call(kind, f"Why? {behaviour.block()}", streamed=streamed, as_array=as_array)


async def is_upstream(gateway: Gateway, count: int = 1) -> None:
    """Waits until so many calls have reached the stand-in."""
    async with asyncio.timeout(SETTLED_S):
        while len(gateway.upstream) < count:  # noqa: ASYNC110  (nobody tells)
            await asyncio.sleep(0.01)


def _outcome(entry: report_pb2.LedgerEntry) -> Outcome:
    usage = entry.usage
    return Outcome(
        report_pb2.LedgerEntry.Type.Name(entry.type).removeprefix("TYPE_"),
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.cache_write_tokens,
        usage.output_tokens,
        entry.usage_estimated,
    )
