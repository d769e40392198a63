"""The report of a replay: one document, printed as JSON or for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import click

from quota_service.cli import output
from quota_service.cli.replay.checks import Check
from quota_service.cli.replay.outcomes import Outcomes, percentile_ns
from quota_service.cli.replay.plan import Fate
from quota_service.cli.units import usd

NOBODY = "(no team)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything there is to tell about a run."""

    run_id: str
    trace: str
    seed: int
    requests: int
    elapsed_ms: int
    outcomes: Outcomes
    checks: Sequence[Check]
    cost_centers: Mapping[str, str]

    @property
    def passed(self) -> bool:
        """All checks hold, and every call was answered as it should."""
        return all(check.passed for check in self.checks) and not self.outcomes.errors

    @property
    def requests_per_second(self) -> int:
        return self.requests * 1000 // max(self.elapsed_ms, 1)

    @property
    def hold_use_percent(self) -> int:
        """How much of the money that committed calls held was used, overruns left out."""
        used = self.outcomes.charged_micros - self.outcomes.overrun_micros
        return used * 100 // max(self.outcomes.held_micros, 1)


def as_json(report: Report) -> dict[str, object]:
    """The report as one document: money in micro-USD, times in microseconds, as texts like all int64."""
    sums = report.outcomes
    return {
        "runId": report.run_id,
        "trace": report.trace,
        "seed": report.seed,
        "requests": report.requests,
        "elapsedMs": report.elapsed_ms,
        "requestsPerSecond": report.requests_per_second,
        "granted": sums.granted,
        "fates": {fate.value: sums.fates[fate] for fate in Fate},
        "denied": sums.denied,
        "denials": [{**denial._asdict(), "requests": count} for denial, count in sums.denials.most_common()],
        "denialsNotNeeded": sums.not_needed,
        "spent": [
            {
                "team": team,
                "costCenter": report.cost_centers.get(team, ""),
                "costMicros": str(micros),
                "requests": sums.requests_by_team[team],
            }
            for team, micros in sums.spent_by_team.most_common()
        ],
        "chargedMicros": str(sums.charged_micros),
        "overrunMicros": str(sums.overrun_micros),
        "heldMicros": str(sums.held_micros),
        "stillHeldMicros": str(sums.still_held_micros),
        "holdUsePercent": report.hold_use_percent,
        "latencyMicroseconds": {
            name: {f"p{percent}": str(percentile_ns(values, percent) // 1000) for percent in (50, 99)}
            for name, values in (
                ("authorize", sorted(sums.authorize_ns)),
                ("commit", sorted(sums.commit_ns)),
            )
        },
        "late": sums.late,
        "buffered": sums.buffered,
        "retries": sums.retries,
        "errors": dict(sums.errors),
        "checks": [
            {
                "name": check.name,
                "passed": check.passed,
                "examined": check.examined,
                "contradictions": list(check.contradictions),
            }
            for check in report.checks
        ],
        "passed": report.passed,
    }


def print_report(report: Report) -> None:
    """Prints the report for a person."""
    _print_decisions(report)
    _print_denials(report)
    _print_spend(report)
    _print_money(report)
    _print_latencies(report)
    _print_checks(report)


def _print_decisions(report: Report) -> None:
    sums = report.outcomes
    click.echo(
        f"{report.requests:,} requests of {report.trace}, seed {report.seed},"
        f" in {_seconds(report.elapsed_ms)}"
        f" ({report.requests_per_second:,}/s)"
    )
    fates = ", ".join(f"{sums.fates[fate]:,} {_FATES[fate]}" for fate in Fate if sums.fates[fate])
    click.echo(f"granted  {sums.granted:,}" + (f" ({fates})" if fates else ""))
    click.echo(f"denied   {sums.denied:,}")
    for error, count in sums.errors.most_common():
        click.echo(f"error    {count:,} × {error}")


_FATES = {
    Fate.COMPLETES: "completed",
    Fate.FAILS: "failed and released",
    Fate.CANCELLED: "cancelled and charged in part",
    Fate.ABANDONED: "never committed",
}


def _print_denials(report: Report) -> None:
    sums = report.outcomes
    if not sums.denied:
        return
    table = output.table("denied by", "value", "meter", "because", "requests", right=["requests"])
    for denial, count in sums.denials.most_common(20):
        table.add_row(
            _limit_name(denial.source),
            denial.each_value,
            denial.meter.lower() if denial.meter != "UNSPECIFIED" else "",
            denial.reason.lower().replace("_", " "),
            f"{count:,}",
        )
    output.print_table(table)
    if sums.asked_again:
        click.echo(
            f"{sums.not_needed:,} of {output.counted(sums.asked_again, 'denial')} by budgets were due to"
            " the size of the hold: the actual usage would have fitted at that moment"
        )


def _limit_name(source: str) -> str:
    """A budget's id; for other things also what they are, such as `users/ada`."""
    collection, identifier = ["", "", *source.split("/")][-2:]
    return identifier if collection == "budgets" else f"{collection}/{identifier}".strip("/")


def _print_spend(report: Report) -> None:
    sums = report.outcomes
    table = output.table("department", "cost center", "commits", "spent", right=["commits", "spent"])
    for team, micros in sums.spent_by_team.most_common():
        center = report.cost_centers.get(team, "")
        table.add_row(team or NOBODY, center, f"{sums.requests_by_team[team]:,}", usd(micros))
    table.add_section()
    table.add_row("all", "", f"{sum(sums.requests_by_team.values()):,}", usd(sums.charged_micros))
    output.print_table(table)


def _print_money(report: Report) -> None:
    sums = report.outcomes
    click.echo(
        f"used of what was held: {report.hold_use_percent} %"
        f" ({usd(sums.charged_micros)} of {usd(sums.held_micros)}; overruns {usd(sums.overrun_micros)})"
    )
    click.echo(f"still held at the end of the run: {usd(sums.still_held_micros)} (until it expired)")


def _print_latencies(report: Report) -> None:
    sums = report.outcomes
    table = output.table("latency", "calls", "p50", "p99", right=["calls", "p50", "p99"])
    for name, values in (("Authorize", sums.authorize_ns), ("Commit", sums.commit_ns)):
        ordered = sorted(values)
        quantiles = (_milliseconds(percentile_ns(ordered, percent)) for percent in (50, 99))
        table.add_row(name, f"{len(ordered):,}", *quantiles)
    output.print_table(table)
    if sums.retries:
        click.echo(f"{sums.retries:,} calls were repeated because the server was unavailable")


def _print_checks(report: Report) -> None:
    for check in report.checks:
        mark = (
            output.styled("ok  ", fg="green") if check.passed else output.styled("FAIL", fg="red", bold=True)
        )
        click.echo(f"{mark} {check.name} ({check.examined})")
        for contradiction in check.contradictions:
            click.echo(f"     {contradiction}")


def _milliseconds(nanoseconds: int) -> str:
    return f"{nanoseconds // 1_000_000}.{nanoseconds // 10_000 % 100:02d} ms"


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds // 100 % 10} s"
