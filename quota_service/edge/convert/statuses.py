"""Where budgets stand: on the hot path, once per matching budget and meter."""

from __future__ import annotations

from quota.v1 import types_pb2
from quota_service.application.statuses import Status
from quota_service.edge.convert.times import border


def budget_statuses(organization: str, status: Status, blocks: bool) -> list[types_pb2.BudgetStatus]:
    """One message per limited meter, in the order of the meters.

    `blocks`: the budget can block this model, so that there is a ceiling to tell.
    """
    term, counters = status.term, status.counters
    window, limits, ceilings = term.window, term.limits, term.ceilings
    source = f"organizations/{organization}/budgets/{window.budget}"
    start, end = border(window.start_ms), border(window.end_ms)
    return [
        types_pb2.BudgetStatus(
            source=source,
            each_value=window.each_value,
            mode=term.mode,  # type: ignore[arg-type]  # the domain's modes have the contract's numbers
            meter=meter + 1,  # type: ignore[arg-type]  # and its meters begin at 0
            limit=limit,
            spent=counters.spent[meter],
            held=counters.held[meter],
            remaining=limit - counters.spent[meter] - counters.held[meter],
            ceiling=ceilings[meter] if blocks else None,
            overrun=counters.overrun[meter],
            would_have_blocked_requests=counters.blocked_requests[meter],
            would_have_blocked=counters.blocked[meter],
            window_start=start,
            reset_time=end,
        )
        for meter, limit in enumerate(limits)
        if limit is not None
    ]
