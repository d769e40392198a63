"""A stand-in for model providers: an HTTP/1.1 server in the dialects of OpenAI, Anthropic and Gemini.

It is the only part of the gateway's tests that is not real. How it answers is said by the prompt
(`tests.support.behaviour`) or by `ModelProvider.behaviour`; what came in is in `ModelProvider.requests`.

`python -m tests.support.model_provider --port 8090` runs it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

from quota_service.edge.dialects.calls import Kind
from tests.support.behaviour import Behaviour, InstructionUnknown, behaviour_in
from tests.support.provider_answers import Asked, answer, error
from tests.support.provider_delivery import Delivery, Ended

HOST = "127.0.0.1"
READY = "The stand-in answers on"
_KEPT = 10_000

_KINDS = {
    "/v1/chat/completions": Kind.CHAT,
    "/v1/completions": Kind.COMPLETIONS,
    "/v1/responses": Kind.RESPONSES,
    "/v1/embeddings": Kind.EMBEDDINGS,
    "/v1/messages": Kind.MESSAGES,
}
_GEMINI = re.compile(
    r"/v1(?:beta)?/models/([^/:]+):(generateContent|streamGenerateContent|batchEmbedContents)"
)
_CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_MODELS = ("gpt-4o", "gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash")


Script = Callable[[], AsyncIterator[bytes]]
"""The bytes of an answer, its head included, one write after the other; then the connection is closed.
One that is whole must say so, as those of `raw_http.script` do."""


class Request(NamedTuple):
    """A request as it arrived. `headers`: their names in lower case, in the order and number they came."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first of that name; None: there is none."""
        return next((value for each, value in self.headers if each == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ModelProvider:
    """Lives in the event loop that starts it. `behaviour`: of answers to prompts that ask for nothing.
    `scripts`: answers to requests whose body has that word, byte by byte. `requests`: the last 10,000.
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.scripts: dict[str, Script] = {}
        self.requests: deque[Request] = deque(maxlen=_KEPT)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self, port: int = 0) -> None:
        """Listens on that port; 0: on a free one."""
        self._server = await asyncio.start_server(self._accept, HOST, port, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError, Ended):
            pass  # who asked is gone, or this is the end
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await _read(reader)
            self.requests.append(request)
            if request.header("upgrade"):
                await _echo(reader, writer)
            else:
                await self._answer(request, writer)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        for word, script in self.scripts.items():
            if word.encode() in request.body:
                await _play(script, writer)
        try:
            behaviour = behaviour_in(request.body) or self.behaviour
            asked = _asked(request)
        except (InstructionUnknown, ValueError, KeyError, AttributeError) as wrong:
            return await _write(writer, 400, {"error": {"message": f"The stand-in: {wrong}."}})
        if behaviour.headers_delay_ms:
            await asyncio.sleep(behaviour.headers_delay_ms / 1_000)
        if asked is None:
            return await _write(writer, *_plain_answer(request))
        if behaviour.error:
            return await _write(writer, behaviour.error, error(asked.kind.dialect, behaviour.error))
        said = answer(asked, behaviour)
        await Delivery(writer, behaviour).send(said.content_type, said.parts)
        return None


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    method, path, _ = first.split(" ", 2)
    split = (line.partition(":") for line in lines)
    request = Request(method, path, tuple((name.lower(), value.strip()) for name, _, value in split), b"")
    if request.header("transfer-encoding") == "chunked":
        return request._replace(body=b"".join([chunk async for chunk in _chunks(reader)]))
    size = int(request.header("content-length") or 0)
    return request._replace(body=await reader.readexactly(size))


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)


async def _play(script: Script, writer: asyncio.StreamWriter) -> None:
    async for part in script():
        writer.write(part)
        await writer.drain()
    raise Ended


async def _write(writer: asyncio.StreamWriter, status: int, content: bytes | dict[str, Any]) -> None:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An upgraded connection: everything comes back as it is, frames are not looked at."""
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
    while data := await reader.read(65_536):
        writer.write(data)
    raise Ended


def _asked(request: Request) -> Asked | None:
    """The call that a request makes; None: it is about something else."""
    path, _, query = request.path.partition("?")
    gemini = _GEMINI.fullmatch(path)
    if request.method != "POST" or not (gemini or path in _KINDS):
        return None
    body = request.json
    if gemini is None:
        return _asked_in_body(_KINDS[path], body)
    model, method = unquote(gemini[1]), gemini[2]
    settings = body.get("generationConfig", {})
    is_streamed = method == "streamGenerateContent"
    return Asked(
        kind=Kind.EMBED if method == "batchEmbedContents" else Kind.GENERATE,
        model=model,
        cap=settings.get("maxOutputTokens"),
        choices=len(body.get("requests", ())) or settings.get("candidateCount", 1),
        is_streamed=is_streamed,
        is_array=is_streamed and "alt=sse" not in query,
        wants_usage=True,
    )


def _asked_in_body(kind: Kind, body: dict[str, Any]) -> Asked:
    texts = body.get("input")
    return Asked(
        kind=kind,
        model=body["model"],
        cap=next((body[name] for name in _CAPS if body.get(name) is not None), None),
        choices=len(texts) if kind is Kind.EMBEDDINGS and isinstance(texts, list) else body.get("n") or 1,
        is_streamed=bool(body.get("stream")),
        is_array=False,
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _plain_answer(request: Request) -> tuple[int, bytes | dict[str, Any]]:
    """What is no call to a model: the list of models, a sign of life, or nothing."""
    match request.path.partition("?")[0]:
        case "/healthz":
            return 200, b'{"status":"ok"}'
        case "/v1/models" | "/v1beta/models" if request.header("x-goog-api-key"):
            return 200, {"models": [{"name": f"models/{id_}"} for id_ in _MODELS]}
        case "/v1/models":
            models = [{"id": id_, "object": "model", "type": "model"} for id_ in _MODELS]
            return 200, {"object": "list", "data": models, "has_more": False}
        case _:
            return 404, {"error": {"message": "The stand-in has nothing there."}}


@asynccontextmanager
async def providing(behaviour: Behaviour | None = None) -> AsyncIterator[ModelProvider]:
    """A stand-in in this process, on a free port, gone afterwards."""
    provider = ModelProvider(behaviour)
    await provider.start()
    try:
        yield provider
    finally:
        await provider.close()


async def _run(port: int) -> None:
    provider = ModelProvider()
    await provider.start(port)
    sys.stdout.write(f"{READY} {provider.url}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    options = argparse.ArgumentParser(description="A stand-in for model providers, for demos and tests.")
    options.add_argument("--port", type=int, default=0, help="where it listens on 127.0.0.1; 0: a free port")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(options.parse_args().port))


if __name__ == "__main__":
    main()
