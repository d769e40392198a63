"""What callers of the hot path ask for, and what they are told."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Protocol

from quota_service.application.statuses import Status
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.decision import Caution, Violation
from quota_service.domain.ledger import Entry
from quota_service.domain.pricing import Usage
from quota_service.domain.reservation import Hold, Settlement
from quota_service.domain.subject import Subject
from quota_service.domain.values import value


class Durability(IntEnum):
    """How safe a charge is. Numbers are those of the contract."""

    LEDGER = 1
    BUFFERED = 2


class Diversions(Enum):
    """Which models may be granted in place of the asked one, as far as ladders have some."""

    ANY = "any"
    SAME_PROVIDER = (
        "same provider"  # where whoever calls the model can change its name, but not where it goes
    )
    NONE = "none"


@value(frozen=True, slots=True, kw_only=True)
class AuthorizeRequest:
    """`max_output_tokens` `None`: the model's default."""

    idempotency_key: str
    subject: Subject
    provider: str
    model: str
    input_tokens: int
    max_output_tokens: int | None
    own_cost_micros: int | None
    min_output_tokens: int
    ttl_ms: int
    validate_only: bool
    diversions: Diversions = Diversions.ANY


@value(frozen=True, slots=True, kw_only=True)
class AuthorizeResult:
    """`hold` is `None` on a denial and with `validate_only`; `violations` are empty on an allowance.
    `budgets` of the statuses are those of the model that was granted or, on a denial, asked for.
    """

    organization: str
    hold: Hold | None = None
    granted_output_tokens: int = 0
    violations: tuple[Violation, ...] = ()
    cautions: tuple[Caution, ...] = ()
    statuses: tuple[Status, ...] = ()
    retry_after_ms: int | None = None
    message: str = ""
    replayed: bool = False


class Authorizes(Protocol):
    """Decides whether a call may be made."""

    async def authorize(self, request: AuthorizeRequest) -> AuthorizeResult: ...


@value(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """`provider` and `model` name what really answered, "" where it is what was held. `subject`: see Commit
    in the contract.
    """

    organization: str
    reservation: str
    usage: Usage
    keep_open: bool
    usage_estimated: bool
    provider: str
    model: str
    subject: Subject | None


@value(frozen=True, slots=True, kw_only=True)
class CommitResult:
    hold: Hold
    settlement: Settlement
    late: bool
    replayed: bool
    durability: Durability
    statuses: tuple[Status, ...]


@value(frozen=True, slots=True, kw_only=True)
class ReleaseResult:
    hold: Hold
    returned: Amounts = NOTHING
    replayed: bool = False


@value(frozen=True, slots=True, kw_only=True)
class ExtendRequest:
    organization: str
    reservation: str
    ttl_ms: int
    additional_output_tokens: int
    request_id: str


@value(frozen=True, slots=True, kw_only=True)
class ExtendResult:
    hold: Hold
    violations: tuple[Violation, ...] = ()


@value(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """`occur_ms` `None`: now."""

    idempotency_key: str
    subject: Subject
    provider: str
    model: str
    usage: Usage
    occur_ms: int | None


@value(frozen=True, slots=True, kw_only=True)
class RecordResult:
    """`entry_id` is the entry's number in the ledger, 0 while it is only buffered; `create_ms` when it was
    written.
    """

    organization: str
    entry: Entry
    entry_id: int
    create_ms: int
    durability: Durability
    replayed: bool
