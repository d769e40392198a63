"""What usage without a reservation costs, whom it is charged to, and which windows it falls into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from quota_service.application.plans import Moment, Plan, Plans
from quota_service.domain.amounts import Amounts
from quota_service.domain.errors import (
    AmountTooLarge,
    FieldProblem,
    InvalidRequest,
    ModelUnknown,
    TimeInFuture,
)
from quota_service.domain.pricing import Rate, Usage, charge, cost_pico, require_price
from quota_service.domain.reservation import Hold
from quota_service.domain.subject import Subject
from quota_service.domain.terms import Term

CLOCK_TOLERANCE_MS = 1_000
"""By how much a caller's clock may be ahead of the store's; what is in between is taken as now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What to charge to whom. `occur_ms` `None`: now."""

    subject: Subject
    provider: str
    model: str
    usage: Usage
    occur_ms: int | None = None


class Priced(NamedTuple):
    """A charge under one configuration. `hold` is what it would have been; `pico` is its cost in pico-USD."""

    hold: Hold
    terms: tuple[Term, ...]
    charged: Amounts
    pico: int
    occur_ms: int


def price(plans: Plans, charge_: Charge, now_ms: int) -> Priced:
    """Raises TimeInFuture, InvalidRequest, ModelUnknown, PriceNotAllowed, AmountTooLarge."""
    occur_ms = now_ms if charge_.occur_ms is None else charge_.occur_ms
    if occur_ms > now_ms + CLOCK_TOLERANCE_MS:
        raise TimeInFuture("must not be in the future", field="occur_time")
    if occur_ms < 0:
        raise InvalidRequest(FieldProblem("occur_time", "must not be before 1970"))
    occur_ms = min(occur_ms, now_ms)
    plan = plans.plan(charge_.subject, charge_.provider, charge_.model)
    moment = plan.at(now_ms) if charge_.occur_ms is None else plan.moment(occur_ms)
    if plan.model is None or moment.card is None:
        raise ModelUnknown(f"The catalogue has no price for {charge_.provider}/{charge_.model} at that time.")
    require_price(plan.model, charge_.usage.cost_micros, "usage.cost_micros")
    rates = moment.card.rates
    return Priced(
        _draft(plan, moment, charge_),
        moment.terms.budgets,
        _charged(rates, charge_.usage),
        cost_pico(rates, charge_.usage),
        occur_ms,
    )


def _charged(rates: tuple[Rate, ...], usage: Usage) -> Amounts:
    try:
        return charge(rates, usage)
    except AmountTooLarge as error:
        raise AmountTooLarge(str(error), field="usage") from error


def _draft(plan: Plan, moment: Moment, charge_: Charge) -> Hold:
    return Hold(
        organization=moment.basis.organization,
        reservation="",
        subject=plan.subject,
        provider=charge_.provider,
        model=charge_.model,
        requested_model=charge_.model,
        rates=moment.card.rates if moment.card else (),
        caller_priced=plan.model is not None and plan.model.caller_priced,
        windows=moment.terms.windows,
        keepings=moment.terms.keepings,
    )
