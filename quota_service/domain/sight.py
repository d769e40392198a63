"""What a caller sees of an organization. One that is bound to teams is answered as though there were nothing
but what is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from quota_service.domain.caller import Caller
from quota_service.domain.configuration import Configuration
from quota_service.domain.scope import Scope
from quota_service.domain.subject import Directory, Subject, SubjectProblem, complete

V = TypeVar("V")

COLLECTIONS: Mapping[str, Callable[[Configuration], Mapping[str, Any]]] = {
    "teams": lambda seen: seen.directory.teams,
    "users": lambda seen: seen.directory.users,
    "apiKeys": lambda seen: seen.directory.api_keys,
    "budgets": lambda seen: seen.budgets,
    "rateLimits": lambda seen: seen.rate_limits,
    "modelPolicies": lambda seen: seen.model_policies,
}
"""As names call them. Of any other one nothing is in sight."""


@dataclass(frozen=True, slots=True)
class Sight:
    """`only`: the organization's configuration without all that is out of sight (and without models, which
    nobody asks for here); `None`: all is in sight.
    """

    only: Configuration | None = None

    def ids(self, collection: str) -> Sequence[str] | None:
        """Those of a collection that are in sight; `None`: whatever it has."""
        return None if self.only is None else tuple(_things(self.only, collection))

    def sees(self, source: str) -> bool:
        """Whether something is, by its relative name, such as `budgets/core`. What has no id is."""
        collection, _, id_ = source.partition("/")
        return self.only is None or not id_ or id_ in _things(self.only, collection)

    def sees_subject(self, subject: Subject) -> bool:
        """Whether what somebody spends is: what is spent is the team's."""
        return self.only is None or subject.team in self.only.directory.teams

    def shown(self, collection: str, id_: str, value: V) -> V:
        """A value without what is out of sight: a user's other teams."""
        return value if self.only is None else _things(self.only, collection).get(id_, value)

    def completed(self, subject: Subject) -> tuple[Subject, Sequence[SubjectProblem]]:
        """As `complete`, with the directory that is in sight; as it was sent, where all is."""
        return (subject, ()) if self.only is None else complete(subject, self.only.directory)


EVERYTHING = Sight()


def sight_of(caller: Caller, configuration: Configuration) -> Sight:
    """What a caller who is bound to teams sees of its organization.

    The teams themselves, who is in them, and their keys; budgets and rate limits that are about some of these
    and about nobody else; the teams' own model policies. No projects: they are nobody's.
    """
    directory = _of_teams(_teams_of(caller, configuration.directory), configuration.directory)
    return Sight(
        Configuration(
            version=configuration.version,
            organization=configuration.organization,
            directory=directory,
            budgets=_kept(configuration.budgets, lambda budget: _is_about(budget.scope, directory)),
            rate_limits=_kept(configuration.rate_limits, lambda limit: _is_about(limit.scope, directory)),
            model_policies=_kept(configuration.model_policies, lambda policy: policy.team in directory.teams),
        )
    )


def _teams_of(caller: Caller, directory: Directory) -> Iterable[str]:
    if caller.user:
        return [id_ for id_, team in directory.teams.items() if caller.user in team.leads]
    return caller.teams


def _of_teams(ids: Iterable[str], directory: Directory) -> Directory:
    """These teams, their users as members of these alone, and the keys of both."""
    teams = {id_: directory.teams[id_] for id_ in ids if id_ in directory.teams}
    users = {
        id_: replace(user, teams=tuple([team for team in user.teams if team in teams]))
        for id_, user in directory.users.items()
        if not teams.keys().isdisjoint(user.teams)
    }
    keys = _kept(directory.api_keys, lambda key: key.team in teams or key.user in users)
    return Directory(teams=teams, users=users, api_keys=keys)


def _is_about(scope: Scope, directory: Directory) -> bool:
    """Whether it names somebody, and nobody who is out of sight."""
    named = (
        (scope.team, directory.teams),
        (scope.user, directory.users),
        (scope.api_key, directory.api_keys),
    )
    known = [id_ in those for id_, those in named if id_]
    return bool(known) and all(known)


def _kept(things: Mapping[str, V], is_in_sight: Callable[[V], bool]) -> dict[str, V]:
    return {id_: value for id_, value in things.items() if is_in_sight(value)}


def _things(seen: Configuration, collection: str) -> Mapping[str, Any]:
    things = COLLECTIONS.get(collection)
    return {} if things is None else things(seen)
