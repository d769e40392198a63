"""Another model or a lower limit, written into the body of a call. Everything else stays, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from quota_service.edge.dialects.anthropic_requests import LIMIT
from quota_service.edge.dialects.calls import CallMalformed, Kind
from quota_service.edge.dialects.fields import fields_of, parsed, raw_members
from quota_service.edge.dialects.gemini_requests import CONFIGURATIONS
from quota_service.edge.dialects.gemini_requests import LIMITS as GEMINI_LIMITS
from quota_service.edge.dialects.openai_requests import LIMITS as OPENAI_LIMITS
from quota_service.edge.dialects.requests import choices_of

THINKING_BUDGET_MIN = 1_024
"""Anthropic's; a budget is also below `max_tokens`."""

Members = dict[str, msgspec.Raw]


def rewritten(
    kind: Kind,
    body: bytes,
    *,
    model: str = "",
    max_output_tokens: int | None = None,
    provider: str = "openai",
) -> bytes:
    """The body with another model ("": the same), and with a limit (`None`: the same).

    `max_output_tokens` is for all answers together; each gets its share, at least one token. The limits that
    are there get the new value. Where none is, the dialect's is added: for chat `max_completion_tokens` where
    the provider is OpenAI, else `max_tokens`, which every other server of the dialect knows. A thinking
    budget of Anthropic's is made to fit, or thinking is turned off. Gemini's model is in the path: its body
    gets one only where it repeats it.

    The members keep their order and their bytes; space between them goes, and of a name given twice the
    last stays. Raises CallMalformed where `read_call` does.
    """
    members = raw_members(body)
    if model:
        _write_model(kind, members, model)
    if max_output_tokens is not None and kind.has_output:
        each = max(1, max_output_tokens // choices_of(kind, parsed(body)))
        _write_limit(kind, members, each, provider)
    return msgspec.json.encode(members)


def _write_model(kind: Kind, members: Members, model: str) -> None:
    if kind is Kind.EMBED:
        _write_embedding_model(members, model)
    elif kind is not Kind.GENERATE:
        members["model"] = _raw(model)


def _write_embedding_model(members: Members, model: str) -> None:
    """Gemini asks that an embedding's body, and each request of a batch, name the model of the path."""
    name = model if "/" in model else f"models/{model}"
    if "model" in members:
        members["model"] = _raw(name)
    if "requests" in members:
        try:
            requests = msgspec.json.decode(members["requests"], type=list[Members])
        except msgspec.ValidationError:
            raise CallMalformed("requests must be a list of objects.", "requests") from None
        for request in requests:
            request["model"] = _raw(name)
        members["requests"] = _raw(requests)


def _write_limit(kind: Kind, members: Members, each: int, provider: str) -> None:
    if kind is Kind.GENERATE:
        _write_gemini_limit(members, each)
    elif kind is Kind.MESSAGES:
        members[LIMIT] = _raw(each)
        _fit_thinking(members, each)
    else:
        names = OPENAI_LIMITS[kind]
        usual = "max_tokens" if kind is Kind.CHAT and provider != "openai" else names[0]
        _write_first_or_given(members, names, usual, each)


def _write_gemini_limit(members: Members, each: int) -> None:
    given = [name for name in CONFIGURATIONS if _is_given(members, name)]
    for name in given or CONFIGURATIONS[:1]:
        inner = raw_members(bytes(members[name])) if name in given else {}
        _write_first_or_given(inner, GEMINI_LIMITS, GEMINI_LIMITS[0], each)
        members[name] = _raw(inner)


def _write_first_or_given(members: Members, names: Iterable[str], usual: str, each: int) -> None:
    given = [name for name in names if _is_given(members, name)]
    for name in given or [usual]:
        members[name] = _raw(each)


def _fit_thinking(members: Members, each: int) -> None:
    """Half of the limit is for thinking where its budget no longer fits."""
    thinking = fields_of(_value(members, "thinking"))
    budget = thinking.get("budget_tokens")
    if not isinstance(budget, int) or budget < each:
        return
    if each > THINKING_BUDGET_MIN:
        inner = raw_members(bytes(members["thinking"]))
        inner["budget_tokens"] = _raw(max(THINKING_BUDGET_MIN, each // 2))
        members["thinking"] = _raw(inner)
    else:
        members["thinking"] = _raw({"type": "disabled"})


def _is_given(members: Members, name: str) -> bool:
    return name in members and bytes(members[name]) != b"null"


def _value(members: Members, name: str) -> Any:
    return msgspec.json.decode(members[name]) if name in members else None


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
