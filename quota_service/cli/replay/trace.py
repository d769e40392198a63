"""Reading a trace: when each request came, how many tokens went in, how many came out."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from quota_service.cli.failures import CommandError, ExitCode

HEADER = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
LARGEST_TOKENS = 1_000_000_000
GZIP_MAGIC = b"\x1f\x8b"
MICROSECOND_DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """One request of a trace. `arrival_us` counts from the first request."""

    line: int
    arrival_us: int
    input_tokens: int
    output_tokens: int


def read_trace(path: Path, *, requests: int | None = None) -> list[TraceRequest]:
    """The first `requests` requests of a CSV, plain or compressed. Raises `CommandError` with the line."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data).decode("utf-8-sig")
    except FileNotFoundError:
        raise CommandError(f"there is no file {path}", code=ExitCode.NOT_FOUND) from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}") from None
    result: list[TraceRequest] = []
    for request in _requests(path, text):
        result.append(request)
        if len(result) == requests:
            break
    if not result:
        raise CommandError(f"{path} has no requests")
    return result


def _requests(path: Path, text: str) -> Iterator[TraceRequest]:
    rows = csv.reader(io.StringIO(text))
    if next(rows, []) != HEADER:
        raise CommandError(f"{path}:1: the first line must be {','.join(HEADER)}")
    first: datetime | None = None
    for row in rows:
        if not row:
            continue
        try:
            moment, input_tokens, output_tokens = _parse(row)
        except ValueError as error:
            raise CommandError(f"{path}:{rows.line_num}: {error}") from None
        first = first or moment
        yield TraceRequest(
            line=rows.line_num,
            # A trace that goes back in time for a moment is sent without waiting.
            arrival_us=max(0, (moment - first) // timedelta(microseconds=1)),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )


def _parse(row: list[str]) -> tuple[datetime, int, int]:
    if len(row) != len(HEADER):
        raise ValueError(f"has {len(row)} columns, not {len(HEADER)}")
    return _moment(row[0]), _tokens(HEADER[1], row[1]), _tokens(HEADER[2], row[2])


def _moment(written: str) -> datetime:
    # The trace has seven decimals, one more than Python's clock.
    whole, _, decimals = written.partition(".")
    try:
        return datetime.fromisoformat(f"{whole}.{decimals[:MICROSECOND_DIGITS]:0<6}")
    except ValueError:
        raise ValueError(f"TIMESTAMP {written!r} is not a time such as 2023-11-16 18:15:46.68") from None


def _tokens(column: str, written: str) -> int:
    if not written.isascii() or not written.isdigit() or int(written[:12]) > LARGEST_TOKENS:
        raise ValueError(f"{column} {written!r} is not a number between 0 and {LARGEST_TOKENS:,}")
    return int(written)
