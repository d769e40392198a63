"""What the audit trail keeps of things: documents that show what changed, and no secret's digest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from quota_service.application.audit_ports import State, WindowLimit
from quota_service.application.ledger_ports import WindowBalance
from quota_service.domain.amounts import NOTHING, Amounts
from quota_service.domain.api_key import ApiKey
from quota_service.domain.audit import Authorship, Changed
from quota_service.domain.ledger import Entry, EntryType, LimitChange
from quota_service.domain.reservation import WindowRef
from quota_service.domain.subject import Organization
from quota_service.stores.postgres import documents
from quota_service.stores.postgres.entry_rows import storable

COLLECTIONS: Mapping[str, str] = {
    "team": "teams",
    "user": "users",
    "api_key": "apiKeys",
    "project": "projects",
    "budget": "budgets",
    "rate_limit": "rateLimits",
    "model_policy": "modelPolicies",
    "model": "models",
}
"""Kinds of resources, and what names of resources call them."""

ORGANIZATION = ""
"""The resource that stands for the organization itself."""

KEYS = "keys"
"""What Valkey has of the organization."""

_KINDS = {collection: kind for kind, collection in COLLECTIONS.items()}

METHODS: Mapping[EntryType, str] = {
    EntryType.ADJUST: "quota.v1.BudgetService/AdjustBudget",
    EntryType.REALLOCATE: "quota.v1.BudgetService/ReallocateBudget",
}
"""Which method makes entries that change limits."""

_Counter = tuple[str, str, str, int]


def resource(kind: str, id_: str) -> str:
    return f"{COLLECTIONS[kind]}/{id_}"


def dead_letter(number: int) -> str:
    return f"deadLetters/{number}"


def document(value: documents.Resource | Organization) -> str:
    """What the trail keeps of a resource."""
    if isinstance(value, ApiKey):
        value = replace(value, secrets=tuple(replace(secret, digest="") for secret in value.secrets))
    return documents.encode(value)


def state(resource: str, text: str | None) -> State | None:
    """What a document of the trail tells; `None` where it is none, or somebody has made it unreadable."""
    try:
        return None if text is None else _state(resource.partition("/")[0], text)
    except (msgspec.MsgspecError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _state(collection: str, text: str) -> State:
    if collection == ORGANIZATION:
        return documents.decode(Organization, text)
    if text.startswith(_WINDOWS):
        return msgspec.json.decode(text, type=_WindowLimits).windows
    return documents.decode(documents.CLASSES[_KINDS[collection]], text)


def limit_changes(
    written: Sequence[Entry], balances: Iterable[WindowBalance]
) -> Iterator[tuple[str, Authorship, Changed]]:
    """The events of new entries by which somebody has changed limits, organization by organization.

    `balances`: where their windows stand afterwards. What a lasting adjustment changes is a budget, whose
    change has an event of its own.
    """
    changing = [entry for entry in written if entry.changes]
    if not any(entry.type in METHODS for entry in changing):
        return
    stands = {_counter(each.organization, each.window): each.change for each in balances}
    events = []
    for entry in reversed(changing):
        own = [change for change in entry.changes if change.until_ms is None]
        after = [_limit(stands, entry, change) for change in own]
        for change in own:
            counter = _counter(entry.hold.organization, change.window)
            stands[counter] = stands.get(counter, NOTHING).minus(change.amounts)
        before = [_limit(stands, entry, change) for change in own]
        if own and entry.type in METHODS:
            events.append((entry.hold.organization, _authorship(entry), _changed(before, after)))
    events.reverse()
    yield from sorted(events, key=lambda event: event[0])


def _authorship(entry: Entry) -> Authorship:
    request_id = entry.key.partition("/")[2]
    return Authorship(entry.actor, METHODS[entry.type], request_id, entry.reason)


def _changed(before: Sequence[WindowLimit], after: Sequence[WindowLimit]) -> Changed:
    return Changed(resource("budget", after[0].window.budget), _windows(before), _windows(after))


_WINDOWS = '{"windows":'


class _WindowLimits(msgspec.Struct, frozen=True):
    windows: tuple[WindowLimit, ...]


def _windows(limits: Sequence[WindowLimit]) -> str:
    return msgspec.json.encode(_WindowLimits(tuple(limits))).decode()


def _limit(stands: Mapping[_Counter, Amounts], entry: Entry, change: LimitChange) -> WindowLimit:
    window = change.window._replace(each_value=storable(change.window.each_value))
    return WindowLimit(window, stands.get(_counter(entry.hold.organization, window), NOTHING))


def _counter(organization: str, window: WindowRef) -> _Counter:
    return organization, window.budget, storable(window.each_value), window.start_ms
