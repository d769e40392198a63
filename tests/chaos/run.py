"""One run: a world, a load, faults, healing, quiet, and the audit."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from quota.client import ApiError, Connection
from tests.chaos import scene, world
from tests.chaos.auditor import Verdict, audit
from tests.chaos.calls import Caller, connections
from tests.chaos.evidence import Evidence, Reader
from tests.chaos.faults import FAULTS
from tests.chaos.journal import Journal, open_journal
from tests.chaos.requests import Source, status_request, trace
from tests.chaos.schedule import LONG, SHORT, Schedule
from tests.chaos.workers import Worker

QUIET_S = 40.0
POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do. `seconds` `None`: every kind of fault once, quickly."""

    seed: int
    seconds: float | None
    kinds: tuple[str, ...] = tuple(FAULTS)
    replicas: int = 3
    workers: int = 12
    pause_s: float = 0.05
    journal: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a run."""

    plan: Plan
    journal: Journal
    verdict: Verdict
    injected: Counter[str]
    lost_replies: int
    took_s: float
    logs: Mapping[str, str]
    dump: str


@dataclass(slots=True, kw_only=True)
class Load:
    """Workers that run until they are told to stop."""

    workers: Sequence[Worker]
    caller: Caller
    tasks: Sequence[asyncio.Task[None]]

    async def stop(self) -> None:
        """Ends what has been begun. Raises what a worker raised."""
        self.caller.over()
        for worker in self.workers:
            worker.stopping = True
        await asyncio.gather(*self.tasks)

    def check(self) -> None:
        """Raises what a worker raised: a mistake of ours."""
        for task in self.tasks:
            if task.done():
                task.result()


async def run(plan: Plan, say: Callable[[str], None]) -> Result:
    """Does it. Raises what cannot be audited: a world that does not start, a mistake of ours."""
    began_s = time.monotonic()
    journal = open_journal(plan.journal)
    rules = scene.rules(plan.seconds or 0)
    async with world.running(plan.replicas) as there, connections(there.client_ports) as servers:
        await scene.found(servers[0], rules)
        reader = Reader(there.valkey.url, there.postgres.url)
        random = Random(plan.seed)
        schedule = Schedule(
            there,
            journal,
            random,
            SHORT if plan.seconds is None else LONG,
            plan.kinds,
            _stamped(say, began_s),
        )
        async with loaded(plan, servers, journal) as load:
            await (schedule.run_once() if plan.seconds is None else schedule.run_for(plan.seconds))
            load.check()
            await there.heal()
            say("everything is healed")
            await load.stop()
        await until_quiet(reader)
        say("everything is quiet, or has had the time to be")
        evidence = await _evidence(reader, servers)
        lost_replies = await there.proxies.lost()
        verdict = audit(journal, evidence, rules)
        for trouble in [trouble for replica in there.replicas for trouble in replica.troubles]:
            verdict.found("G12", trouble)
        logs = {replica.name: replica.output() for replica in there.replicas}
        verdict.counts["tracebacks in the replicas' logs"] = sum(map(_tracebacks, logs.values()))
        return Result(
            plan=plan,
            journal=journal,
            verdict=verdict,
            injected=schedule.injected,
            lost_replies=lost_replies,
            took_s=time.monotonic() - began_s,
            logs=logs,
            dump=await reader.dump(),
        )


@contextlib.asynccontextmanager
async def loaded(plan: Plan, servers: Sequence[Connection], journal: Journal) -> AsyncIterator[Load]:
    """A load that goes on until it is told to stop, or the block ends."""
    random = Random(f"{plan.seed}/load")
    caller = Caller(servers, journal, random)
    run_id, requests = secrets.token_hex(4), trace()
    workers = [
        Worker(
            caller,
            journal,
            Source(f"{run_id}-{number}", Random(f"{plan.seed}/source/{number}"), requests),
            Random(f"{plan.seed}/worker/{number}"),
            plan.pause_s,
        )
        for number in range(plan.workers)
    ]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield Load(workers=workers, caller=caller, tasks=tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_quiet(reader: Reader) -> None:
    """Waits until nothing is left to be done, but no longer than it may take."""
    deadline_s = time.monotonic() + QUIET_S
    while time.monotonic() < deadline_s:
        if not any((await reader.work()).values()):
            return
        await asyncio.sleep(POLL_S)


async def _evidence(reader: Reader, servers: Sequence[Connection]) -> Evidence:
    """What the stores hold, after the service has been asked about every counter: so that windows which it
    makes anew only when somebody asks are there to be compared.
    """
    before = await reader.everything()
    counters = {window[:-1] for window in before.balances}
    for number, counter in enumerate(sorted(counters)):
        server = servers[number % len(servers)]
        with contextlib.suppress(ApiError):
            await server.call(server.budgets.GetBudgetStatus, status_request(*counter), attempts=5)
    await until_quiet(reader)  # to ask opens windows that have begun meanwhile, and something may roll over
    return await reader.everything()


def _tracebacks(log: str) -> int:
    return log.count("Traceback (most recent call last)")


def _stamped(say: Callable[[str], None], began_s: float) -> Callable[[str], None]:
    return lambda text: say(f"{time.monotonic() - began_s:6.1f} s  {text}")
