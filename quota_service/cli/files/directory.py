"""The sections of a file that describe the directory: organization, teams, users, projects, keys."""

from __future__ import annotations

from collections.abc import Callable

from quota.v1 import directory_pb2, types_pb2
from quota_service.cli.files.fields import (
    Fields,
    flag,
    instant_reader,
    parse_id,
    text,
    texts,
    time_zone,
    usd_amount,
)
from quota_service.cli.files.reading import Place, Value
from quota_service.cli.files.state import Declared, Desired, Key, Kind, Reference, Resource

DIMENSIONS = {
    "team": types_pb2.DIMENSION_TEAM,
    "user": types_pb2.DIMENSION_USER,
    "key": types_pb2.DIMENSION_API_KEY,
    "project": types_pb2.DIMENSION_PROJECT,
    "cost_center": types_pb2.DIMENSION_COST_CENTER,
    "provider": types_pb2.DIMENSION_PROVIDER,
    "model": types_pb2.DIMENSION_MODEL,
    "tier": types_pb2.DIMENSION_TIER,
}
"""Dimensions by the names that files use."""

UNBUDGETED = {
    "deny": directory_pb2.UNBUDGETED_POLICY_DENY,
    "allow": directory_pb2.UNBUDGETED_POLICY_ALLOW,
}
UNKNOWN_SUBJECT = {
    "deny": directory_pb2.UNKNOWN_SUBJECT_POLICY_DENY,
    "create": directory_pb2.UNKNOWN_SUBJECT_POLICY_CREATE,
}

OUTAGE_POLICY = {
    "deny": directory_pb2.OUTAGE_POLICY_DENY,
    "allow_degraded": directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED,
}


class Declarations:
    """Collects what a file declares, with the mentions of other resources. `zone`: the organization's, where
    the file says it.
    """

    def __init__(self, desired: Desired, zone: str = "") -> None:
        self.desired = desired
        self.zone = zone

    def declare(self, key: Key, declared: Declared, value: Value) -> None:
        """Notes a resource; declaring it twice is a problem."""
        earlier = self.desired.resources.get(key)
        if earlier:
            value.problem(f"{key[0].label} {key[1]!r} is declared at {earlier.place} already")
            return
        self.desired.resources[key] = declared

    def mention(self, value: Value, kind: Kind, *, required: bool = True) -> str:
        """The id that a value names, noted as a reference."""
        identifier = value.parsed(parse_id, "")
        if identifier:
            self.refer(value, (kind, identifier), required=required)
        return identifier

    def refer(self, value: Value, key: Key, *, required: bool = True) -> None:
        """Notes that a value refers to a resource."""
        self.desired.references.append(
            Reference(key=key, path=value.path, place=value.place, required=required)
        )


_SETTINGS = (
    *("id", "name", "time_zone", "unbudgeted", "unknown_subject", "required_dimensions", "help_url"),
    *("outage_policy", "degraded_cost_cap"),
)


def read_organization(value: Value, into: Declarations) -> None:
    """The `organization` section: an id alone, or an id with settings."""
    if not value.is_mapping:
        into.desired.organization = value.parsed(parse_id, "")
        return
    fields = value.fields(*_SETTINGS)
    if "id" not in fields:
        value.problem("needs an id")
        return
    into.desired.organization = fields["id"].parsed(parse_id, "")
    message = directory_pb2.Organization(
        display_name=text(fields, "name"),
        time_zone=time_zone(fields) or "UTC",
        help_url=text(fields, "help_url"),
    )
    if "unbudgeted" in fields:
        message.unbudgeted = UNBUDGETED.get(fields["unbudgeted"].choice(UNBUDGETED), message.unbudgeted)
    if "unknown_subject" in fields:
        policy = fields["unknown_subject"].choice(UNKNOWN_SUBJECT)
        message.unknown_subject = UNKNOWN_SUBJECT.get(policy, message.unknown_subject)
    for entry in texts(fields, "required_dimensions"):
        dimension = entry.choice(DIMENSIONS)
        if dimension:
            message.required_dimensions.append(DIMENSIONS[dimension])
    _read_outage_policy(fields, message)
    key = (Kind.ORGANIZATION, into.desired.organization)
    into.declare(key, Declared(message=message, place=value.place), value)


