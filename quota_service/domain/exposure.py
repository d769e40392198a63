"""The worst case: what the current windows of an organization can cost at most, in one number with its parts.

Only a hard budget that limits money bounds a bill, and only where the number of its counters is known. Of
those, the outermost count: a budget is counted with another one where all its requests fall under the other
and its window does not outlast the other's. Whatever requests may be admitted and fall under none of them are
unbounded.

Not counted, because no budget stops it: overruns of holds, Records, and late Commits. What may be granted
while the store of budgets is unreachable is counted for one replica and one outage: nobody knows how many of
both there will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, assert_never

from quota_service.domain.budget import Budget, Mode
from quota_service.domain.caps import Cap, Ceiling, ceiling, is_inside, live_budgets
from quota_service.domain.configuration import Configuration
from quota_service.domain.ladder import ceiling_percent
from quota_service.domain.period import Window
from quota_service.domain.subject import Dimension, OutagePolicy
from quota_service.domain.terms import Counters
from quota_service.domain.traffic import SUBJECT_DIMENSIONS, Traffic, implied, includes, values

Readings = Mapping[str, Mapping[str, Counters]]
"""Where counters stand, by budget and each value. One that is missing has not been used."""


class PartKind(IntEnum):
    """Why a part of the exposure is what it is."""

    HARD_CEILING = 1
    UNBOUNDED = 2
    DEGRADED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the worst case. `budget` "": the organization's settings are the reason.

    `amount_micros` is what it adds at most, `counters` over how many counters, of which `spent_micros` is
    spent and `held_micros` held. `window` is the one that it is about.
    """

    kind: PartKind
    explanation: str
    budget: str = ""
    counters: int = 0
    amount_micros: int = 0
    spent_micros: int = 0
    held_micros: int = 0
    window: Window | None = None


class Exposure(NamedTuple):
    """The worst case in parts: ceilings by budget, then what is unbounded, then what outages may add."""

    parts: tuple[Part, ...]

    @property
    def bounded(self) -> bool:
        return all(part.kind is not PartKind.UNBOUNDED for part in self.parts)

    @property
    def total_micros(self) -> int:
        """The sum of all bounded parts."""
        return sum(part.amount_micros for part in self.parts)

    @property
    def end_ms(self) -> int | None:
        """The latest end of a window that is counted; `None` where one never ends or none is counted."""
        windows = [part.window for part in self.parts if part.kind is PartKind.HARD_CEILING and part.window]
        ends = [window.end_ms for window in windows if window.end_ms is not None]
        return max(ends, default=None) if len(ends) == len(windows) else None


def exposure(configuration: Configuration, found: Sequence[Cap], readings: Readings, now_ms: int) -> Exposure:
    """The worst case, from `caps` of this configuration and instant, and where their counters stand."""
    ceilings = {cap.budget.id: ceiling(cap, readings.get(cap.budget.id, {}), now_ms) for cap in found}
    counted = {_lowest(cap, found, ceilings) for cap in found}
    bounded = (_bounded(cap, ceilings[cap.budget.id]) for cap in found if cap.budget.id in counted)
    return Exposure((*bounded, *_unbounded(configuration, found, now_ms), _degraded(configuration)))


def _lowest(cap: Cap, found: Sequence[Cap], ceilings: Mapping[str, Ceiling]) -> str:
    """Of several budgets of the same traffic and window the lowest: what is spent must fit in all of them."""
    return min(
        (other.budget.id for other in found if is_inside(cap, other)),
        key=lambda id_: (ceilings[id_].amount_micros, id_),
    )


def _bounded(cap: Cap, comes_to: Ceiling) -> Part:
    return Part(
        kind=PartKind.HARD_CEILING,
        explanation=_ceiling_sentence(cap.budget),
        budget=cap.budget.id,
        counters=comes_to.counters,
        amount_micros=comes_to.amount_micros,
        spent_micros=comes_to.spent_micros,
        held_micros=comes_to.held_micros,
        window=cap.window,
    )


def _degraded(configuration: Configuration) -> Part:
    organization = configuration.organization
    allows = organization.outage_policy is OutagePolicy.ALLOW_DEGRADED
    return Part(
        kind=PartKind.DEGRADED,
        explanation=_PER_REPLICA if allows else _NO_OUTAGE,
        amount_micros=organization.degraded_cap_micros,
    )


_NO_OUTAGE = "Nothing is allowed while the store is unreachable: outages add nothing."
_PER_REPLICA = (
    "Each replica may grant so much in each outage of the store; one replica and one outage are counted."
)


def _ceiling_sentence(budget: Budget) -> str:
    percent = ceiling_percent(budget, None)
    if budget.scope.each is None:
        return f"Every model is blocked at {percent} % of its limit."
    return f"Every model is blocked at {percent} % of the limit of each {_each_name(budget)}."


def _each_name(budget: Budget) -> str:
    each = budget.scope.each
    return "" if each is None else each.tag or each.dimension.name.lower().replace("_", " ")


# --- what nothing bounds ---


def _unbounded(configuration: Configuration, found: Sequence[Cap], now_ms: int) -> list[Part]:
    live = live_budgets(configuration, now_ms)
    open_ = [each for each in live if not _is_bounded(each.traffic, found, configuration)]
    parts = [
        Part(
            kind=PartKind.UNBOUNDED,
            budget=each.budget.id,
            window=each.window,
            explanation=_unbounded_sentence(each.budget),
        )
        for each in open_
    ]
    unbudgeted = configuration.organization.allow_unbudgeted and all(each.traffic for each in live)
    if unbudgeted and not _is_bounded({}, found, configuration):
        parts.append(Part(kind=PartKind.UNBOUNDED, explanation=_UNBUDGETED))
    return parts


_UNBUDGETED = "Requests outside every hard money budget are allowed (unbudgeted: allow)."


def _is_bounded(traffic: Traffic, found: Sequence[Cap], configuration: Configuration) -> bool:
    """Whether one budget covers the traffic, or the values of a dimension divide it among several."""
    return _is_included(traffic, found) or any(
        _is_divided(dimension, traffic, found, configuration) for dimension in SUBJECT_DIMENSIONS
    )


def _is_divided(
    dimension: Dimension, traffic: Traffic, found: Sequence[Cap], configuration: Configuration
) -> bool:
    possible = values(dimension, traffic, configuration)
    if possible is None:
        return False
    parts = ({**traffic, (dimension, ""): value} for value in possible)
    return all(_is_included(implied(part, configuration.directory) or part, found) for part in parts)


def _is_included(traffic: Traffic, found: Sequence[Cap]) -> bool:
    return any(includes(cap.budget.scope, traffic) for cap in found)


def _unbounded_sentence(budget: Budget) -> str:
    match budget.mode:
        case Mode.MONITOR:
            return f"A monitor budget blocks nothing, {_UNCOVERED}"
        case Mode.SOFT:
            return f"A soft budget blocks nothing, {_UNCOVERED}"
        case Mode.HARD if budget.limits.cost_micros is None:
            return f"It does not limit money, {_UNCOVERED}"
        case Mode.HARD:
            return f"Any number of new {_each_name(budget)}s may appear, each with the limit anew."
        case _:
            assert_never(budget.mode)


_UNCOVERED = "and no hard limit on money covers all its requests."
