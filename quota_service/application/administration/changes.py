"""How a change of an organization's configuration takes effect, and the rules that all resources share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quota_service.application import authorship
from quota_service.application.ports import Change, ConfigurationStore
from quota_service.application.publishing import VersionPublisher
from quota_service.domain.errors import EtagMismatch, FieldProblem, InvalidRequest, ResourceInUse
from quota_service.domain.subject import ID_PATTERN

REFERRERS_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Changes:
    """Makes changes effective: committed in PostgreSQL, then published to Valkey, and only then answered."""

    store: ConfigurationStore
    publisher: VersionPublisher

    @asynccontextmanager
    async def change(
        self, organization: str, *, reason: str = "", request_id: str = ""
    ) -> AsyncIterator[Change]:
        """One change. `reason` and `request_id`: what the request itself says of it, where it does. Raises
        OrganizationNotFound, and StoreUnavailable where a store does not answer.

        After a StoreUnavailable the change may have been committed and not published: the caller repeats it.
        A repeat that finds nothing left to change publishes nevertheless.
        """
        by = authorship.current()
        by = by._replace(reason=reason or by.reason, request_id=request_id or by.request_id)
        async with self.store.change(organization, by) as change:
            yield change
        await self.publisher.publish_version(organization, change.version)

    async def publish(self, organization: str, version: int) -> None:
        """Publishes a change that the store has made by itself."""
        await self.publisher.publish_version(organization, version)


def require_id(id_: str, field: str) -> None:
    """Raises InvalidRequest unless it is an id."""
    if not ID_PATTERN.fullmatch(id_):
        raise InvalidRequest(
            FieldProblem(
                field, "must be 1–128 letters, digits or any of ._@+|:- and begin with a letter or digit"
            )
        )


def require_etag(given: str, current: str, name: str) -> None:
    """Raises EtagMismatch unless the given one is empty or the current one."""
    if given and given != current:
        raise EtagMismatch(f"{name} has changed since it was read: its etag is not “{given}” any more.")


def require_unused(name: str, referrers: Sequence[str]) -> None:
    """Raises ResourceInUse if anything refers to it."""
    if not referrers:
        return
    named = ", ".join(referrers[:REFERRERS_NAMED_MAX])
    more = len(referrers) - REFERRERS_NAMED_MAX
    raise ResourceInUse(f"{name} is in use by {named}{f' and {more} more' if more > 0 else ''}.")