def _read_outage_policy(fields: Fields, message: directory_pb2.Organization) -> None:
    if "degraded_cost_cap" in fields:
        message.degraded_cost_cap_micros = usd_amount(fields["degraded_cost_cap"])
    if "outage_policy" in fields:
        written = fields["outage_policy"]
        message.outage_policy = OUTAGE_POLICY.get(written.choice(OUTAGE_POLICY), message.outage_policy)
        allows = message.outage_policy == directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED
        if allows and "degraded_cost_cap" not in fields:
            written.problem(
                "allow_degraded needs a degraded_cost_cap",
                "write how much each replica may grant in one outage, such as {usd: 25}",
            )


def read_team(value: Value, fields: Fields, into: Declarations) -> directory_pb2.Team:
    """One team."""
    return directory_pb2.Team(
        display_name=text(fields, "name"),
        cost_center=fields["cost_center"].parsed(parse_id, "") if "cost_center" in fields else "",
        # The server keeps a lead that it does not know; a typo is more likely.
        leads=[into.mention(lead, Kind.USER, required=False) for lead in texts(fields, "leads")],
        disabled=flag(fields, "frozen"),
    )


def read_user(value: Value, fields: Fields, into: Declarations) -> directory_pb2.User:
    """One user."""
    return directory_pb2.User(
        display_name=text(fields, "name"),
        email=text(fields, "email"),
        teams=[into.mention(team, Kind.TEAM) for team in texts(fields, "teams")],
        disabled=flag(fields, "frozen"),
    )


def read_project(value: Value, fields: Fields, into: Declarations) -> directory_pb2.Project:
    """One project."""
    return directory_pb2.Project(display_name=text(fields, "name"), disabled=flag(fields, "frozen"))


def read_key(value: Value, fields: Fields, into: Declarations) -> directory_pb2.ApiKey:
    """One API key, which belongs to a user or to a team. It gets its secret when it is rotated."""
    message = directory_pb2.ApiKey(display_name=text(fields, "name"), disabled=flag(fields, "frozen"))
    if "until" in fields:
        ends = fields["until"].parsed(instant_reader(into.zone), None)
        if ends is not None:
            message.expire_time.CopyFrom(ends)
    if ("user" in fields) == ("team" in fields):
        value.problem("needs either a user or a team that owns it")
    elif "user" in fields:
        message.user = into.mention(fields["user"], Kind.USER)
    else:
        message.team = into.mention(fields["team"], Kind.TEAM)
    return message


_Reader = Callable[[Value, Fields, Declarations], Resource]
_SECTIONS: dict[Kind, tuple[_Reader, tuple[str, ...]]] = {
    Kind.TEAM: (read_team, ("name", "cost_center", "leads", "frozen")),
    Kind.USER: (read_user, ("name", "email", "teams", "frozen")),
    Kind.PROJECT: (read_project, ("name", "frozen")),
    Kind.KEY: (read_key, ("name", "user", "team", "until", "frozen")),
}


def read_section(kind: Kind, section: Value, into: Declarations) -> None:
    """A section that maps ids to teams, users, projects or keys."""
    reader, known = _SECTIONS[kind]
    for identifier, value in section.entries().items():
        fields = value.fields(*known)
        check_id(section, identifier)
        message = reader(value, fields, into)
        declared = Declared(
            message=message, place=section.key_place(identifier), keeps_frozen="frozen" not in fields
        )
        into.declare((kind, identifier), declared, value)


def check_id(section: Value, identifier: str) -> None:
    """Notes a problem when a key of a section is no id."""
    place: Place = section.key_place(identifier)
    try:
        parse_id(identifier)
    except ValueError as error:
        section.problems.add(place, f"{section.path}: {error}")
