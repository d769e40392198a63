"""Organizations, teams, users, API keys and projects."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from quota.v1 import directory_pb2, types_pb2
from quota_service.application.ports import Stored
from quota_service.application.resolving import Resolved
from quota_service.domain.api_key import ApiKey, KeySecret
from quota_service.domain.subject import Dimension, Organization, OutagePolicy, Project, Team, User
from quota_service.edge import names
from quota_service.edge.convert.subject import subject
from quota_service.edge.convert.times import milliseconds, timestamp

_UNBUDGETED = {
    False: directory_pb2.UNBUDGETED_POLICY_DENY,
    True: directory_pb2.UNBUDGETED_POLICY_ALLOW,
}
_UNKNOWN_SUBJECT = {
    False: directory_pb2.UNKNOWN_SUBJECT_POLICY_DENY,
    True: directory_pb2.UNKNOWN_SUBJECT_POLICY_CREATE,
}

_OUTAGE = {
    OutagePolicy.DENY: directory_pb2.OUTAGE_POLICY_DENY,
    OutagePolicy.ALLOW_DEGRADED: directory_pb2.OUTAGE_POLICY_ALLOW_DEGRADED,
}
_OUTAGE_OF = {number: policy for policy, number in _OUTAGE.items()}


def organization(stored: Stored[Organization]) -> directory_pb2.Organization:
    """An organization as a message."""
    value = stored.value
    return directory_pb2.Organization(
        name=names.organization_name(value.id),
        display_name=value.display_name,
        time_zone=value.time_zone,
        unbudgeted=_UNBUDGETED[value.allow_unbudgeted],
        unknown_subject=_UNKNOWN_SUBJECT[value.create_unknown_subjects],
        required_dimensions=[
            types_pb2.Dimension.ValueType(dimension) for dimension in value.required_dimensions
        ],
        help_url=value.help_url,
        outage_policy=_OUTAGE[value.outage_policy],
        degraded_cost_cap_micros=value.degraded_cost_cap_micros,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
    )


def organization_of(message: directory_pb2.Organization, id_: str) -> Organization:
    """An organization of a message; its name, etag and times are not looked at."""
    has_cap = message.HasField("degraded_cost_cap_micros")
    return Organization(
        id=id_,
        display_name=message.display_name,
        time_zone=message.time_zone or "UTC",
        allow_unbudgeted=message.unbudgeted == directory_pb2.UNBUDGETED_POLICY_ALLOW,
        create_unknown_subjects=message.unknown_subject == directory_pb2.UNKNOWN_SUBJECT_POLICY_CREATE,
        required_dimensions=tuple(Dimension(dimension) for dimension in message.required_dimensions),
        help_url=message.help_url,
        outage_policy=_OUTAGE_OF.get(message.outage_policy, OutagePolicy.DENY),
        degraded_cost_cap_micros=message.degraded_cost_cap_micros if has_cap else None,
    )


def team(organization_id: str, stored: Stored[Team]) -> directory_pb2.Team:
    """A team as a message."""
    value = stored.value
    return directory_pb2.Team(
        name=names.resource_name(organization_id, names.TEAMS, value.id),
        display_name=value.display_name,
        cost_center=value.cost_center,
        leads=value.leads,
        disabled=value.disabled,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
    )


def team_of(message: directory_pb2.Team, id_: str) -> Team:
    """A team of a message; its name, etag and times are not looked at."""
    return Team(
        id=id_,
        display_name=message.display_name,
        cost_center=message.cost_center,
        leads=tuple(message.leads),
        disabled=message.disabled,
    )


def user(organization_id: str, stored: Stored[User]) -> directory_pb2.User:
    """A user as a message."""
    value = stored.value
    return directory_pb2.User(
        name=names.resource_name(organization_id, names.USERS, value.id),
        display_name=value.display_name,
        email=value.email,
        teams=value.teams,
        disabled=value.disabled,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
    )


def user_of(message: directory_pb2.User, id_: str) -> User:
    """A user of a message; its name, etag and times are not looked at."""
    return User(
        id=id_,
        display_name=message.display_name,
        email=message.email,
        teams=tuple(message.teams),
        disabled=message.disabled,
    )


def project(organization_id: str, stored: Stored[Project]) -> directory_pb2.Project:
    """A project as a message."""
    value = stored.value
    return directory_pb2.Project(
        name=names.resource_name(organization_id, names.PROJECTS, value.id),
        display_name=value.display_name,
        disabled=value.disabled,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
    )


def project_of(message: directory_pb2.Project, id_: str) -> Project:
    """A project of a message; its name, etag and times are not looked at."""
    return Project(id=id_, display_name=message.display_name, disabled=message.disabled)


def api_key(organization_id: str, stored: Stored[ApiKey], secret: str = "") -> directory_pb2.ApiKey:
    """An API key as a message, in the answer that has its secret with that."""
    value = stored.value
    message = directory_pb2.ApiKey(
        name=names.resource_name(organization_id, names.API_KEYS, value.id),
        display_name=value.display_name,
        disabled=value.disabled,
        etag=stored.etag,
        create_time=timestamp(stored.create_ms),
        update_time=timestamp(stored.update_ms),
        expire_time=_end(value.end_ms),
        revoke_time=_end(value.revoke_ms),
        secrets=map(_key_secret, value.secrets),
        secret=secret,
    )
    # Of a oneof, an empty string is a value too.
    if value.user:
        message.user = value.user
    else:
        message.team = value.team
    return message


def api_key_of(message: directory_pb2.ApiKey, id_: str) -> ApiKey:
    """An API key of a message; its name, etag and times are not looked at."""
    return ApiKey(
        id=id_,
        display_name=message.display_name,
        user=message.user,
        team=message.team,
        disabled=message.disabled,
        end_ms=milliseconds(message.expire_time) if message.HasField("expire_time") else None,
    )


def resolved(found: Resolved) -> directory_pb2.ResolveApiKeyResponse:
    """Whose a secret is, as a message."""
    return directory_pb2.ResolveApiKeyResponse(
        name=names.resource_name(found.subject.organization, names.API_KEYS, found.key.id),
        subject=subject(found.subject),
        expire_time=_end(found.end_ms),
    )


def _key_secret(secret: KeySecret) -> directory_pb2.ApiKeySecret:
    return directory_pb2.ApiKeySecret(
        start=secret.start, create_time=timestamp(secret.create_ms), expire_time=_end(secret.end_ms)
    )


def _end(instant_ms: int | None) -> Timestamp | None:
    return None if instant_ms is None else timestamp(instant_ms)
