"""Readers that several sections of a file share."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import types_pb2
from quota_service.cli.failures import closest
from quota_service.cli.files.reading import Value
from quota_service.cli.units import parse_count, parse_usd

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+|:-]{0,127}")

Fields = Mapping[str, Value]


def text(fields: Fields, key: str) -> str:
    """A text, empty where it is left out."""
    return fields[key].text() if key in fields else ""


def texts(fields: Fields, key: str) -> list[Value]:
    """A list, empty where it is left out."""
    return fields[key].items() if key in fields else []


def parse_flag(written: str) -> bool:
    """`true` or `false`. Raises `ValueError`."""
    if written not in ("true", "false"):
        raise ValueError(f"{written!r} is neither true nor false")
    return written == "true"


def flag(fields: Fields, key: str) -> bool:
    """A yes or no; no where it is left out."""
    return fields[key].parsed(parse_flag, False) if key in fields else False


def whole(fields: Fields, key: str, *, smallest: int = 0, largest: int) -> int:
    """A whole number within bounds, 0 where it is left out."""
    if key not in fields:
        return 0
    return fields[key].parsed(partial(_bounded, smallest=smallest, largest=largest), smallest)


def _bounded(written: str, *, smallest: int, largest: int) -> int:
    number = parse_count(written)
    if not smallest <= number <= largest:
        raise ValueError(f"{written} is not between {smallest:,} and {largest:,}")
    return number


def parse_id(written: str) -> str:
    """An id as the API accepts it. Raises `ValueError`."""
    if not _ID.fullmatch(written):
        raise ValueError(
            f"{written!r} is no id: 1–128 letters, digits and ._@+|:- beginning with a letter or digit"
        )
    return written


def parse_zone(written: str) -> str:
    """A time zone of the IANA database. Raises `ValueError`."""
    if written not in zoneinfo.available_timezones():
        match = closest(written, zoneinfo.available_timezones())
        hint = f"; did you mean {match!r}?" if match else " such as Europe/Berlin"
        raise ValueError(f"{written!r} is not a time zone of the IANA database{hint}")
    return written


def time_zone(fields: Fields) -> str:
    """The time zone, empty where it is left out."""
    return fields["time_zone"].parsed(parse_zone, "") if "time_zone" in fields else ""


def amounts(value: Value) -> types_pb2.Amounts:
    """Limits such as `{usd: 2000, tokens: 5000000, requests: 100}`."""
    result = types_pb2.Amounts()
    fields = value.fields("usd", "tokens", "requests")
    if "usd" in fields:
        result.cost_micros = fields["usd"].parsed(parse_usd, 0)
    if "tokens" in fields:
        result.tokens = fields["tokens"].parsed(parse_count, 0)
    if "requests" in fields:
        result.requests = fields["requests"].parsed(parse_count, 0)
    if not fields and not value.problems.errors:
        value.problem("needs at least one of usd, tokens, requests")
    return result


def usd_amount(value: Value) -> int:
    """Money such as `{usd: 25}`, in micro-USD."""
    fields = value.fields("usd")
    if "usd" in fields:
        return fields["usd"].parsed(parse_usd, 0)
    if not value.problems.errors:
        value.problem("needs an amount such as {usd: 25}")
    return 0


def instant_reader(zone: str) -> Callable[[str], Timestamp]:
    """Reads a date (midnight in `zone`; refused where that is empty) or a time with its offset."""
    return partial(_instant, zone=zone)


def _instant(written: str, *, zone: str) -> Timestamp:
    try:
        moment = datetime.combine(date.fromisoformat(written), time())
    except ValueError:
        return _exact_instant(written)
    if not zone:
        raise ValueError(
            f"{written} is a date, and the file does not say in which time zone: write {written}T00:00:00Z"
        )
    return _timestamp(moment.replace(tzinfo=zoneinfo.ZoneInfo(zone)))


def _exact_instant(written: str) -> Timestamp:
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{written!r} is neither a date nor a time such as 2026-12-31T18:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{written} has no time zone: write {written}Z or an offset such as +01:00")
    return _timestamp(moment)


def _timestamp(moment: datetime) -> Timestamp:
    result = Timestamp()
    result.FromDatetime(moment.astimezone(UTC))
    return result
