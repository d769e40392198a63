"""What the filters of deploy/envoy/envoy.yaml add to a call: two Envoys, one without them.

    python -m benchmarks.envoy [--cycles 9] [--json]

Both take turns with the same calls, so that they see the same machine. The providers are a stand-in that
answers at once: what is told is all that a call costs beside the model. Exits with 1 when a call fails.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.http_calls import CallFailed, HttpRequest, Wait, repeated
from benchmarks.processes import processor_ticks, stolen_percent
from examples.envoy.scene import CommandFailed, Lab, lab
from quota.client import connect
from quota.v1 import budget_pb2, catalog_pb2, quota_pb2, types_pb2
from tests.support.behaviour import Behaviour
from tests.support.gateway import gateway, without_filters
from tests.support.model_provider import providing

ROUND_S, WARM_UP_S = 1.0, 1.5
SHORT, LONG = "Why do budgets run out? ", "All work and no play makes budgets run out. " * 180  # 8 kB
AT_ONCE = Behaviour(input_tokens=10, answer_tokens=20, pieces=20)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A kind of call. `in_flight`: how many at a time, each on a connection of its own. `pause_s`: between
    them, so that no call waits for what is still to be written of the one before; a model takes longer.
    """

    name: str
    who: str
    text: str = SHORT
    max_tokens: int = 100
    streams: bool = False
    in_flight: int = 1
    pause_s: float = 0.03

    def request(self, service: Lab) -> HttpRequest:
        body: dict[str, Any] = {
            "model": "gpt-4o",
            "max_tokens": self.max_tokens,
            "messages": [{"role": "user", "content": self.text + AT_ONCE.block()}],
        }
        if self.streams:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        headers = {"authorization": f"Bearer {service.secrets[self.who]}"}
        return HttpRequest.of("/v1/chat/completions", headers, body, is_chunked=self.streams)


CASES = (
    Case(name="short prompt", who="rosalind"),
    Case(name="8 kB prompt", who="rosalind", text=LONG),
    Case(name="stream of 20 pieces", who="rosalind", streams=True),
    Case(name="downgraded", who="barbara"),
    Case(name="8 at a time, without a pause", who="rosalind", in_flight=8, pause_s=0.0),
)
DIVERTED = types_pb2.Subject(organization="lab", user="barbara")
PLENTY = 10**11


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one kind of call, in milliseconds: without the filters, with them, and the difference."""

    case: str
    calls: int
    off_p50_ms: float
    on_p50_ms: float
    added_p50_ms: float
    off_p99_ms: float
    on_p99_ms: float
    added_p99_ms: float


@click.command()
@click.option("--cycles", default=9, show_default=True, type=click.IntRange(1, 100))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
def main(cycles: int, as_json: bool) -> None:
    """Measure what Envoy's filters add to a call."""
    try:
        found, stolen = uvloop.run(_measured(cycles))
    except (CallFailed, CommandFailed) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    if as_json:
        click.echo(
            json.dumps({"stolen_percent": stolen, "cases": [dataclasses.asdict(each) for each in found]})
        )
    else:
        _show(found, stolen)


async def _measured(cycles: int) -> tuple[list[Figures], float]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quota-bench-")))
        provider = await stack.enter_async_context(providing(AT_ONCE))
        service = await stack.enter_async_context(lab(folder))
        await _prepare(service.address)
        off = await stack.enter_async_context(gateway(folder, service.address, provider, [without_filters]))
        on = await stack.enter_async_context(gateway(folder, service.address, provider))
        before = processor_ticks()
        found = [await _compared(case, service, off.address, on.address, cycles) for case in CASES]
        return found, stolen_percent(before, processor_ticks())


async def _prepare(address: str) -> None:
    """Barbara has plenty, but has spent so much of it that only the small model is left to her."""
    small = budget_pb2.LadderStep.Downgrade(provider="openai", model="gpt-4o-mini")
    budget = budget_pb2.Budget(
        scope=budget_pb2.Scope(user=DIVERTED.user),
        limits=types_pb2.Amounts(tokens=PLENTY),
        mode=types_pb2.MODE_HARD,
        period=budget_pb2.Period(monthly=budget_pb2.Period.Monthly()),
        ladder=[
            budget_pb2.LadderStep(at_percent=1, downgrade=small),
            budget_pb2.LadderStep(at_percent=1000, block=budget_pb2.LadderStep.Block()),
        ],
    )
    parent = f"organizations/{DIVERTED.organization}"
    async with connect(address) as connection:
        await connection.budgets.DeleteBudget(
            budget_pb2.DeleteBudgetRequest(name=f"{parent}/budgets/barbara-daily")
        )
        await connection.budgets.CreateBudget(
            budget_pb2.CreateBudgetRequest(parent=parent, budget_id="diverted", budget=budget)
        )
        free = catalog_pb2.Model(provider="none", model="free", prices=[catalog_pb2.ModelPrice()])
        await connection.catalog.UpsertModel(
            catalog_pb2.UpsertModelRequest(organization=DIVERTED.organization, model=free)
        )
        await connection.quota.Record(
            quota_pb2.RecordRequest(
                idempotency_key="spent",
                subject=DIVERTED,
                provider=free.provider,
                model=free.model,
                usage=types_pb2.Usage(input_tokens=PLENTY // 100),
            )
        )


async def _compared(case: Case, service: Lab, off: str, on: str, cycles: int) -> Figures:
    request = case.request(service)
    waits: dict[str, list[Wait]] = {off: [], on: []}
    for address in waits:
        await repeated(address, request, WARM_UP_S, case.in_flight, case.pause_s)
    for _ in range(cycles):
        for address, found in waits.items():
            found += await repeated(address, request, ROUND_S, case.in_flight, case.pause_s)
    return _figures(case, waits[off], waits[on])


def _figures(case: Case, off: Sequence[Wait], on: Sequence[Wait]) -> Figures:
    """Of a stream, what counts is when it begins."""
    without, with_ = (sorted(each.first_s * 1_000 for each in waits) for waits in (off, on))
    numbers = [(at(without), at(with_)) for at in (_p50, _p99)]
    (off_p50, on_p50), (off_p99, on_p99) = numbers
    return Figures(
        case=case.name,
        calls=len(off) + len(on),
        off_p50_ms=off_p50,
        on_p50_ms=on_p50,
        added_p50_ms=on_p50 - off_p50,
        off_p99_ms=off_p99,
        on_p99_ms=on_p99,
        added_p99_ms=on_p99 - off_p99,
    )


def _p50(ordered: Sequence[float]) -> float:
    return ordered[len(ordered) // 2]


def _p99(ordered: Sequence[float]) -> float:
    return ordered[len(ordered) * 99 // 100]


def _show(found: Sequence[Figures], stolen: float) -> None:
    table = Table(box=box.SIMPLE_HEAD, title="Milliseconds until the first byte of the answer")
    for name in ("", "calls", "p50 off", "on", "added", "p99 off", "on", "added"):
        table.add_column(name, justify="right" if name else "left")
    for each in found:
        numbers = dataclasses.astuple(each)[2:]
        table.add_row(each.case, f"{each.calls:,}", *(f"{number:.2f}" for number in numbers))
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(f"Processor time that other machines took meanwhile: {stolen:.0f} %")


if __name__ == "__main__":
    main()
