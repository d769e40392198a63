"""What can go wrong, one class a kind. The edge maps each to a gRPC status and a reason, in one table."""

from __future__ import annotations

from typing import NamedTuple


class FieldProblem(NamedTuple):
    """A field of a request, by its path, and what is wrong with it."""

    field: str
    description: str


class QuotaError(Exception):
    """Base of everything the service tells its callers. The text is for them: no secrets, nothing of the
    inside.
    """


class InvalidRequest(QuotaError):
    """A request is malformed: every faulty field with a description."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__(
            "; ".join(f"{field}: {description}" if field else description for field, description in problems)
        )
        self.problems = problems


class NameMalformed(InvalidRequest):
    """A resource name does not have the form that the method expects."""


class OrganizationRequired(InvalidRequest):
    """The subject names no organization, and nothing else in the request determines one."""

    def __init__(self) -> None:
        super().__init__(
            FieldProblem("subject.organization", "is required: nothing else in the request determines it")
        )


class ReferenceUnknown(InvalidRequest):
    """A field names something that the organization does not have."""


class TimeZoneUnknown(InvalidRequest):
    """A time zone is not in the IANA database."""


class PriceNotAllowed(InvalidRequest):
    """A caller's own price for a model that the catalogue prices."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(FieldProblem(field, message))


class AmountTooLarge(InvalidRequest):
    """One request costs more than a request may."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(FieldProblem(field, message))


class ModelUnknown(InvalidRequest):
    """The catalogue has no price for a model, where a denial is no possible answer."""

    def __init__(self, message: str) -> None:
        super().__init__(FieldProblem("model", message))


class TimeInFuture(InvalidRequest):
    """Something is said to have happened later than now."""

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(FieldProblem(field, message))


class PageTokenInvalid(InvalidRequest):
    """A page token that this list did not give out."""

    def __init__(self) -> None:
        super().__init__(FieldProblem("page_token", "is not a token of this list"))


class NotFound(QuotaError):
    """A resource does not exist, or the caller may not see it."""


class OrganizationNotFound(NotFound):
    """The organization does not exist."""


class ReservationNotFound(NotFound):
    """No store knows the reservation."""


class BudgetNotFound(NotFound):
    """The budget does not exist."""


class AlreadyExists(QuotaError):
    """A resource of this name exists."""


class IdempotencyConflict(QuotaError):
    """The key or the reservation was used before with other content."""


class PreconditionFailed(QuotaError):
    """The state of things does not allow it."""


class ReservationEnded(PreconditionFailed):
    """The reservation has ended: one hold never covers a second call."""


class EtagMismatch(PreconditionFailed):
    """Somebody else changed the resource since it was read."""


class ResourceInUse(PreconditionFailed):
    """Others refer to the resource."""


class BudgetDisabled(PreconditionFailed):
    """The budget is switched off: it has no limit that could be changed."""


class NoLiveWindow(PreconditionFailed):
    """The budget has no window now: its one-off period has ended or not begun."""


class WindowsDiffer(PreconditionFailed):
    """The live windows of two budgets do not begin and end together."""


class HeadroomMissing(PreconditionFailed):
    """The source of a reallocation has less to give away."""


class StoreUnavailable(QuotaError):
    """A store did not answer in time. The call may be repeated."""


class BufferFull(StoreUnavailable):
    """Too much waits for the ledger, which does not answer: nothing was done."""


class ReservationUnknown(StoreUnavailable):
    """One store does not know the reservation, and the other did not answer."""


class Overloaded(QuotaError):
    """The server sheds load: nothing was done."""


class DeadlineTooShort(QuotaError):
    """The caller's deadline leaves too little time to begin: nothing was done."""


class ApiKeyUnknown(NotFound):
    """No API key has a secret, or not any more."""


class ApiKeyRevoked(QuotaError):
    """An API key was revoked, or its time or that of its secret is over."""


class PepperMissing(QuotaError):
    """The service has no pepper for secrets of API keys."""


class CredentialsMissing(QuotaError):
    """A call says nothing of who makes it."""


class CredentialsInvalid(QuotaError):
    """A credential is not known, is over, or is one of several."""


class MethodNotAllowed(QuotaError):
    """The caller's role may not call the method."""
