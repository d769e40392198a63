"""P1 to P3 once more, by k6: a caller that everybody knows, and that costs more than the server it calls.

    python -m benchmarks.k6

On a machine with few cores its figures are told beside ours, with what it takes itself; see
docs/performance.md.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from typing import NamedTuple

import click
import uvloop
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message

from benchmarks import scenario
from benchmarks.basics import HALF, ratio
from benchmarks.caller import CallsFailed
from benchmarks.laboratory import IN_FLIGHT, Laboratory, laboratory
from benchmarks.outcome import Outcome, Told
from benchmarks.processes import cpu_seconds
from benchmarks.scenario import NESTED
from benchmarks.targets import Figure
from quota.v1 import quota_pb2

SCRIPT = Path(__file__).with_name("k6.js")
PROTOSET = Path(__file__).parents[1] / "clients" / "quota.protoset"
PROGRAM = Path(sys.executable).with_name("k6")

CYCLES, ROUND_S = 5, 3
WAITS = "grpc_req_duration"
BEGUN = "begun"
"""What the script says when its users are there."""


class Scenario(NamedTuple):
    """A kind of call for a while; `per_second` 0: as many as can be."""

    name: str
    kind: str
    seconds: int
    per_second: int = 0


class Found(NamedTuple):
    """What a scenario came to."""

    calls: int
    per_second: float
    p99_ms: float


async def measured(told: Told) -> Outcome:
    """Raises CallsFailed."""
    async with laboratory() as started:
        told(f"k6: P1 and P2, {CYCLES} cycles")
        kinds = ("trivial", "authorize", "trivialCommit", "commit")
        full, cpu_us = await _run(started, [Scenario("warmUp", "authorize", 1), *_cycles(kinds)])
        rate = int(HALF * median(full[f"authorize{number}"].per_second for number in range(CYCLES)))
        told(f"k6: P3, {CYCLES} cycles at {rate:,} calls a second")
        paced, _ = await _run(
            started, [Scenario("warmUp", "authorize", 1, rate), *_cycles(("trivial", "authorize"), rate)]
        )
    own = f"k6 itself takes {cpu_us:.0f} µs a call"
    return Outcome(
        figures=[
            _ratio("P1 by k6", full, "authorize", "trivial", "per_second", f"/s; {own}"),
            _ratio("P2 by k6", full, "commit", "trivialCommit", "per_second", "/s"),
            _ratio("P3 by k6", paced, "authorize", "trivial", "p99_ms", f" ms at {rate:,}/s"),
        ],
        points=[{"k6_cpu_us": cpu_us}],
    )


def _cycles(kinds: Sequence[str], per_second: int = 0) -> list[Scenario]:
    return [
        Scenario(f"{kind}{number}", kind, ROUND_S, per_second) for number in range(CYCLES) for kind in kinds
    ]


def _ratio(number: str, found: Mapping[str, Found], kind: str, trivial: str, what: str, unit: str) -> Figure:
    pairs = [
        (getattr(found[f"{kind}{cycle}"], what), getattr(found[f"{trivial}{cycle}"], what))
        for cycle in range(CYCLES)
    ]
    own, other = (median(each) for each in zip(*pairs, strict=True))
    digits = 0 if what == "per_second" else 1
    note = f"{own:,.{digits}f} ÷ {other:,.{digits}f}{unit}"
    return ratio(number, [own / other for own, other in pairs], note)


async def _run(started: Laboratory, scenarios: Sequence[Scenario]) -> tuple[Mapping[str, Found], float]:
    """What became of the scenarios, and the CPU that k6 took for a call, without its start."""
    variables = {
        "SCENARIOS": json.dumps([each._asdict() for each in scenarios]),
        "USERS": str(IN_FLIGHT),
        "SERVICE": started.service.address,
        "TRIVIAL": started.trivial.address,
        "PROTOSET": str(PROTOSET),
        "RUN": str(uuid.uuid4()),
        "REQUEST": _json(quota_pb2.AuthorizeRequest.FromString(next(scenario.authorize_requests(NESTED)))),
        "COMMIT": _json(quota_pb2.CommitRequest.FromString(scenario.commit_request("unnamed"))),
    }
    given = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    before = getrusage(RUSAGE_CHILDREN)
    before_s = before.ru_utime + before.ru_stime
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "run", "--no-usage-report", "--quiet", "--no-color", *given, str(SCRIPT)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        return await _read(process, scenarios, before_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _read(
    process: Process, scenarios: Sequence[Scenario], before_s: float
) -> tuple[Mapping[str, Found], float]:
    assert process.stdout is not None
    assert process.stderr is not None
    output = asyncio.ensure_future(process.stdout.read())
    begun_s = 0.0
    while line := (await process.stderr.readline()).decode():
        if BEGUN in line:
            begun_s = cpu_seconds([process.pid]) or 0.0
    found = parsed((await output).decode(), scenarios)
    await process.wait()
    used = getrusage(RUSAGE_CHILDREN)
    used_s = used.ru_utime + used.ru_stime - before_s - begun_s
    return found, used_s * 1e6 / sum(each.calls for each in found.values())


def parsed(summary: str, scenarios: Sequence[Scenario]) -> Mapping[str, Found]:
    """What k6 says at its end. Raises CallsFailed where a call has failed, or none was made."""
    try:
        metrics = json.loads(summary)
    except ValueError:
        raise CallsFailed(f"k6 said {summary[:200]!r} instead of its summary") from None
    found = {}
    for each in scenarios:
        values = {
            metric: metrics.get(f"{metric}{{scenario:{each.name}}}", {}).get("values", {})
            for metric in ("calls", "failures", WAITS)
        }
        calls, failures = (int(values[metric].get("count", 0)) for metric in ("calls", "failures"))
        if failures or not calls:
            raise CallsFailed(f"{failures} of {calls} calls of k6's {each.name} failed")
        found[each.name] = Found(calls, calls / each.seconds, values[WAITS]["p(99)"])
    return found


def _json(message: Message) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, indent=None)


if __name__ == "__main__":
    for each in uvloop.run(measured(click.echo)).figures:
        click.echo(each.line())
