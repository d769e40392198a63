"""Tables of what the API answers, for people."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from quota.v1 import report_pb2, types_pb2
from quota_service.cli import output
from quota_service.cli.units import amount, compact, usd

BAR_CELLS = 12
NEARLY_FULL_PERCENT = 80

METERS = {
    types_pb2.METER_COST: "COST",
    types_pb2.METER_TOKENS: "TOKENS",
    types_pb2.METER_REQUESTS: "REQUESTS",
}
_METER_OF = {"cost_micros": "COST", "tokens": "TOKENS", "requests": "REQUESTS"}
MODES = {types_pb2.MODE_MONITOR: "monitor", types_pb2.MODE_SOFT: "soft", types_pb2.MODE_HARD: "hard"}

Zones = Mapping[str, str]
"""Time zone by a budget's name; the empty name has the organization's."""


def local_time(moment: Timestamp, zone: str, *, form: str = "%Y-%m-%d %H:%M %Z") -> str:
    """An instant in a time zone, such as `2026-12-01 00:00 CET`."""
    try:
        place = zoneinfo.ZoneInfo(zone or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        place = zoneinfo.ZoneInfo("UTC")
    return moment.ToDatetime(tzinfo=UTC).astimezone(place).strftime(form)


def in_words(moment: Timestamp, now: datetime) -> str:
    """How long until an instant, such as `43 s` or `2 h`."""
    seconds = int((moment.ToDatetime(tzinfo=UTC) - now).total_seconds())
    return duration_in_words(seconds) if seconds > 0 else "now"


def duration_in_words(seconds: int) -> str:
    """A duration in the largest unit of which there are at least two, rounded down."""
    length, unit = _unit(seconds)
    return f"{max(seconds // length, 1)} {unit}"


def wait_in_words(wait: Duration) -> str:
    """How long to wait, rounded up: who waits so long does not ask too early."""
    seconds = -(-wait.ToMilliseconds() // 1_000)
    length, unit = _unit(seconds)
    return f"{max(-(-seconds // length), 1)} {unit}"


def _unit(seconds: int) -> tuple[int, str]:
    units = ((86_400, "d"), (3_600, "h"), (60, "min"))
    return next((each for each in units if seconds >= 2 * each[0]), (1, "s"))


def bar(status: types_pb2.BudgetStatus) -> Text:
    """Spent and held as parts of the limit, and the percentage that both are."""
    whole = max(status.limit, 1)
    spent = min(BAR_CELLS, -(-status.spent * BAR_CELLS // whole))
    held = min(BAR_CELLS - spent, -(-status.held * BAR_CELLS // whole))
    percent = (status.spent + status.held) * 100 // whole
    if not status.limit:
        percent = 100
    color = "red" if percent >= 100 else "yellow" if percent >= NEARLY_FULL_PERCENT else "green"
    return Text.assemble(
        ("█" * spent, color),
        ("▒" * held, color),
        ("░" * (BAR_CELLS - spent - held), "bright_black"),
        f" {_percent_text(status, percent):>4}",
        no_wrap=True,
    )


def _percent_text(status: types_pb2.BudgetStatus, percent: int) -> str:
    return "<1%" if percent == 0 and (status.spent or status.held) else f"{percent}%"


def status_table(statuses: Iterable[types_pb2.BudgetStatus], zones: Zones) -> Table:
    """Where budgets stand."""
    columns = ["budget", "█ spent ▒ held", "spent", "held", "remaining", "limit", "mode", "resets"]
    table = output.table(*columns, right=columns[2:6], whole=columns[:2])
    for status in statuses:
        meter = METERS.get(status.meter, "")
        name = output.short_id(status.source)
        table.add_row(
            f"{name} [{status.each_value}]" if status.each_value else name,
            bar(status),
            *(amount(meter, value) for value in (status.spent, status.held, status.remaining)),
            amount_of(meter, status.limit),
            MODES.get(status.mode, ""),
            resets(status, zones),
        )
    return table


def amount_of(meter: str, value: int) -> str:
    """An amount with the unit of its meter."""
    units = {"TOKENS": " tok", "REQUESTS": " req"}
    return f"{amount(meter, value)}{units.get(meter, '')}"


def resets(status: types_pb2.BudgetStatus, zones: Zones) -> str:
    """When a window ends, in the budget's time zone."""
    if not status.HasField("reset_time"):
        return "never"
    zone = zones.get(status.source) or zones.get("", "")
    return local_time(status.reset_time, zone, form="%b %d %H:%M %Z")


def would_have_blocked(statuses: Iterable[types_pb2.BudgetStatus]) -> list[str]:
    """What MONITOR and SOFT budgets would have blocked, in sentences."""
    return [
        f"{output.short_id(status.source)} ({MODES.get(status.mode, '')}) would have blocked "
        f"{status.would_have_blocked_requests:,} request{_plural(status.would_have_blocked_requests)}, "
        f"{amount_of(METERS.get(status.meter, ''), status.would_have_blocked)}"
        for status in statuses
        if status.would_have_blocked_requests
    ]


def _plural(number: int) -> str:
    return "" if number == 1 else "s"


def amounts_text(amounts: types_pb2.Amounts) -> str:
    """Amounts in one line, such as `$0.0042, 1,550 tok`."""
    parts = []
    if amounts.HasField("cost_micros"):
        parts.append(usd(amounts.cost_micros))
    if amounts.HasField("tokens"):
        parts.append(f"{compact(amounts.tokens)} tok")
    if amounts.HasField("requests"):
        parts.append(f"{compact(amounts.requests)} req")
    return ", ".join(parts) or "nothing"


def limit_change_text(window: report_pb2.WindowCharge, zones: Zones) -> str:
    """How a ledger entry changed a window's limit, such as `finance [ada] +$50.00`."""
    value = f" [{window.each_value}]" if window.each_value else ""
    parts = {
        field.name: f"{'+' if change > 0 else ''}{amount(_METER_OF[field.name], change)}"
        for field, change in window.limit_change.ListFields()
        if change
    }
    zone = zones.get(window.source, zones.get("", ""))
    end = window.limit_change_end_time
    until = f" until {local_time(end, zone)}" if window.HasField("limit_change_end_time") else ""
    units = {"tokens": " tok", "requests": " req"}
    changes = ", ".join(f"{text}{units.get(name, '')}" for name, text in parts.items())
    return f"{output.short_id(window.source)}{value} {changes}{until}"


def spender_text(subject: types_pb2.Subject) -> str:
    """Who spends, as short as it can be told apart: `engineering/ada`."""
    return "/".join(filter(None, (subject.team, subject.user or subject.api_key))) or "nobody in particular"


def subject_text(subject: types_pb2.Subject) -> str:
    """Who spends, in one line."""
    parts = {
        "team": subject.team,
        "user": subject.user,
        "key": subject.api_key,
        "project": subject.project,
        **{f"tag {name}": value for name, value in sorted(subject.tags.items())},
    }
    return ", ".join(f"{part} {value}" for part, value in parts.items() if value) or "nobody in particular"
