"""A moderate load without faults, watched: what grows that should not?"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import scene, world
from tests.chaos.auditor import Verdict, audit
from tests.chaos.calls import connections
from tests.chaos.evidence import Reader
from tests.chaos.journal import Journal
from tests.chaos.run import Plan, loaded, until_quiet

SAMPLE_S = 5.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakResult:
    """`samples`: by name, in the order of time."""

    seed: int
    seconds: float
    journal: Journal
    verdict: Verdict
    samples: Mapping[str, Sequence[int]]


async def run(seed: int, seconds: float, say: Callable[[str], None]) -> SoakResult:
    """Two replicas under load for so long, then the same audit as after chaos."""
    plan = Plan(seed=seed, seconds=seconds, replicas=2)
    journal, rules = Journal(), scene.rules(seconds)
    async with world.running(plan.replicas) as there, connections(there.client_ports) as servers:
        await scene.found(servers[0], rules)
        reader = Reader(there.valkey.url, there.postgres.url)
        samples: dict[str, list[int]] = {}
        async with loaded(plan, servers, journal) as load:
            end_s = time.monotonic() + seconds
            while (left_s := end_s - time.monotonic()) > 0:
                await asyncio.sleep(min(SAMPLE_S, left_s))
                load.check()
                for name, value in (await _sample(there, reader, journal)).items():
                    samples.setdefault(name, []).append(value)
                say(_line(samples))
            await load.stop()
        await until_quiet(reader)
        verdict = audit(journal, await reader.everything(), rules)
    return SoakResult(seed=seed, seconds=seconds, journal=journal, verdict=verdict, samples=samples)


async def _sample(there: world.World, reader: Reader, journal: Journal) -> dict[str, int]:
    pids = {replica.name: replica.pid for replica in there.replicas} | {"valkey": there.valkey.pid}
    found: dict[str, int] = {}
    for name, pid in pids.items():
        if pid is not None:
            found[f"{name} memory (kB)"] = _resident_kb(pid)
            found[f"{name} file descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    found["pending events"] = await reader.events()
    found["drift under load (micros)"] = await reader.drift()
    found["calls answered"] = sum(journal.answers.values())
    return found


def _resident_kb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE // 1024


def _line(samples: Mapping[str, Sequence[int]]) -> str:
    return "  ".join(f"{name} {values[-1]:,}" for name, values in samples.items())


def document(result: SoakResult) -> dict[str, Any]:
    """For a machine."""
    return {
        "seed": result.seed,
        "seconds": result.seconds,
        "sampled_every_s": SAMPLE_S,
        "samples": {
            name: {"first": values[0], "last": values[-1], "max": max(values)}
            for name, values in result.samples.items()
        },
        "answers": {f"{verb}: {answer}": n for (verb, answer), n in sorted(result.journal.answers.items())},
        "audit": dict(sorted(result.verdict.counts.items())),
        "broken": [f"{finding.guarantee}: {finding.text}" for finding in result.verdict.findings],
    }


def table(result: SoakResult) -> str:
    """For a terminal."""
    found = document(result)
    lines = [f"\n{'':<40}{'first':>14}{'last':>14}{'max':>14}"]
    for name, row in found["samples"].items():
        lines.append(f"{name:<40}{row['first']:>14,}{row['last']:>14,}{row['max']:>14,}")
    lines += [f"{name:<68}{value:>14,}" for name, value in {**found["answers"], **found["audit"]}.items()]
    lines += [f"BROKEN {text}" for text in found["broken"]] or ["every guarantee held"]
    return "\n".join(lines)
