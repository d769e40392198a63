"""The resources of an organization as the YAML that `apply` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ruamel.yaml.nodes import Node

from quota.v1 import budget_pb2, catalog_pb2, directory_pb2, model_policy_pb2
from quota_service.cli.files.changes import zone_of
from quota_service.cli.files.directory import DIMENSIONS
from quota_service.cli.files.models import PICO_PER_MICRO
from quota_service.cli.files.nodes import dump, mapping, optional, plain, sequence, string
from quota_service.cli.files.renderbudget import budget_node, instant
from quota_service.cli.files.renderlimits import model_policy_node, rate_limit_node
from quota_service.cli.files.state import Kind, Resource, State
from quota_service.cli.units import usd_decimal

_SECTIONS = {
    Kind.TEAM: "teams",
    Kind.USER: "users",
    Kind.PROJECT: "projects",
    Kind.KEY: "keys",
    Kind.MODEL: "models",
    Kind.MODEL_POLICY: "model_policies",
    Kind.RATE_LIMIT: "rate_limits",
    Kind.BUDGET: "budgets",
}


def render(organization: str, state: State) -> str:
    """The whole file. Reading it again gives the same state."""
    sections = [_organization_section(organization, state)]
    zone = zone_of(state)
    for kind, title in _SECTIONS.items():
        resources = [(key[1], message) for key, message in sorted(state.items()) if key[0] is kind]
        if resources:
            sections.append(_section(kind, title, resources, zone))
    return "\n".join(sections)


def _organization_section(organization: str, state: State) -> str:
    message = state.get((Kind.ORGANIZATION, organization))
    if not isinstance(message, directory_pb2.Organization):
        return dump(mapping({"organization": optional(organization)}))
    return dump(mapping({"organization": _organization(organization, message)}))


def _section(kind: Kind, title: str, resources: Iterable[tuple[str, Resource]], zone: str) -> str:
    if kind is Kind.MODEL:
        nodes = (_model(message) for _, message in resources if isinstance(message, catalog_pb2.Model))
        return dump(mapping({title: sequence(nodes)}))
    text = dump(mapping({title: mapping({key: _node(message, zone) for key, message in resources})}))
    return "\n".join(_spaced(text.splitlines())) + "\n" if kind is Kind.BUDGET else text


def _spaced(lines: Iterable[str]) -> Iterator[str]:
    # Budgets are long: an empty line between them lets the eye find the next one.
    for number, line in enumerate(lines):
        if number > 1 and line.startswith("  ") and line[2] != " ":
            yield ""
        yield line


def _node(message: Resource, zone: str) -> Node:
    if isinstance(message, directory_pb2.Organization):
        return _organization("", message)
    if isinstance(message, directory_pb2.Team):
        return _team(message)
    if isinstance(message, directory_pb2.User):
        return _user(message)
    if isinstance(message, directory_pb2.Project):
        return mapping({"name": optional(message.display_name), "frozen": _frozen(message.disabled)})
    if isinstance(message, directory_pb2.ApiKey):
        return _key(message)
    if isinstance(message, catalog_pb2.Model):
        return _model(message)
    if isinstance(message, model_policy_pb2.ModelPolicy):
        return model_policy_node(message)
    if isinstance(message, budget_pb2.RateLimit):
        return rate_limit_node(message)
    return budget_node(message, zone)


def _frozen(disabled: bool) -> Node | None:
    return plain("true") if disabled else None


def _organization(organization: str, message: directory_pb2.Organization) -> Node:
    names = {number: name for name, number in DIMENSIONS.items()}
    allow = message.unbudgeted == directory_pb2.UNBUDGETED_POLICY_ALLOW
    create = message.unknown_subject == directory_pb2.UNKNOWN_SUBJECT_POLICY_CREATE
    degraded = message.outage_policy == directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED
    required = [string(names[number]) for number in message.required_dimensions if number in names]
    return mapping(
        {
            "id": optional(organization),
            "name": optional(message.display_name),
            "time_zone": string(message.time_zone or "UTC"),
            "unbudgeted": string("allow" if allow else "deny"),
            "unknown_subject": string("create" if create else "deny"),
            "required_dimensions": sequence(required, in_line=True),
            "help_url": optional(message.help_url),
            "outage_policy": string("allow_degraded") if degraded else None,
            "degraded_cost_cap": _cap(message),
        }
    )


def _cap(message: directory_pb2.Organization) -> Node | None:
    if not message.HasField("degraded_cost_cap_micros"):
        return None
    return mapping({"usd": plain(usd_decimal(message.degraded_cost_cap_micros))}, in_line=True)


def _team(message: directory_pb2.Team) -> Node:
    return mapping(
        {
            "name": optional(message.display_name),
            "cost_center": optional(message.cost_center),
            "leads": sequence(map(string, message.leads), in_line=True),
            "frozen": _frozen(message.disabled),
        }
    )


def _user(message: directory_pb2.User) -> Node:
    return mapping(
        {
            "name": optional(message.display_name),
            "email": optional(message.email),
            "teams": sequence(map(string, message.teams), in_line=True),
            "frozen": _frozen(message.disabled),
        }
    )


def _key(message: directory_pb2.ApiKey) -> Node:
    return mapping(
        {
            "name": optional(message.display_name),
            "user": optional(message.user),
            "team": optional(message.team),
            "until": instant(message.expire_time) if message.HasField("expire_time") else None,
            "frozen": _frozen(message.disabled),
        }
    )


def _model(message: catalog_pb2.Model) -> Node:
    [*prices] = message.prices
    simple = len(prices) == 1 and not prices[0].HasField("start_time") and not prices[0].above_input_tokens
    return mapping(
        {
            "provider": string(message.provider),
            "model": string(message.model),
            "name": optional(message.display_name),
            "tier": plain(str(message.tier)) if message.HasField("tier") else None,
            "max_output_tokens": _count(message.max_output_tokens),
            "default_output_tokens": _count(message.default_output_tokens),
            "caller_priced": plain("true") if message.caller_priced else None,
            "usd_per_million_tokens": _rates(prices[0]) if simple else None,
            "prices": None if simple else sequence(map(_dated, prices)),
        }
    )


def _count(number: int) -> Node | None:
    return plain(str(number)) if number else None


def _dated(price: catalog_pb2.ModelPrice) -> Node:
    return mapping(
        {
            "from": instant(price.start_time) if price.HasField("start_time") else None,
            "above_input_tokens": _count(price.above_input_tokens),
            "usd_per_million_tokens": _rates(price),
        }
    )


def _rates(price: catalog_pb2.ModelPrice) -> Node:
    standard = price.input_pico_usd_per_token
    has_cached = price.HasField("cached_input_pico_usd_per_token")
    has_written = price.HasField("cache_write_pico_usd_per_token")
    has_cached &= price.cached_input_pico_usd_per_token != standard
    has_written &= price.cache_write_pico_usd_per_token != standard
    return mapping(
        {
            "input": _rate(price.input_pico_usd_per_token),
            "cached_input": _rate(price.cached_input_pico_usd_per_token) if has_cached else None,
            "cache_write": _rate(price.cache_write_pico_usd_per_token) if has_written else None,
            "output": _rate(price.output_pico_usd_per_token),
        },
        in_line=True,
    )


def _rate(pico_usd_per_token: int) -> Node:
    return plain(usd_decimal(pico_usd_per_token, scale=PICO_PER_MICRO))
