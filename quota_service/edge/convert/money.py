"""Requests that change money, and what they are told."""

from __future__ import annotations

from quota.v1 import money_pb2 as pb
from quota.v1 import types_pb2
from quota_service.application.administration.counters import CounterName
from quota_service.application.administration.money_requests import (
    AdjustRequest,
    MoneyResult,
    ReallocateRequest,
)
from quota_service.domain.amounts import WINDOW_LIMIT_MAX, Amounts
from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.edge import names
from quota_service.edge.convert.ledger import ledger_entry
from quota_service.edge.convert.statuses import all_statuses
from quota_service.edge.convert.times import milliseconds


def adjust_request_of(message: pb.AdjustBudgetRequest, actor: str) -> AdjustRequest:
    """Raises NameMalformed, and InvalidRequest for amounts that change nothing or too much."""
    organization, budget = names.parse(message.name, names.BUDGETS, "name")
    return AdjustRequest(
        organization=organization,
        counter=CounterName(budget, message.each_value),
        amounts=_amounts_of(message.amounts, -WINDOW_LIMIT_MAX),
        until_ms=milliseconds(message.until) if message.HasField("until") else None,
        reason=message.reason,
        request_id=message.request_id,
        actor=actor,
    )


def reallocate_request_of(message: pb.ReallocateBudgetRequest, actor: str) -> ReallocateRequest:
    """Raises NameMalformed, and InvalidRequest for amounts that move nothing, another organization's
    destination, and one that is the source.
    """
    organization, source = names.parse(message.source, names.BUDGETS, "source")
    other, destination = names.parse(message.destination, names.BUDGETS, "destination")
    if other != organization:
        raise InvalidRequest(
            FieldProblem("destination", "is of another organization: money moves only within one")
        )
    if (destination, message.destination_each_value) == (source, message.source_each_value):
        raise InvalidRequest(FieldProblem("destination", "is the source: nothing would be moved"))
    return ReallocateRequest(
        organization=organization,
        source=CounterName(source, message.source_each_value, "source_each_value"),
        destination=CounterName(destination, message.destination_each_value, "destination_each_value"),
        amounts=_amounts_of(message.amounts, 1),
        reason=message.reason,
        request_id=message.request_id,
        actor=actor,
    )


def adjust_response(result: MoneyResult) -> pb.AdjustBudgetResponse:
    [statuses] = result.statuses
    return pb.AdjustBudgetResponse(
        entry=ledger_entry(result.organization, result.row),
        statuses=all_statuses(result.organization, statuses),
        replayed=result.replayed,
    )


def reallocate_response(result: MoneyResult) -> pb.ReallocateBudgetResponse:
    source, destination = result.statuses
    return pb.ReallocateBudgetResponse(
        entry=ledger_entry(result.organization, result.row),
        source_statuses=all_statuses(result.organization, source),
        destination_statuses=all_statuses(result.organization, destination),
        replayed=result.replayed,
    )


def _amounts_of(message: types_pb2.Amounts, least: int) -> Amounts:
    """Amounts that change a limit: what is set is not 0. These rules are not those of other amounts."""
    given = {field.name: amount for field, amount in message.ListFields()}
    if not given:
        raise InvalidRequest(FieldProblem("amounts", "set at least one of cost_micros, tokens and requests"))
    wrong = [name for name, amount in given.items() if not least <= amount <= WINDOW_LIMIT_MAX or not amount]
    if wrong:
        rule = f"must be {least:,} to {WINDOW_LIMIT_MAX:,}{' and not 0' if least < 0 else ''}"
        raise InvalidRequest(*(FieldProblem(f"amounts.{name}", rule) for name in wrong))
    return Amounts(**given)
