"""Records what the providers' own SDKs send, into tests/corpus/{openai,anthropic,gemini}.jsonl.

Nothing leaves the process: the SDKs' HTTP client answers every call by itself. One line a request: its name,
its path, its body as text, and whether it is plain text in which the dialect's rule of thumb holds.

    python -m scripts.record_requests
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import anthropic
import httpx2
import openai
from google import genai
from google.genai import errors, types

from scripts.recorded_anthropic import anthropic_calls
from scripts.recorded_gemini import gemini_calls
from scripts.recorded_openai import openai_calls

CORPUS = Path(__file__).parent.parent / "tests" / "corpus"


class Recorded(NamedTuple):
    """One request as its SDK sent it."""

    name: str
    path: str
    body: str
    plain_text: bool


class Recorder:
    """An HTTP client for the SDKs, which keeps the last request and refuses it."""

    def __init__(self) -> None:
        self._request: httpx2.Request | None = None
        self.client = httpx2.Client(transport=httpx2.MockTransport(self._answer))

    def record(self, name: str, call: Callable[[], object], *, plain_text: bool) -> Recorded:
        self._request = None
        with contextlib.suppress(openai.APIStatusError, anthropic.APIStatusError, errors.APIError):
            call()
        if self._request is None:
            raise RuntimeError(f"{name} sent nothing")
        return Recorded(name, self._request.url.path, self._request.read().decode(), plain_text)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self._request = request
        return httpx2.Response(400, json={"error": {"message": "recorded"}})


def recorded(dialect: str) -> Iterator[Recorded]:
    """Every request of a dialect, in the order of the file."""
    recorder = Recorder()
    client = recorder.client
    if dialect == "openai":
        calls = openai_calls(openai.OpenAI(api_key="none", base_url="http://provider/v1", http_client=client))
    elif dialect == "anthropic":
        calls = anthropic_calls(
            anthropic.Anthropic(api_key="none", base_url="http://provider", http_client=client)
        )
    else:
        options = types.HttpOptions(httpx_client=client, base_url="http://provider")
        calls = gemini_calls(genai.Client(api_key="none", http_options=options))
    for name, plain_text, call in calls:
        yield recorder.record(name, call, plain_text=plain_text)


def lines(dialect: str) -> str:
    """The whole file of a dialect."""
    return "".join(f"{json.dumps(request._asdict(), ensure_ascii=False)}\n" for request in recorded(dialect))


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for dialect in ("openai", "anthropic", "gemini"):
        text = lines(dialect)
        (CORPUS / f"{dialect}.jsonl").write_text(text, encoding="utf-8")
        print(f"{dialect}: {text.count(chr(10))} requests, {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
