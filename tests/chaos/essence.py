"""What of an answer must be the same when the same request is made again."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from quota.v1 import quota_pb2, report_pb2, types_pb2
from tests.chaos.scene import Spent


def spent(amounts: types_pb2.Amounts) -> Spent:
    """The amounts of a message; what is unset is nothing."""
    return Spent(amounts.cost_micros, amounts.tokens, amounts.requests)


def essence(request: Message, answer: Any) -> str:
    """The answer without what may differ: whether it is a replay, and where budgets stand by now.

    A Commit in part says what it charged, which is nothing where it is repeated.
    """
    match answer:
        case quota_pb2.AuthorizeResponse():
            held = answer.reservation
            return _text(
                "degraded" * held.degraded,
                held.name,
                held.model,
                answer.granted_output_tokens,
                held.create_time.ToNanoseconds(),
            )
        case quota_pb2.ExtendResponse():
            return _text(answer.decision, answer.reservation.name)
        case quota_pb2.CommitResponse() if getattr(request, "keep_open", False):
            return _text("part", answer.reservation.name)
        case quota_pb2.CommitResponse():
            amounts = (answer.charged, answer.returned, answer.overrun, answer.reservation.committed)
            return _text(*map(spent, amounts), answer.late, answer.reservation.state)
        case quota_pb2.ReleaseResponse():
            ended = answer.reservation
            return _text(ended.name, ended.state, spent(ended.committed))
        case quota_pb2.RecordResponse():
            entry = answer.entry
            return _text(entry.exact_cost_usd, spent(entry.charged), *_windows(entry))
        case _:  # a change of money
            return _text(answer.entry.name, answer.entry.reason, *_windows(answer.entry))


def _windows(entry: report_pb2.LedgerEntry) -> list[str]:
    return sorted(
        _text(f"{window.source}[{window.each_value}]", spent(window.charged), spent(window.limit_change))
        for window in entry.windows
    )


def _text(*parts: object) -> str:
    return " ".join(str(tuple(part)) if isinstance(part, Spent) else str(part) for part in parts)
