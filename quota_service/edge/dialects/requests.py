"""Reads a call to a model, as far as its price depends on it, out of its body."""

from __future__ import annotations

from quota_service.edge.dialects.anthropic_requests import anthropic_limit, count_anthropic
from quota_service.edge.dialects.bounds import tally_for
from quota_service.edge.dialects.calls import CallTooLarge, Dialect, Endpoint, Kind, ModelCall
from quota_service.edge.dialects.cut_bodies import visible_fields, visible_tokens
from quota_service.edge.dialects.fields import Fields, model_of, parsed
from quota_service.edge.dialects.gemini_requests import count_gemini, gemini_choices, gemini_limit
from quota_service.edge.dialects.openai_requests import count_openai, openai_choices, openai_limit


def read_call(endpoint: Endpoint, body: bytes, *, model: str = "", is_whole: bool = True) -> ModelCall:
    """What the call may use at most. `model`: the route's, which wins over the path's, which wins over the
    body's.

    Of a body that was cut off, the model and the limits are those in the part that is there, and
    `input_tokens` counts that part alone: what was cut off may cost more, and settling tells. Raises
    CallMalformed for what no price can be made of, and CallTooLarge where a body was cut off before it
    named the model.

    Takes up to two seconds for 8 MiB: call it in a thread.
    """
    if not is_whole:
        return _read_cut(endpoint, body, model or endpoint.model)
    fields = parsed(body)
    name = model_of(model or endpoint.model or fields.get("model"))
    choices, limit = choices_of(endpoint.kind, fields), limit_of(endpoint.kind, fields)
    return ModelCall(
        kind=endpoint.kind,
        model=name,
        input_tokens=_input_tokens(endpoint.kind, fields, name),
        max_output_tokens=None if limit is None else limit * choices,
        choices=choices,
    )


def choices_of(kind: Kind, fields: Fields) -> int:
    """How many answers are asked for. Raises CallMalformed."""
    if kind is Kind.GENERATE:
        return gemini_choices(fields)
    return openai_choices(kind, fields) if kind.dialect is Dialect.OPENAI else 1


def limit_of(kind: Kind, fields: Fields) -> int | None:
    """The tokens of one answer, 0 where there is none; `None` where the call does not say. Raises
    CallMalformed.
    """
    if not kind.has_output:
        return 0
    if kind is Kind.MESSAGES:
        return anthropic_limit(fields)
    return gemini_limit(fields) if kind is Kind.GENERATE else openai_limit(kind, fields)


def _input_tokens(kind: Kind, fields: Fields, model: str) -> int:
    tally = tally_for(kind.dialect, model)
    if kind is Kind.MESSAGES:
        count_anthropic(fields, model, tally)
    elif kind.dialect is Dialect.GEMINI:
        count_gemini(kind, fields, model, tally)
    else:
        count_openai(kind, fields, model, tally)
    return tally.tokens


def _read_cut(endpoint: Endpoint, body: bytes, model: str) -> ModelCall:
    fields = visible_fields(body)
    named = model or fields.get("model")
    if named is None:
        raise CallTooLarge("The body is too large: its model is not in the part that can be read here.")
    name = model_of(named)
    choices, limit = choices_of(endpoint.kind, fields), _limit_of_cut(endpoint.kind, fields)
    return ModelCall(
        kind=endpoint.kind,
        model=name,
        input_tokens=visible_tokens(body, tally_for(endpoint.kind.dialect, name)),
        max_output_tokens=None if limit is None else limit * choices,
        choices=choices,
        is_whole=False,
    )


def _limit_of_cut(kind: Kind, fields: Fields) -> int | None:
    """A default of the dialect's does not count: the limit may stand in the part that was cut off."""
    limit = limit_of(kind, fields)
    return None if kind is Kind.COMPLETIONS and fields.get("max_tokens") is None else limit
