"""Who spends: the directory, and the subject of a request completed from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from quota_service.domain.api_key import ApiKey
from quota_service.domain.values import value

ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+|:-]{0,127}")


class Dimension(IntEnum):
    """A property of a request that a budget can be about."""

    ORGANIZATION = 1
    TEAM = 2
    USER = 3
    API_KEY = 4
    PROJECT = 5
    COST_CENTER = 6
    PROVIDER = 7
    MODEL = 8
    TIER = 9
    TAG = 10


@value(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who spends. Empty strings are unknown parts; `tags` is sorted by key. `cost_center` is the team's,
    never sent.
    """

    organization: str = ""
    team: str = ""
    user: str = ""
    api_key: str = ""
    project: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    cost_center: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    id: str
    display_name: str = ""
    cost_center: str = ""
    leads: tuple[str, ...] = ()
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """`teams`: ids; the first is the primary team."""

    id: str
    display_name: str = ""
    email: str = ""
    teams: tuple[str, ...] = ()
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    id: str
    display_name: str = ""
    disabled: bool = False


class OutagePolicy(StrEnum):
    """What to answer while the store of budgets is down."""

    DENY = "DENY"
    ALLOW_DEGRADED = "ALLOW_DEGRADED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """An organization and its settings.

    `degraded_cost_cap_micros`: the most that one replica may grant in one outage; not `None` with
    ALLOW_DEGRADED, without meaning otherwise.
    """

    id: str
    display_name: str = ""
    time_zone: str = "UTC"
    allow_unbudgeted: bool = False
    create_unknown_subjects: bool = False
    required_dimensions: tuple[Dimension, ...] = ()
    help_url: str = ""
    outage_policy: OutagePolicy = OutagePolicy.DENY
    degraded_cost_cap_micros: int | None = None

    @property
    def degraded_cap_micros(self) -> int:
        """What one replica may grant in one outage: nothing where the policy is to deny."""
        allows = self.outage_policy is OutagePolicy.ALLOW_DEGRADED
        return (self.degraded_cost_cap_micros or 0) if allows else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """One organization's teams, users, keys and projects by id."""

    teams: Mapping[str, Team] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)
    api_keys: Mapping[str, ApiKey] = field(default_factory=dict)
    projects: Mapping[str, Project] = field(default_factory=dict)


class SubjectFault(IntEnum):
    """Why a subject is refused."""

    UNKNOWN = 1
    CONTRADICTORY = 2
    DISABLED = 3
    REVOKED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectProblem:
    """One part of a subject that is refused. `source` is relative: `users/ada`."""

    fault: SubjectFault
    source: str
    message: str


def complete(subject: Subject, directory: Directory) -> tuple[Subject, tuple[SubjectProblem, ...]]:
    """The subject with what the directory adds, and every reason to refuse it.

    A key brings its user or team, a user the primary team, a team its cost center.
    """
    completed = _with_team(_with_user(subject, directory), directory)
    problems = (
        *_unknown(completed, directory),
        *_contradictory(completed, directory),
        *_disabled(completed, directory),
        *_revoked(completed, directory),
    )
    return completed, problems


def _with_user(subject: Subject, directory: Directory) -> Subject:
    key = directory.api_keys.get(subject.api_key)
    if key is None:
        return subject
    return replace(subject, user=subject.user or key.user, team=subject.team or key.team)


def _with_team(subject: Subject, directory: Directory) -> Subject:
    user = directory.users.get(subject.user)
    name = subject.team or (user.teams[0] if user and user.teams else "")
    team = directory.teams.get(name)
    return replace(subject, team=name, cost_center=team.cost_center if team else "")


def parts(
    subject: Subject, directory: Directory
) -> tuple[tuple[str, str, Team | User | ApiKey | Project | None], ...]:
    """The named parts of a subject: collection, id, and what the directory knows of it."""
    named = (
        ("apiKeys", subject.api_key, directory.api_keys.get(subject.api_key)),
        ("users", subject.user, directory.users.get(subject.user)),
        ("teams", subject.team, directory.teams.get(subject.team)),
        ("projects", subject.project, directory.projects.get(subject.project)),
    )
    return tuple(part for part in named if part[1])


_SINGULAR = {"apiKeys": "API key", "users": "user", "teams": "team", "projects": "project"}


def _unknown(subject: Subject, directory: Directory) -> tuple[SubjectProblem, ...]:
    return tuple(
        SubjectProblem(
            fault=SubjectFault.UNKNOWN,
            source=f"{collection}/{id_}",
            message=f"The directory does not know {_SINGULAR[collection]} “{id_}”.",
        )
        for collection, id_, entry in parts(subject, directory)
        if entry is None
    )


def _disabled(subject: Subject, directory: Directory) -> tuple[SubjectProblem, ...]:
    return tuple(
        SubjectProblem(
            fault=SubjectFault.DISABLED,
            source=f"{collection}/{id_}",
            message=f"The {_SINGULAR[collection]} “{id_}” is disabled.",
        )
        for collection, id_, entry in parts(subject, directory)
        if entry is not None and entry.disabled
    )


def _revoked(subject: Subject, directory: Directory) -> tuple[SubjectProblem, ...]:
    key = directory.api_keys.get(subject.api_key)
    if key is None or key.revoke_ms is None:
        return ()
    message = f"The API key “{key.id}” was revoked."
    return (SubjectProblem(fault=SubjectFault.REVOKED, source=f"apiKeys/{key.id}", message=message),)


def _contradictory(subject: Subject, directory: Directory) -> tuple[SubjectProblem, ...]:
    problems = []
    key = directory.api_keys.get(subject.api_key)
    user = directory.users.get(subject.user)
    if key and key.user and subject.user != key.user:
        problems.append(
            _mismatch(
                f"apiKeys/{key.id}", f"API key “{key.id}” belongs to another user than “{subject.user}”."
            )
        )
    if key and key.team and subject.team != key.team:
        problems.append(
            _mismatch(
                f"apiKeys/{key.id}", f"API key “{key.id}” belongs to another team than “{subject.team}”."
            )
        )
    if user and subject.team and subject.team not in user.teams:
        problems.append(_mismatch(f"users/{user.id}", f"User “{user.id}” is not in team “{subject.team}”."))
    return tuple(problems)


def _mismatch(source: str, message: str) -> SubjectProblem:
    return SubjectProblem(fault=SubjectFault.CONTRADICTORY, source=source, message=message)
