"""Where budgets stand: on the hot path, once per matching budget and meter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from quota.v1 import types_pb2
from quota.v1.quota_pb2 import AuthorizeResponse, CommitResponse
from quota_service.application.statuses import Status
from quota_service.domain.amounts import NOTHING, Limits
from quota_service.domain.budget import Mode
from quota_service.domain.sharing import Shared
from quota_service.domain.terms import Counters, Term
from quota_service.edge.convert.times import border

Answer = TypeVar("Answer", AuthorizeResponse, CommitResponse)


class _Template(NamedTuple):
    """An answer with what all answers say that tell of some terms, serialized: to read that is far cheaper
    than to make its messages one by one. `places`: of each message of a status, the position of its term, the
    meter and the limit.
    """

    raw: bytes
    places: tuple[tuple[int, int, int], ...]


_templates = Shared[_Template]()
"""Of a kind of answer and terms, which calls of a kind share."""


def fill_statuses(answer: Answer, organization: str, statuses: Sequence[Status]) -> None:
    """Gives an empty answer these statuses in `budgets`, as `all_statuses` makes them."""
    kind = type(answer)
    template = _templates.get((id(kind), *[id(status.term) for status in statuses]))
    if template is None:
        told: tuple[Term, ...] = tuple([status.term for status in statuses])
        template = _templates.put((kind, *told), _made(kind, organization, told))
    answer.MergeFromString(template.raw)
    for message, (position, meter, limit) in zip(answer.budgets, template.places, strict=True):
        _tell(message, limit, meter, statuses[position].counters)
    for position, status in enumerate(statuses):
        counters = status.counters
        if counters.added != NOTHING or counters.moved != NOTHING:
            places = zip(answer.budgets, template.places, strict=True)
            own = [message for message, place in places if place[0] == position]
            _change_limits(own, status.term.limits_with(counters), status.term.ceilings_with(counters))


def _made(kind: type[Answer], organization: str, terms: tuple[Term, ...]) -> _Template:
    answer, places = kind(), []
    for position, term in enumerate(terms):
        for meter, fixed in _fixed_parts(organization, term, term.mode is Mode.HARD):
            answer.budgets.append(fixed)
            places.append((position, meter, fixed.limit))
    return _Template(answer.SerializeToString(), tuple(places))


def all_statuses(organization: str, statuses: Sequence[Status]) -> list[types_pb2.BudgetStatus]:
    """In the order given, then by meter, of no model in particular. Only hard budgets block; every one of
    them does somewhere.
    """
    return [
        message
        for status in statuses
        for message in budget_statuses(organization, status, status.term.mode is Mode.HARD)
    ]


def budget_statuses(organization: str, status: Status, blocks: bool) -> list[types_pb2.BudgetStatus]:
    """One message per limited meter, in the order of the meters.

    `blocks`: the budget can block this model, so that there is a ceiling to tell.
    """
    counters, term = status.counters, status.term
    messages = [_filled(fixed, meter, counters) for meter, fixed in _fixed_parts(organization, term, blocks)]
    if counters.change != NOTHING:
        _change_limits(messages, term.limits_with(counters), term.ceilings_with(counters))
    return messages


def _change_limits(messages: Sequence[types_pb2.BudgetStatus], limits: Limits, ceilings: Limits) -> None:
    """Most windows have the budget's own limits; these have been given more, or have given some away."""
    for message in messages:
        meter = message.meter - 1
        limit = limits[meter] or 0
        message.limit, message.remaining = limit, limit - message.spent - message.held
        if message.HasField("ceiling"):
            message.ceiling = ceilings[meter] or 0


def _filled(fixed: types_pb2.BudgetStatus, meter: int, counters: Counters) -> types_pb2.BudgetStatus:
    """The message with what changes from call to call."""
    message = types_pb2.BudgetStatus()
    message.CopyFrom(fixed)
    _tell(message, fixed.limit, meter, counters)
    return message


def _tell(message: types_pb2.BudgetStatus, limit: int, meter: int, counters: Counters) -> None:
    """What is nothing is left as it is."""
    spent, held, _, overrun, blocked_requests, blocked, *_ = counters
    message.remaining = limit - spent[meter] - held[meter]
    if spent[meter]:
        message.spent = spent[meter]
    if held[meter]:
        message.held = held[meter]
    if overrun[meter]:
        message.overrun = overrun[meter]
    if blocked_requests[meter]:
        message.would_have_blocked_requests = blocked_requests[meter]
        message.would_have_blocked = blocked[meter]


@lru_cache(maxsize=4_096)
def _fixed_parts(
    organization: str, term: Term, blocks: bool
) -> tuple[tuple[int, types_pb2.BudgetStatus], ...]:
    """Each limited meter with what all its statuses say: copying that is far cheaper than making it."""
    window, ceilings = term.window, term.limits.scaled(term.percent)
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
