"""A supervisor, with workers that do nothing but what a test wants of them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quota_service.config import Settings
from quota_service.workers import process
from quota_service.workers.process import WorkerFailed
from quota_service.workers.supervisor import Supervisor

SETTINGS = Settings(dev=True, workers=2)

SAYING = """
import pathlib, socket, sys, time
from quota_service.workers import messages
link = socket.socket(fileno=0)
def say(message):
    raw = messages._encoder.encode(message)
    link.sendall(len(raw).to_bytes(4, "big") + raw)
"""
READY = SAYING + "say(messages.Answers()); time.sleep(600)"


class Log:
    """What the supervisor tells."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, int, str, float]] = []
        self.back = asyncio.Event()

    def worker_ended(self, number: int, pid: int, code: int, reason: str, again_s: float) -> None:
        self.ended.append((number, code, reason, again_s))

    def worker_answers_again(self, number: int, pid: int) -> None:
        self.back.set()

    def work_failed(self, work: str, error: Exception) -> None:
        raise AssertionError(work) from error


Program = Callable[[str], None]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Says which program workers are from now on."""
    return lambda text: monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", text))


@asynccontextmanager
async def supervised(log: Log) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(log)
    try:
        yield supervisor
    finally:
        supervisor.kill()
        await supervisor.stop(patience_s=30)


@pytest.mark.parametrize(
    ("text", "said", "code"),
    [
        (
            SAYING + "say(messages.Failed('The file is wrong.', 2, ('line 1',), 'mend it'))",
            "The file is wrong.",
            2,
        ),
        ("raise SystemExit(3)", "A worker ended with exit code 3 before it was ready.", 70),
        ("import os; os.kill(os.getpid(), 9)", "A worker was ended by signal 9 before it was ready.", 70),
    ],
)
async def test_what_keeps_workers_from_beginning_is_told(
    program: Program, text: str, said: str, code: int
) -> None:
    program(text)
    log = Log()
    async with supervised(log) as supervisor:
        with pytest.raises(WorkerFailed) as failed:
            await supervisor.start(SETTINGS)
    assert (str(failed.value), failed.value.failed.code) == (said, code)
    assert log.ended == []


async def test_a_worker_that_ends_by_itself_is_started_again_until_it_stays(
    program: Program, tmp_path: Path
) -> None:
    program(READY)
    log = Log()
    async with supervised(log) as supervisor:
        await supervisor.start(SETTINGS)
        supervisor.keep(SETTINGS)
        lives = tmp_path / "lives"
        lives.write_text("")
        program(
            SAYING + f"lives = pathlib.Path({str(lives)!r}); lives.write_text(lives.read_text() + 'x')\n"
            "if len(lives.read_text()) < 3:\n    say(messages.Failed('Not yet.', 5)); sys.exit(5)\n"
            "say(messages.Answers()); time.sleep(600)"
        )
        first = min(supervisor._workers.values(), key=lambda worker: worker.pid)
        os.kill(first.pid, 9)
        await asyncio.wait_for(log.back.wait(), 30)
        [number] = {number for number, *_ in log.ended}
        assert [told[1:] for told in log.ended] == [(-9, "", 0.1), (5, "Not yet.", 0.2), (5, "Not yet.", 0.4)]
        assert supervisor._workers[number].is_ready
        assert len({first.pid, *(worker.pid for worker in supervisor._workers.values())}) == 3


async def test_a_worker_that_hears_nothing_is_ended_when_patience_is_over(program: Program) -> None:
    program(READY)
    async with supervised(Log()) as supervisor:
        await supervisor.start(SETTINGS)
        supervisor.keep(SETTINGS)
        await supervisor.stop(patience_s=0.1)
        assert {await worker.ended() for worker in supervisor._workers.values()} == {-9}
