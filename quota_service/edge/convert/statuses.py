"""Where budgets stand: on the hot path, once per matching budget and meter."""

from __future__ import annotations

from functools import lru_cache

from quota.v1 import types_pb2
from quota_service.application.statuses import Status
from quota_service.domain.commands import Counters, Term
from quota_service.edge.convert.times import border


def budget_statuses(organization: str, status: Status, blocks: bool) -> list[types_pb2.BudgetStatus]:
    """One message per limited meter, in the order of the meters.

    `blocks`: the budget can block this model, so that there is a ceiling to tell.
    """
    counters = status.counters
    return [
        _filled(fixed, meter, counters) for meter, fixed in _fixed_parts(organization, status.term, blocks)
    ]


def _filled(fixed: types_pb2.BudgetStatus, meter: int, counters: Counters) -> types_pb2.BudgetStatus:
    """The message with what changes from call to call."""
    spent, held = counters.spent[meter], counters.held[meter]
    message = types_pb2.BudgetStatus()
    message.CopyFrom(fixed)
    message.spent = spent
    message.held = held
    message.remaining = fixed.limit - spent - held
    message.overrun = counters.overrun[meter]
    message.would_have_blocked_requests = counters.blocked_requests[meter]
    message.would_have_blocked = counters.blocked[meter]
    return message


@lru_cache(maxsize=4_096)
def _fixed_parts(
    organization: str, term: Term, blocks: bool
) -> tuple[tuple[int, types_pb2.BudgetStatus], ...]:
    """Each limited meter with what all its statuses say: copying that is far cheaper than making it."""
    window, ceilings = term.window, term.ceilings
    source = f"organizations/{organization}/budgets/{window.budget}"
    start, end = border(window.start_ms), border(window.end_ms)
    return tuple(
        (
            meter,
            types_pb2.BudgetStatus(
                source=source,
                each_value=window.each_value,
                mode=term.mode,  # type: ignore[arg-type]  # the domain's modes have the contract's numbers
                meter=meter + 1,  # type: ignore[arg-type]  # and its meters begin at 0
                limit=limit,
                ceiling=ceilings[meter] if blocks else None,
                window_start=start,
                reset_time=end,
            ),
        )
        for meter, limit in enumerate(term.limits)
        if limit is not None
    )
