"""The summary of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.faults import FAULTS
from tests.chaos.overshoot import Cause
from tests.chaos.run import Result

SHOWN = 25


def table(result: Result) -> str:
    """For a terminal."""
    return "\n".join(_lines(result))


def document(result: Result) -> dict[str, Any]:
    """For a machine."""
    journal, verdict = result.journal, result.verdict
    return {
        "seed": result.plan.seed,
        "took_s": round(result.took_s, 1),
        "faults": {kind: result.injected[kind] for kind in FAULTS if result.injected[kind]},
        "replies_swallowed": result.lost_replies,
        "valkey_lost_data": len(journal.losses),
        "answers": {
            f"{verb}: {answer}": number for (verb, answer), number in sorted(journal.answers.items())
        },
        "attempts": dict(sorted(journal.attempts.items())),
        "repeats": dict(sorted(journal.repeats.items())),
        "audit": dict(sorted(verdict.counts.items())),
        "drift": {
            f"{w.organization} {w.budget}[{w.each_value}]": tuple(d) for w, d in sorted(verdict.drift.items())
        },
        "overshoot": _by_cause(result),
        "broken": [f"{finding.guarantee}: {finding.text}" for finding in verdict.findings],
    }


def _lines(result: Result) -> Iterator[str]:
    found = document(result)
    yield ""
    yield f"seed {found['seed']}, {found['took_s']} s"
    for title, rows in (
        ("faults", found["faults"]),
        ("answers", found["answers"]),
        ("attempts", found["attempts"]),
        ("same request again, compared", found["repeats"]),
        ("audit", found["audit"]),
        ("drift by budget", found["drift"]),
        ("overshoot of hard budgets by cause", found["overshoot"]),
    ):
        yield ""
        yield title
        yield from (f"  {name:<62} {value!s:>10}" for name, value in rows.items())
        if not rows:
            yield "  none"
    yield ""
    yield f"replies swallowed: {found['replies_swallowed']}"
    yield f"Valkey lost data: {found['valkey_lost_data']} times"
    yield from _verdict(result)


def _by_cause(result: Result) -> dict[str, int]:
    """Micro-USD, by cause. What a window is over by may be less than what its causes account for."""
    over = [each for each in result.verdict.overshoots if each.title.endswith("(micros)")]
    items = Counter[Cause]()
    for each in over:
        items.update(each.items)
    if not over:
        return {}
    return {
        "windows over": len(over),
        "over by": sum(each.over for each in over),
        **{cause: items[cause] for cause in Cause if items[cause]},
        "unexplained": sum(each.unexplained for each in over),
    }


def _verdict(result: Result) -> Iterator[str]:
    findings = result.verdict.findings
    if not findings:
        yield "every guarantee held"
        return
    by_guarantee = Counter(finding.guarantee for finding in findings)
    yield f"BROKEN: {', '.join(f'{name} {number}×' for name, number in sorted(by_guarantee.items()))}"
    yield from (f"  {finding.guarantee}: {finding.text}" for finding in findings[:SHOWN])
    if len(findings) > SHOWN:
        yield f"  and {len(findings) - SHOWN} more"
    yield f"again: CHAOS_SEED={result.plan.seed}"
