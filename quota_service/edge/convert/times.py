"""Instants and durations. The domain counts milliseconds since 1970 UTC."""

from __future__ import annotations

from functools import lru_cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(instant_ms: int) -> Timestamp:
    """An instant as a message."""
    return Timestamp(seconds=instant_ms // 1000, nanos=instant_ms % 1000 * 1_000_000)


def fill_timestamp(message: Timestamp, instant_ms: int) -> None:
    """Writes an instant into a message that is part of another."""
    message.seconds = instant_ms // 1000
    message.nanos = instant_ms % 1000 * 1_000_000


@lru_cache(maxsize=4_096)
def border(instant_ms: int | None) -> Timestamp | None:
    """The border of a window as a message that all answers share: do not change it. `None` stays `None`.

    Windows have few borders, and every status of every answer tells two of them.
    """
    return None if instant_ms is None else timestamp(instant_ms)


def milliseconds(instant: Timestamp) -> int:
    """An instant in milliseconds; what is finer is dropped."""
    return instant.seconds * 1000 + instant.nanos // 1_000_000


def duration(length_ms: int) -> Duration:
    """A length of time as a message."""
    return Duration(seconds=length_ms // 1000, nanos=length_ms % 1000 * 1_000_000)


def duration_ms(length: Duration) -> int:
    """A length of time in milliseconds; what is finer is dropped."""
    return length.seconds * 1000 + length.nanos // 1_000_000
