"""The sections `rate_limits` and `model_policies` of a file."""

from __future__ import annotations

from functools import partial

from google.protobuf.duration_pb2 import Duration

from quota.v1 import budget_pb2, model_policy_pb2, types_pb2
from quota_service.cli.files.defaults import DEFAULT_INTERVAL_S
from quota_service.cli.files.directory import Declarations, check_id
from quota_service.cli.files.fields import flag, text, texts, whole
from quota_service.cli.files.models import LARGEST_TIER
from quota_service.cli.files.reading import Value
from quota_service.cli.files.scopes import read_each, read_scope
from quota_service.cli.files.state import Declared, Kind
from quota_service.cli.units import LARGEST_AMOUNT, parse_count, parse_duration_s

METERS = {"requests": types_pb2.METER_REQUESTS, "tokens": types_pb2.METER_TOKENS}
LONGEST_INTERVAL_S = 31 * 86_400
ANY_MODEL = "*"


def read_rate_limits(section: Value, into: Declarations) -> None:
    """A mapping of ids to rate limits."""
    for identifier, value in section.entries().items():
        check_id(section, identifier)
        declared = Declared(message=_rate_limit(value, into), place=section.key_place(identifier))
        into.declare((Kind.RATE_LIMIT, identifier), declared, value)


def _rate_limit(value: Value, into: Declarations) -> budget_pb2.RateLimit:
    fields = value.fields("name", "scope", "each", "limit", "per", "burst", "disabled")
    message = budget_pb2.RateLimit(
        display_name=text(fields, "name"),
        scope=read_scope(fields["scope"], into) if "scope" in fields else budget_pb2.Scope(),
        interval=Duration(seconds=DEFAULT_INTERVAL_S),
        burst=whole(fields, "burst", largest=LARGEST_AMOUNT),
        disabled=flag(fields, "disabled"),
    )
    if "each" in fields:
        message.scope.each.CopyFrom(read_each(fields["each"]))
    if "limit" in fields:
        _read_limit(fields["limit"], message)
    elif value.is_mapping:
        value.problem("needs a limit, such as {requests: 60}")
    if "per" in fields:
        message.interval.seconds = fields["per"].parsed(_parse_interval_s, DEFAULT_INTERVAL_S)
    return message


def _read_limit(value: Value, message: budget_pb2.RateLimit) -> None:
    if value.is_mapping and "usd" in value.entries():
        value.problem("money has no rate: limit it with a budget, which can be a daily one")
        return
    fields = value.fields(*METERS)
    if len(fields) != 1:
        value.problem("needs either requests or tokens; for both, write two rate limits")
        return
    [(meter, amount)] = fields.items()
    message.meter = METERS[meter]
    message.limit = amount.parsed(_parse_limit, 1)


def _parse_limit(written: str) -> int:
    limit = parse_count(written)
    if not limit:
        raise ValueError("0 lets nothing pass: a budget with a limit of 0 says so")
    return limit


def _parse_interval_s(written: str) -> int:
    interval_s = parse_duration_s(written)
    if not 1 <= interval_s <= LONGEST_INTERVAL_S:
        raise ValueError(f"{written} is not between 1s and 31d")
    return interval_s


def read_model_policies(section: Value, into: Declarations) -> None:
    """A mapping of ids to model policies."""
    for identifier, value in section.entries().items():
        check_id(section, identifier)
        declared = Declared(message=_model_policy(value, into), place=section.key_place(identifier))
        into.declare((Kind.MODEL_POLICY, identifier), declared, value)


def _model_policy(value: Value, into: Declarations) -> model_policy_pb2.ModelPolicy:
    fields = value.fields("name", "team", "tiers", "models", "disabled")
    if "tiers" not in fields and "models" not in fields and value.is_mapping:
        value.problem("needs tiers or models; to allow nothing, write `models: []`")
    return model_policy_pb2.ModelPolicy(
        display_name=text(fields, "name"),
        team=into.mention(fields["team"], Kind.TEAM) if "team" in fields else "",
        allowed_tiers=[entry.parsed(_parse_tier, 0) for entry in texts(fields, "tiers")],
        allowed_models=[
            entry.parsed(partial(_parse_model, entry, into), "") for entry in texts(fields, "models")
        ],
        disabled=flag(fields, "disabled"),
    )


def _parse_tier(written: str) -> int:
    tier = parse_count(written)
    if tier > LARGEST_TIER:
        raise ValueError(f"{written} is not between 0 and {LARGEST_TIER:,}")
    return tier


def _parse_model(entry: Value, into: Declarations, written: str) -> str:
    provider, _, model = written.partition("/")
    if not provider or not model:
        raise ValueError(f"{written!r} is no model: write provider/model, or provider/{ANY_MODEL} for all")
    into.refer(entry, (Kind.MODEL, written))
    return written
