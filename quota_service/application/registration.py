"""Registers names that the directory does not know, for organizations that want it so."""

from __future__ import annotations

from quota_service.application import authorship
from quota_service.application.ports import Change, ConfigurationStore
from quota_service.application.publishing import VersionPublisher
from quota_service.domain.api_key import ApiKey
from quota_service.domain.subject import Project, Subject, Team, User


class Registration:
    """Adds the unknown parts of a subject to the directory."""

    def __init__(self, store: ConfigurationStore, publisher: VersionPublisher) -> None:
        self._store = store
        self._publisher = publisher

    async def register(self, subject: Subject) -> int:
        """The version from which the subject is known.

        Raises AlreadyExists where another organization has the key.
        """
        async with self._store.change(subject.organization, authorship.current()) as change:
            await _register(change, subject)
        await self._publisher.publish_version(subject.organization, change.version)
        return change.version


async def _register(change: Change, subject: Subject) -> None:
    """In the order of reference. What somebody else has registered meanwhile stays as it is."""
    teams = (subject.team,) if subject.team else ()
    if subject.team and await change.get(Team, subject.team) is None:
        await change.put(Team(id=subject.team))
    if subject.user and await change.get(User, subject.user) is None:
        await change.put(User(id=subject.user, teams=teams))
    if subject.project and await change.get(Project, subject.project) is None:
        await change.put(Project(id=subject.project))
    if subject.api_key and await change.get(ApiKey, subject.api_key) is None:
        await change.put(
            ApiKey(id=subject.api_key, user=subject.user, team="" if subject.user else subject.team)
        )
