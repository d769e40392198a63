"""Authorize: hold an estimate against every matching budget, or say why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from quota_service.application import denials, messages
from quota_service.application.alerts import Stop
from quota_service.application.configurations import Configurations
from quota_service.application.denials import Counted, Stopped
from quota_service.application.intents import (
    Intent,
    command_of,
    content_of,
    intent_of,
    new_reservation,
    require_sensible,
)
from quota_service.application.opening import Openings
from quota_service.application.outage import Outages, Refusal
from quota_service.application.plans import Plans
from quota_service.application.ports import HoldStore
from quota_service.application.registration import Registration
from quota_service.application.requests import AuthorizeRequest, AuthorizeResult
from quota_service.application.statuses import ATTEMPTS, statuses, statuses_of_hold
from quota_service.application.writing import LedgerWriter
from quota_service.domain import commands, reservation
from quota_service.domain.admission import count_blocked, short_meters
from quota_service.domain.amounts import Amounts
from quota_service.domain.budget import Mode
from quota_service.domain.decision import Caution, Reason, Violation, decisive, retry_after_ms
from quota_service.domain.errors import (
    AlreadyExists,
    BufferFull,
    IdempotencyConflict,
    ReservationEnded,
    StoreUnavailable,
)
from quota_service.domain.terms import Counters, Term


class Authorization:
    """The use case. `now_ms` of the store is an estimate; the store checks what was decided with it."""

    def __init__(
        self,
        configurations: Configurations,
        holds: HoldStore,
        writer: LedgerWriter,
        registration: Registration,
        openings: Openings,
        outages: Outages,
        alerts: Stopped,
        counts: Counted,
    ) -> None:
        self._configurations = configurations
        self._holds = holds
        self._writer = writer
        self._registration = registration
        self._openings = openings
        self._outages = outages
        self._alerts = alerts
        self._counts = counts

    async def authorize(self, request: AuthorizeRequest) -> AuthorizeResult:
        """Raises what the contract says of Authorize."""
        require_sensible(request)
        organization = await self._configurations.organization_of(request.subject)
        content = content_of(request)
        plans = await self._configurations.get(organization)
        try:
            result = await self._decided(plans, request, content)
        except StoreUnavailable as error:
            return await self._undecided(plans, request, content, error)
        self._outages.over(organization, self._holds.now_ms())
        return result

    async def _decided(self, plans: Plans, request: AuthorizeRequest, content: str) -> AuthorizeResult:
        """What the deciding store says."""
        organization = plans.organization
        reservation_id = new_reservation(self._holds.now_ms())
        for _ in range(ATTEMPTS):
            intent = intent_of(plans, request, self._holds.now_ms(), reservation_id, content)
            command = command_of(intent, request)
            answer = await self._holds.authorize(command)
            match answer:
                case commands.Stale():
                    await self._configurations.at_least(organization, answer.version)
                    organization = await self._configurations.organization_of(request.subject)
                    plans = await self._configurations.get(organization)
                case commands.OutsideBasis():
                    pass
                case commands.Unopened():
                    await self._openings.open(plans, terms_of(command))
                case commands.Refused():
                    if intent.refused or not await self._registered(intent):
                        return self._refused(plans, intent, request)
                    plans = await self._configurations.get(organization)
                case _:
                    return self._result(plans, intent, request, answer)
        raise StoreUnavailable("The configuration changes faster than a decision can be made.")

    async def _undecided(
        self, plans: Plans, request: AuthorizeRequest, content: str, error: StoreUnavailable
    ) -> AuthorizeResult:
        """What is answered where the deciding store is not there to decide."""
        now_ms = self._holds.now_ms()
        intent = intent_of(plans, request, now_ms, new_reservation(now_ms), content)
        if intent.refused or (intent.asked.unknown and not intent.asked.registers):
            return self._refused(plans, intent, request)
        if isinstance(error, BufferFull):
            violation = denials.outage(messages.buffer_nearly_full())
            return self._denial(plans, intent, (violation,), request)
        answer = await self._outages.decide(
            plans, intent, now_ms, request.ttl_ms, dry_run=request.validate_only
        )
        if isinstance(answer, Refusal):
            return self._denial(plans, intent, (answer.violation,), request)
        return AuthorizeResult(
            organization=plans.organization,
            hold=None if request.validate_only else answer.hold,
            granted_output_tokens=answer.granted_output_tokens,
            replayed=answer.replayed,
        )

    async def _registered(self, intent: Intent) -> bool:
        """Registers the names that the directory does not know, unless another organization has the key."""
        subject = intent.asked.subject
        try:
            version = await self._registration.register(subject)
        except AlreadyExists:
            return False
        await self._configurations.at_least(subject.organization, version)
        return True

    def _result(
        self,
        plans: Plans,
        intent: Intent,
        request: AuthorizeRequest,
        answer: commands.Granted | commands.Denied | commands.Conflict | commands.Ended,
    ) -> AuthorizeResult:
        match answer:
            case commands.Granted():
                if answer.event is not None:
                    self._writer.submit(answer.event)
                if answer.replayed:
                    return _replayed(plans, answer, request)
                return self._granted(plans, intent, answer, request)
            case commands.Denied():
                return self._denied(plans, intent, answer, request)
            case commands.Conflict():
                raise IdempotencyConflict("The idempotency_key is in use for a call with other content.")
            case commands.Ended():
                raise ReservationEnded(
                    "The reservation of this idempotency_key has ended; a new call needs a new key."
                )
            case _:
                assert_never(answer)

    def _refused(self, plans: Plans, intent: Intent, request: AuthorizeRequest) -> AuthorizeResult:
        if intent.error is not None:
            raise intent.error
        return self._denial(plans, intent, intent.violations or intent.asked.unknown, request)

    def _denied(
        self, plans: Plans, intent: Intent, answer: commands.Denied, request: AuthorizeRequest
    ) -> AuthorizeResult:
        moment = intent.moments[0]
        if not request.validate_only:
            passed_over = len(intent.alternatives)
            self._alerts.stopped(plans.organization, _stops(intent, answer, passed_over))
        result = self._denial(plans, intent, _why(plans, intent, answer), request)
        return replace(result, statuses=statuses(moment.budgets, moment.terms.budgets, answer.counters))

    def _denial(
        self, plans: Plans, intent: Intent, violations: tuple[Violation, ...], request: AuthorizeRequest
    ) -> AuthorizeResult:
        if not request.validate_only:
            self._counts.denied(
                plans.organization,
                intent.asked.subject,
                request.provider,
                request.model,
                violations,
                self._holds.now_ms(),
            )
        return AuthorizeResult(
            organization=plans.organization,
            violations=violations,
            retry_after_ms=retry_after_ms(violations),
            message=messages.for_person(decisive(violations), plans.configuration.organization.help_url),
        )

    def _granted(
        self, plans: Plans, intent: Intent, answer: commands.Granted, request: AuthorizeRequest
    ) -> AuthorizeResult:
        moment, counters = intent.moments[answer.choice], answer.counters
        terms = moment.terms.budgets
        if request.validate_only:
            counters = _as_if_held(terms, counters, answer.hold.held)
        elif answer.passed_over is not None:
            self._alerts.stopped(plans.organization, _stops(intent, answer.passed_over, answer.choice))
        return AuthorizeResult(
            organization=plans.organization,
            hold=None if request.validate_only else answer.hold,
            granted_output_tokens=answer.hold.granted_output_tokens,
            cautions=(
                *_concessions(plans, intent, answer),
                *denials.cautions(moment.budgets, terms, counters),
            ),
            statuses=statuses(moment.budgets, terms, counters),
        )


def terms_of(command: commands.Authorize) -> list[Term]:
    """Every term of every alternative."""
    return [term for alternative in command.alternatives for term in alternative.terms.budgets]


def _why(plans: Plans, intent: Intent, denied: commands.Denied) -> tuple[Violation, ...]:
    """What stood in the way of the asked model."""
    moment = intent.moments[0]
    rate_limits = plans.configuration.rate_limits
    return denials.violations(denied, moment.budgets, moment.terms, _least(intent), rate_limits)


def _stops(intent: Intent, denied: commands.Denied, passed_over: int) -> list[Stop]:
    """The steps that stopped so many alternatives, the asked model first. Where budgets stood is known of the
    asked model's.
    """
    counters = dict(zip(intent.moments[0].terms.windows, denied.counters, strict=True))
    return [
        stop
        for position in range(passed_over)
        for plan, moment in [(intent.plans[position], intent.moments[position])]
        for stop in denials.stops(
            counters,
            moment.budgets,
            moment.terms.budgets,
            _least(intent, position),
            plan.ladder_model,
            plan.subject,
        )
    ]


def _least(intent: Intent, position: int = 0) -> Amounts:
    """The least that an alternative could have been granted with; the asked model's unless said otherwise."""
    alternative = intent.alternatives[position]
    return reservation.grant(alternative.hold, alternative.least).held


