"""Teams, users and projects, and the directory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quota_service.application.administration.api_keys import ApiKeys
from quota_service.application.administration.changes import Changes
from quota_service.application.administration.references import existence_faults, scope_referrers
from quota_service.application.administration.resources import Resources, refuse_repeats
from quota_service.application.peppers import Peppers
from quota_service.application.ports import Change
from quota_service.domain.api_key import ApiKey
from quota_service.domain.faults import refuse
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.subject import Project, Team, User


class Teams(Resources[Team]):
    """Leads need not be in the directory: teams and users refer to each other, and one has to come first."""

    kind = Team
    singular = "team"
    field = "team"

    async def admit(self, change: Change, value: Team) -> Team:
        refuse_repeats(value.leads, "team.leads")
        return value

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        users = [f"users/{user.id}" for user in await change.all(User) if id_ in user.teams]
        keys = [f"apiKeys/{key.id}" for key in await change.all(ApiKey) if key.team == id_]
        policies = [
            f"modelPolicies/{policy.id}" for policy in await change.all(ModelPolicy) if policy.team == id_
        ]
        return [*users, *keys, *await scope_referrers(change, lambda scope: scope.team == id_), *policies]


class Users(Resources[User]):
    """Raises ReferenceUnknown where a team does not exist."""

    kind = User
    singular = "user"
    field = "user"

    async def admit(self, change: Change, value: User) -> User:
        refuse_repeats(value.teams, "user.teams")
        named = [(f"teams[{index}]", team) for index, team in enumerate(value.teams)]
        refuse(await existence_faults(change, Team, named), "user.")
        return value

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        keys = [f"apiKeys/{key.id}" for key in await change.all(ApiKey) if key.user == id_]
        return [*keys, *await scope_referrers(change, lambda scope: scope.user == id_)]


class Projects(Resources[Project]):
    """Projects refer to nothing."""

    kind = Project
    singular = "project"
    field = "project"

    async def admit(self, change: Change, value: Project) -> Project:
        return value

    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        return await scope_referrers(change, lambda scope: scope.project == id_)


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory of every organization."""

    teams: Teams
    users: Users
    api_keys: ApiKeys
    projects: Projects


def directory(changes: Changes, peppers: Peppers, now_ms: Callable[[], int]) -> Directory:
    """The directory's use cases over one store. `now_ms` is the deciding store's clock."""
    api_keys = ApiKeys(changes, peppers, now_ms)
    return Directory(Teams(changes), Users(changes), api_keys, Projects(changes))
