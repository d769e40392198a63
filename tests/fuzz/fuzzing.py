"""Inputs that come of inputs, and what has come of them."""

from __future__ import annotations

import faulthandler
import time
from random import Random

import click

from tests.fuzz.mutation import MutateBytes, flipped, mutated
from tests.fuzz.target import Target

HANGS_S = 10
SIZE_MAX = 4_096
TOLD_EVERY_S = 10.0
AFRESH_RATE = 0.4
"""How often an input comes of a good request: of others come ever fewer that anything lets through."""


class Fuzzing:
    """Makes requests of the service, one for each input."""

    def __init__(self, runs: int) -> None:
        self.target = Target()
        self.seeds = self.target.seeds()
        self._runs = runs
        self._done = 0
        self._begun_s = self._told_s = time.monotonic()

    def one(self, raw: bytes) -> str:
        """Returns how it ended. Raises what is a fault, and says how to repeat it."""
        try:
            outcome = self.target(raw)
        except Exception:
            click.echo(f"\na fault: {self.target.shown(raw)}\nrepeat it: --replay {raw.hex()}\n", err=True)
            raise
        self._done += 1
        now_s = time.monotonic()
        if self._done == self._runs or now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            self.tell()
        return outcome

    def mutated(self, raw: bytes, size_max: int, random: Random, mutate: MutateBytes) -> bytes:
        """Another input, for the same method most of the time."""
        if not raw or random.random() < AFRESH_RATE:
            raw = random.choice(self.seeds)
        kind = self.target.served(raw).method.request
        return raw[:1] + mutated(kind, raw[1:], size_max - 1, random, mutate)

    def tell(self) -> None:
        outcomes = sorted(self.target.outcomes.items(), key=lambda each: -each[1])
        told = ", ".join(f"{number:,} {outcome}" for outcome, number in outcomes)
        click.echo(f"{self._done:,} requests in {time.monotonic() - self._begun_s:.1f} s: {told}")


def blindly(runs: int, seconds: int, seed: int) -> None:
    """The same, where nobody knows which inputs reach anything new."""
    random, fuzzing = Random(seed), Fuzzing(runs)
    until_s = time.monotonic() + seconds
    pool, done = list(fuzzing.seeds), 0
    while done < runs or (seconds and time.monotonic() < until_s):
        raw = fuzzing.mutated(random.choice(pool), SIZE_MAX, random, flipped(random))
        faulthandler.dump_traceback_later(HANGS_S, exit=True)
        if fuzzing.one(raw) != "INVALID_ARGUMENT":
            pool[random.randrange(len(pool))] = raw
        done += 1
    faulthandler.cancel_dump_traceback_later()
    fuzzing.tell()
