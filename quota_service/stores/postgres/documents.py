"""Resources as JSON documents, and back.

msgspec knows dataclasses and NamedTuples (a NamedTuple becomes an array). It cannot tell the members of a
union apart: those (a budget's period, a ladder step's action) are written with their names, `{"is":
"monthly", "reset_day": 1}`. Members that are not known, written by a newer version, are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import Block, Budget, Downgrade, FormerPeriod, LadderStep, Notify, Restrict
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.period import Daily, Fixed, Monthly, Once, Quarterly, Weekly, Yearly
from quota_service.domain.pricing import Model
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Organization, Project, Team, User

T = TypeVar("T")
Resource = Team | User | ApiKey | Project | Budget | RateLimit | ModelPolicy | Model

KINDS: Mapping[type[Resource], str] = {
    Team: "team",
    User: "user",
    ApiKey: "api_key",
    Project: "project",
    Budget: "budget",
    RateLimit: "rate_limit",
    ModelPolicy: "model_policy",
    Model: "model",
}
"""The kinds of resources as the database names them."""

CLASSES: Mapping[str, type[Resource]] = {kind: class_ for class_, kind in KINDS.items()}

_MEMBERS: Mapping[str, type[Any]] = {
    "daily": Daily,
    "weekly": Weekly,
    "monthly": Monthly,
    "quarterly": Quarterly,
    "yearly": Yearly,
    "fixed": Fixed,
    "once": Once,
    "notify": Notify,
    "restrict": Restrict,
    "downgrade": Downgrade,
    "block": Block,
}
_NAMES = {member: name for name, member in _MEMBERS.items()}
_BUDGET_FIELDS = get_type_hints(Budget)


def id_of(value: Resource) -> str:
    """A model's id is `provider/model`."""
    return f"{value.provider}/{value.model}" if isinstance(value, Model) else value.id


def encode(value: Resource | Organization) -> str:
    """The document of a resource."""
    document = _budget_document(value) if isinstance(value, Budget) else value
    return msgspec.json.encode(document).decode()


def decode(class_: type[T], document: str) -> T:
    """The resource of a document."""
    decoder = _DECODERS.get(class_)
    if decoder is None:
        raise TypeError(f"no documents of {class_.__name__}")
    value: T = decoder(document)
    return value


def _budget_document(budget: Budget) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(budget)
    document["period"] = _named(budget.period)
    if budget.former is not None:
        document["former"]["period"] = _named(budget.former.period)
    document["ladder"] = [
        {"at_percent": step.at_percent, "action": _named(step.action)} for step in budget.ladder
    ]
    return document


def _decode_budget(text: str) -> Budget:
    document = msgspec.json.decode(text)
    return Budget(
        **{name: _budget_field(name, part) for name, part in document.items() if name in _BUDGET_FIELDS}
    )


def _budget_field(name: str, part: Any) -> Any:
    if name == "period":
        return _member(part)
    if name == "former":
        return FormerPeriod(**{**part, "period": _member(part["period"])}) if part else None
    if name == "ladder":
        return tuple(
            LadderStep(at_percent=step["at_percent"], action=_member(step["action"])) for step in part
        )
    return msgspec.convert(part, _BUDGET_FIELDS[name])


def _named(member: object) -> dict[str, Any]:
    return {"is": _NAMES[type(member)], **msgspec.to_builtins(member)}


def _member(part: dict[str, Any]) -> Any:
    return msgspec.convert(part, _MEMBERS[part["is"]])


_DECODERS: Mapping[type[Any], Callable[[str], Any]] = {
    Budget: _decode_budget,
    **{
        class_: msgspec.json.Decoder(class_).decode
        for class_ in (Team, User, ApiKey, Project, RateLimit, ModelPolicy, Model, Organization)
    },
}
