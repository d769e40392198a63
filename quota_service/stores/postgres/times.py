"""Milliseconds since 1970 UTC, as the domain counts, and PostgreSQL's timestamps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MICROSECOND = timedelta(microseconds=1)


def to_time(instant_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=instant_ms)


def to_ms(time: datetime) -> int:
    """Rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def to_us(time: datetime) -> int:
    """Microseconds: exactly what PostgreSQL keeps."""
    return (time - _EPOCH) // _MICROSECOND
