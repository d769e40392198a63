"""The ladder of a budget: what happens at which percentage of its limit."""

from __future__ import annotations

from itertools import pairwise

from quota.v1 import budget_pb2, types_pb2
from quota_service.cli.files.directory import Declarations
from quota_service.cli.files.fields import text, whole
from quota_service.cli.files.reading import Value
from quota_service.cli.files.state import Kind
from quota_service.cli.units import parse_count

LARGEST_PERCENT = 1_000
LARGEST_TIER = 1_000

_ACTIONS = {
    "notify": ("at", "do"),
    "restrict": ("at", "do", "max_tier"),
    "downgrade": ("at", "do", "provider", "model"),
    "block": ("at", "do"),
}


def read_ladder(
    value: Value, mode: types_pb2.Mode.ValueType, into: Declarations
) -> list[budget_pb2.LadderStep]:
    """A list of steps such as `{at: 80, do: notify}`, in ascending order."""
    entries = value.items()
    steps = [_step(entry, into) for entry in entries]
    for (_, before), (entry, step) in pairwise(zip(entries, steps, strict=True)):
        if step.at_percent < before.at_percent:
            entry.problem(f"{step.at_percent} % stands after {before.at_percent} %: steps go upwards")
    blocks = any(step.WhichOneof("action") == "block" for step in steps)
    if steps and mode == types_pb2.MODE_HARD and not blocks:
        value.problem("a hard budget needs a step that blocks; add `- {at: 100, do: block}`, or make it soft")
    return steps


def _step(value: Value, into: Declarations) -> budget_pb2.LadderStep:
    entries = value.entries()
    action = entries["do"].choice(_ACTIONS) if "do" in entries else ""
    fields = value.fields(*_ACTIONS.get(action, ("at", "do", "max_tier", "provider", "model")))
    step = budget_pb2.LadderStep()
    for required in _ACTIONS.get(action, ("at", "do")):
        if required not in fields and value.is_mapping:
            value.problem(f"needs {required!r}, as in {{at: 80, do: notify}}")
    if "at" in fields:
        step.at_percent = fields["at"].parsed(parse_percent, 1)
    if action == "notify":
        step.notify.SetInParent()
    elif action == "block":
        step.block.SetInParent()
    elif action == "restrict":
        step.restrict.max_tier = whole(fields, "max_tier", largest=LARGEST_TIER)
    elif action == "downgrade":
        step.downgrade.provider = text(fields, "provider")
        step.downgrade.model = text(fields, "model")
        if "model" in fields:
            into.refer(fields["model"], (Kind.MODEL, f"{step.downgrade.provider}/{step.downgrade.model}"))
    return step


def parse_percent(written: str) -> int:
    """A whole percentage, with or without its sign. Raises `ValueError`."""
    percent = parse_count(written.removesuffix("%").rstrip())
    if not 1 <= percent <= LARGEST_PERCENT:
        raise ValueError(f"{written} is not between 1 and {LARGEST_PERCENT:,} percent")
    return percent
