"""`make demo-envoy`: what people behind Envoy see, and what the ledger has of it afterwards.

Starts the service with stores of its own, a real Envoy with deploy/envoy/envoy.yaml, and a stand-in for the
model providers; makes a few calls with OpenAI's library; shows the ledger; stops all of it. Exits with 1 if a
call has another outcome than it should.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import openai
from rich.console import Console
from rich.panel import Panel

from examples.envoy.scene import Lab, lab
from tests.support.behaviour import Behaviour
from tests.support.gateway import Gateway, gateway
from tests.support.model_provider import providing

WORDS = Behaviour(input_tokens=14, answer_tokens=24, pieces=8, delay_ms=40)
QUESTION = "Why do budgets for AI run out?"

console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


class Story(NamedTuple):
    """One call: who makes it, why it is shown, and what it should come to."""

    who: str
    title: str
    told: str
    call: Callable[[openai.AsyncOpenAI], Awaitable[str]]
    outcome: str


async def main() -> int:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quota-demo-")))
        provider = await stack.enter_async_context(providing(WORDS))
        with console.status("Starting Valkey, PostgreSQL and the Quota Service …"):
            service = await stack.enter_async_context(lab(folder))
        envoy = await stack.enter_async_context(gateway(folder, service.address, provider))
        console.print(
            f"Envoy listens on {envoy.url} with deploy/envoy/envoy.yaml; behind it a stand-in answers"
        )
        console.print(
            "in OpenAI's dialect. Callers have OpenAI's own library, its address and a key: nothing else.\n"
        )
        outcomes = [await _told(each, envoy, service.secrets[each.who]) for each in STORIES]
        console.print(
            "Each call has two entries in the ledger: what was held before it, and what was charged after it."
        )
        await _settled(service)
        console.print("$ quota ledger --organization lab")
        shown = await asyncio.to_thread(
            partial(service.quota, "ledger", "--organization", "lab", columns=console.width)
        )
        console.print(shown, soft_wrap=True)
        console.print("To try it with real providers: docs/envoy.md")
        return 0 if all(outcomes) else 1


async def _settled(service: Lab) -> None:
    """Callers do not wait for what becomes of their holds: a moment later all have ended."""
    for _ in range(100):
        listed = await asyncio.to_thread(service.quota, "--json", "reservations", "--organization", "lab")
        if not json.loads(listed)["reservations"]:
            return
        await asyncio.sleep(0.1)


async def _told(story: Story, envoy: Gateway, secret: str) -> bool:
    """Makes a call and shows what came of it; whether it is what should."""
    before = len(envoy.upstream)
    async with openai.AsyncOpenAI(base_url=f"{envoy.url}/v1", api_key=secret) as library:
        try:
            outcome, seen = "allowed", await story.call(library)
        except openai.APIStatusError as error:
            said: Any = error.body
            outcome, seen = (
                str(error.status_code),
                f"{type(error).__name__} {error.status_code}: {said['message']}",
            )
    sent = envoy.upstream[before:]
    asked = [f"{each.json['model']} with max_tokens {each.json['max_tokens']}" for each in sent]
    seen += f"\n[dim]What reached the provider: {', '.join(asked) or 'nothing'}.[/dim]"
    colour = "green" if outcome == "allowed" else "red"
    console.print(
        Panel(f"{story.told}\n\n{seen}", title=f"[{colour}]{story.title}[/{colour}]", title_align="left")
    )
    return outcome == story.outcome


def _turn(text: str = QUESTION) -> Any:
    return [{"role": "user", "content": text}]


async def _plain(library: openai.AsyncOpenAI) -> str:
    answer = await library.chat.completions.create(model="gpt-4o", messages=_turn(), max_tokens=200)
    return _answered(answer)


async def _streamed(library: openai.AsyncOpenAI) -> str:
    pieces = []
    stream = await library.chat.completions.create(
        model="gpt-4o",
        messages=_turn(),
        max_tokens=200,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            console.print(f"[dim]{pieces[-1]}[/dim]", end="")
    console.print()
    return f"gpt-4o, in {len(pieces)} pieces as they came: “{''.join(pieces).strip()}”"


async def _dear(library: openai.AsyncOpenAI) -> str:
    answer = await library.chat.completions.create(model="gpt-4o", messages=_turn(), max_tokens=900)
    return _answered(answer)


async def _twice(library: openai.AsyncOpenAI) -> str:
    await _plain(library)
    return await _plain(library)


def _answered(answer: Any) -> str:
    return f"{answer.model}: “{answer.choices[0].message.content.strip()}”"


STORIES = (
    Story("rosalind", "Allowed", "Rosalind asks gpt-4o, and her team has money left.", _plain, "allowed"),
    Story("rosalind", "Streamed", "The same in pieces: they pass as they come.", _streamed, "allowed"),
    Story(
        "dorothy",
        "Downgraded",
        "Dorothy asks gpt-4o for up to 900 tokens, more than half of her day pays for: it is gpt-4o-mini.",
        _dear,
        "allowed",
    ),
    Story("barbara", "Denied", "Barbara may make one call a day, and makes a second one.", _twice, "429"),
)

if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
