"""The providers' client libraries, answered in the same process instead of over a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anthropic
import httpx2
import openai
from google import genai
from google.genai import types

Answering = Callable[[httpx2.Request], httpx2.Response]
"""Answers a call."""

URL = "http://provider.test"
KEY = "no-secret"


def answering(
    content: bytes | Sequence[bytes], *, status: int = 200, headers: dict[str, str] | None = None
) -> Answering:
    """Answers every call alike: bytes as JSON, several as a stream of events."""
    is_stream = not isinstance(content, bytes)
    head = {"content-type": "text/event-stream" if is_stream else "application/json", **(headers or {})}
    return lambda _: httpx2.Response(
        status, headers=head, content=content if isinstance(content, bytes) else iter(content)
    )


def openai_client(answer: Answering) -> openai.OpenAI:
    """OpenAI's library, as an application makes it."""
    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return openai.OpenAI(api_key=KEY, base_url=f"{URL}/v1", http_client=client)


def anthropic_client(answer: Answering) -> anthropic.Anthropic:
    """Anthropic's library, as an application makes it."""
    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(api_key=KEY, base_url=URL, http_client=client)


def gemini_client(answer: Answering) -> genai.Client:
    """Google's library, as an application makes it."""
    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    options = types.HttpOptions(base_url=URL, httpx_client=client)
    return genai.Client(api_key=KEY, http_options=options)
