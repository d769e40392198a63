"""Who sends which request of a trace, and how it ends: decided by a seed, before anything is sent.

The rule, for request n of the trace, with a random generator seeded by the seed and n:

- The spenders are the organization's API keys and its users who have a team, without the frozen ones, sorted
  by id and shuffled by the seed. The k-th has a weight of 1/k: few people cause most of the spend.
- The models are the given ones, the k-th drawn with a weight of 1/k.
- One request in four names a project, if the organization has any.
- The estimate has the trace's input tokens. Nobody knows the output beforehand: `max_output_tokens` is the
  next power of two at or above what the trace generated, at least 256.
- A share fails (the hold is released), is cancelled (part of the output is committed, marked as estimated) or
  is abandoned (never committed; its hold lives for 1 or 2 s). The rest commits what the trace says.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from quota_service.cli.replay.trace import TraceRequest

SMALLEST_ESTIMATE = 256
PROJECT_ONE_IN = 4
WEIGHT_SCALE = 1_000_000
PERCENT = 100
ABANDONED_TTL_S = (1, 2)
TTL_S = 120


class Fate(StrEnum):
    """How a granted request goes on."""

    COMPLETES = "completes"
    FAILS = "fails"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spender:
    """A key or a user."""

    user: str = ""
    api_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """What of the organization the assignment needs."""

    spenders: tuple[Spender, ...]
    projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to call."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How many requests in a hundred do not complete."""

    fail_percent: int = 3
    cancel_percent: int = 4
    abandon_percent: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as it will be sent. `used_output_tokens` is what is committed."""

    number: int
    arrival_us: int
    spender: Spender
    project: str
    model: Model
    input_tokens: int
    output_tokens: int
    max_output_tokens: int
    used_output_tokens: int
    fate: Fate
    ttl_s: int


def make_plan(
    trace: Sequence[TraceRequest],
    directory: Directory,
    models: Sequence[Model],
    *,
    seed: int,
    shares: Shares,
    ttl_s: int = TTL_S,
) -> list[Call]:
    """Assigns every request of a trace. The same arguments give the same plan."""
    spenders = sorted(directory.spenders, key=lambda spender: (spender.api_key, spender.user))
    random.Random(seed).shuffle(spenders)
    spender_weights, model_weights = _weights(len(spenders)), _weights(len(models))
    calls = []
    for number, request in enumerate(trace, start=1):
        # Its own generator for each: request n is the same, however many are sent.
        generator = random.Random(f"{seed}/{number}")
        [spender] = generator.choices(spenders, cum_weights=spender_weights)
        [model] = generator.choices(models, cum_weights=model_weights)
        has_project = generator.randrange(PROJECT_ONE_IN) == 0 and directory.projects
        project = generator.choice(sorted(directory.projects)) if has_project else ""
        fate = _fate(generator.randrange(PERCENT), shares)
        cancelled_at_percent = generator.randrange(PERCENT)
        abandoned_ttl_s = generator.choice(ABANDONED_TTL_S)
        part = request.output_tokens * cancelled_at_percent // PERCENT
        calls.append(
            Call(
                number=number,
                arrival_us=request.arrival_us,
                spender=spender,
                project=project,
                model=model,
                input_tokens=request.input_tokens,
                output_tokens=request.output_tokens,
                max_output_tokens=estimated_output(request.output_tokens),
                used_output_tokens=part if fate is Fate.CANCELLED else request.output_tokens,
                fate=fate,
                ttl_s=abandoned_ttl_s if fate is Fate.ABANDONED else ttl_s,
            )
        )
    return calls


def _weights(count: int) -> list[int]:
    """Cumulated weights of 1/1, 1/2, 1/3 …"""
    total, result = 0, []
    for rank in range(1, count + 1):
        total += WEIGHT_SCALE // rank
        result.append(total)
    return result


def _fate(drawn: int, shares: Shares) -> Fate:
    if drawn < shares.fail_percent:
        return Fate.FAILS
    if drawn < shares.fail_percent + shares.cancel_percent:
        return Fate.CANCELLED
    if drawn < shares.fail_percent + shares.cancel_percent + shares.abandon_percent:
        return Fate.ABANDONED
    return Fate.COMPLETES


def estimated_output(output_tokens: int) -> int:
    """The next power of two at or above the actual output, at least 256."""
    return max(SMALLEST_ESTIMATE, 1 << (output_tokens - 1).bit_length() if output_tokens else 0)
