"""Finds the live windows of counters whose limits somebody wants to change, and asks about them until the
answer rests on the current configuration.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from quota_service.application.configurations import Configurations
from quota_service.application.opening import Openings
from quota_service.application.plans import Plans
from quota_service.application.ports import HoldStore
from quota_service.application.statuses import ATTEMPTS, Status
from quota_service.application.terms import Bounds, term_of
from quota_service.domain.amounts import Amounts, Meter
from quota_service.domain.budget import Budget
from quota_service.domain.commands import Conflict, Inspect, Inspected, OutsideBasis, Stale, Unopened
from quota_service.domain.configuration import Configuration
from quota_service.domain.errors import (
    BudgetDisabled,
    BudgetNotFound,
    FieldProblem,
    InvalidRequest,
    NoLiveWindow,
    QuotaError,
    ReferenceUnknown,
    StoreUnavailable,
    WindowsDiffer,
)
from quota_service.domain.faults import did_you_mean
from quota_service.domain.limit_changes import Changed, OutOfRange, Short
from quota_service.domain.reservation import WindowRef
from quota_service.domain.schedule import pause_of, window_of
from quota_service.domain.sight import Sight
from quota_service.domain.subject import Dimension
from quota_service.domain.terms import Basis, Counters, Term

Decided = Changed | Short | OutOfRange | Conflict | Inspected
"""Answers that rest on the current configuration and on open windows."""

Undecided = Stale | OutsideBasis | Unopened
"""Answers that ask for another attempt."""

Question = Callable[[Basis, Sequence[Term]], Awaitable[Decided | Undecided]]


class CounterName(NamedTuple):
    """One budget's counter for one value of its `each` dimension. `field` is what the request calls the
    value.
    """

    budget: str
    each_value: str
    field: str = "each_value"


class Found(NamedTuple):
    """A counter's budget, and its term in the live window."""

    budget: Budget
    term: Term

    def standing(self, counters: Counters) -> Status:
        return Status(self.budget, self.term, counters)


class LiveCounters:
    """Asks the deciding store about live windows."""

    def __init__(self, configurations: Configurations, holds: HoldStore, openings: Openings) -> None:
        self._configurations = configurations
        self._holds = holds
        self._openings = openings

    async def ask(
        self, organization: str, names: Sequence[CounterName], amounts: Amounts, question: Question
    ) -> tuple[Sequence[Found], Decided]:
        """The counters, in the order of their names, and the answer to the question about their terms.

        Raises BudgetNotFound, InvalidRequest for a meter of the amounts that a budget does not limit or a
        value that it does not have, BudgetDisabled, NoLiveWindow, WindowsDiffer, StoreUnavailable.
        """
        plans = await self._configurations.get(organization)
        for _ in range(ATTEMPTS):
            bounds, found = Bounds(), list[Found]()
            answer: Decided | Undecided
            try:
                found += _found(plans.configuration, names, amounts, self._holds.now_ms(), bounds)
                answer = await question(_basis(plans, bounds), [each.term for each in found])
            except QuotaError as error:
                answer = await self._proven(_basis(plans, bounds), error)
            match answer:
                case Stale(version=version):
                    plans = await self._configurations.at_least(organization, version)
                case OutsideBasis():
                    pass
                case Unopened():
                    await self._openings.open(plans, [each.term for each in found])
                case _:
                    return found, answer
        raise StoreUnavailable("The configuration changes faster than a limit can be changed.")

    async def _proven(self, basis: Basis, error: QuotaError) -> Stale | OutsideBasis:
        """Raises the error if what it comes from is current."""
        if isinstance(error, StoreUnavailable):
            raise error
        current = await self._holds.inspect(Inspect(basis=basis))
        if isinstance(current, (Stale, OutsideBasis)):
            return current
        raise error


def require_in_sight(sight: Sight, names: Sequence[CounterName]) -> None:
    """Raises as `ask` would if there were nothing but what is in sight: no other value is accepted, or hinted
    at.
    """
    if sight.only is not None:
        for name in names:
            _budget(sight.only, name)


def _basis(plans: Plans, bounds: Bounds) -> Basis:
    configuration = plans.configuration
    return Basis(
        organization=configuration.organization.id,
        version=configuration.version,
        from_ms=bounds.from_ms,
        until_ms=bounds.until_ms,
    )


def _found(
    configuration: Configuration,
    names: Sequence[CounterName],
    amounts: Amounts,
    now_ms: int,
    bounds: Bounds,
) -> Sequence[Found]:
    budgets = [_budget(configuration, name) for name in names]
    found = [
        Found(budget, term_of(budget, _window(budget, name, now_ms, bounds), None, now_ms, bounds))
        for budget, name in zip(budgets, names, strict=True)
    ]
    _require_limits(found, amounts)
    if len({(term.window.start_ms, term.window.end_ms) for _, term in found}) > 1:
        raise WindowsDiffer(
            "The live windows of both budgets must begin and end together: money moves within one window."
        )
    return found


def _budget(configuration: Configuration, name: CounterName) -> Budget:
    budget = configuration.budgets.get(name.budget)
    if budget is None:
        raise BudgetNotFound(
            f"There is no budget “{name.budget}” in organization “{configuration.organization.id}”."
        )
    if name.each_value and budget.scope.each is None:
        raise InvalidRequest(
            FieldProblem(name.field, f"budget “{name.budget}” has one counter, not one for each value")
        )
    _require_known(configuration, budget, name)
    if budget.disabled:
        raise BudgetDisabled(f"Budget “{name.budget}” is disabled: it limits nothing that could be changed.")
    return budget


def _require_known(configuration: Configuration, budget: Budget, name: CounterName) -> None:
    """Raises ReferenceUnknown for a value that nobody can spend under: most likely it is mistyped."""
    each, directory = budget.scope.each, configuration.directory
    if each is None or not name.each_value or configuration.organization.create_unknown_subjects:
        return
    known: Mapping[Dimension, Mapping[str, object]] = {
        Dimension.TEAM: directory.teams,
        Dimension.USER: directory.users,
        Dimension.API_KEY: directory.api_keys,
        Dimension.PROJECT: directory.projects,
    }
    values = known.get(each.dimension)
    if values is not None and name.each_value not in values:
        what = each.dimension.name.lower().replace("api_key", "API key")
        hint = did_you_mean(name.each_value, values)
        raise ReferenceUnknown(FieldProblem(name.field, f"there is no {what} “{name.each_value}”{hint}"))


def _window(budget: Budget, name: CounterName, now_ms: int, bounds: Bounds) -> WindowRef:
    window = window_of(budget, now_ms)
    bounds.within(*(window or pause_of(budget, now_ms)))
    if window is None:
        raise NoLiveWindow(f"Budget “{budget.id}” has no window now: its period has ended or not begun.")
    return WindowRef(budget.id, name.each_value, *window)


def _require_limits(found: Sequence[Found], amounts: Amounts) -> None:
    problems = [
        FieldProblem(field_of(meter), f"budget “{budget.id}” has no limit in this meter")
        for budget, term in found
        for meter in Meter
        if amounts[meter] and term.limits[meter] is None
    ]
    if problems:
        raise InvalidRequest(*problems)


def field_of(meter: Meter) -> str:
    """A meter's field in a request."""
    return f"amounts.{Amounts._fields[meter]}"