def _concessions(plans: Plans, intent: Intent, answer: commands.Granted) -> list[Caution]:
    """In what the grant is another than was asked for: the model, the number of output tokens."""
    found, hold = [], answer.hold
    if answer.passed_over is not None:
        why = _why(plans, intent, answer.passed_over)[0]
        message = messages.downgraded(hold.provider, hold.model, why.message)
        found.append(Caution(Reason.DOWNGRADED, message, why.source, why.each_value))
    most = intent.alternatives[answer.choice].most
    if hold.granted_output_tokens < most:
        message = messages.partial(hold.granted_output_tokens, most)
        found.append(Caution(Reason.PARTIAL_GRANT, message))
    return found


def _as_if_held(terms: Sequence[Term], counters: Sequence[Counters], needed: Amounts) -> tuple[Counters, ...]:
    """The counters as a grant would leave them: `validate_only` answers what the request itself would get."""
    after = []
    for term, state in zip(terms, counters, strict=True):
        short = () if term.mode is Mode.HARD else short_meters(state, needed, term.ceilings_with(state))
        counted = count_blocked(state, short, needed)
        after.append(counted._replace(held=state.held.plus(needed), holds=state.holds + 1))
    return tuple(after)


def _replayed(plans: Plans, answer: commands.Granted, request: AuthorizeRequest) -> AuthorizeResult:
    """The hold as it is, in its own windows: they need not be those that the request would fall into now."""
    return AuthorizeResult(
        organization=plans.organization,
        hold=None if request.validate_only else answer.hold,
        granted_output_tokens=answer.hold.granted_output_tokens,
        statuses=statuses_of_hold(plans, answer.hold, answer.counters, answer.now_ms),
        replayed=True,
    )
