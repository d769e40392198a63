"""Create, get, list, update and delete, the same for every kind of resource inside an organization."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

from quota_service.application.administration.changes import Changes, require_etag, require_id, require_unused
from quota_service.application.administration.content import resource_hash
from quota_service.application.ports import Change, Page, Stored
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import Budget
from quota_service.domain.errors import AlreadyExists, FieldProblem, InvalidRequest, NotFound
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Project, Team, User

N = TypeVar("N", Team, User, ApiKey, Project, Budget, RateLimit, ModelPolicy)


class Resources(ABC, Generic[N]):
    """One kind of resource. A subclass says what a valid one is, and what keeps it from being deleted.

    Every method raises StoreUnavailable where a store does not answer.
    """

    kind: type[N]
    singular: ClassVar[str]
    """As a person calls it."""
    field: ClassVar[str]
    """As requests call it, such as `api_key`."""
    missing: ClassVar[type[NotFound]] = NotFound

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def prepare(self, organization: str) -> None:  # most kinds need nothing
        """Learns what `admit` needs to know from elsewhere, before the change begins."""

    @abstractmethod
    async def admit(self, change: Change, value: N) -> N:
        """The value as it shall be stored. Raises InvalidRequest with paths that begin with `field`."""

    @abstractmethod
    async def referrers(self, change: Change, id_: str) -> Sequence[str]:
        """What refers to it, such as `users/ada`."""

    def content(self, value: N) -> str:
        """What tells a repeated creation from another one."""
        return resource_hash(self.field, value)

    async def create(self, organization: str, value: N, request_id: str = "") -> Stored[N]:
        """Raises AlreadyExists, IdempotencyConflict, InvalidRequest, OrganizationNotFound.

        The same request_id with the same content returns what it created, as it is now.
        """
        require_id(value.id, f"{self.field}_id")
        await self.prepare(organization)
        async with self._changes.change(organization) as change:
            if request_id and not await change.claim_request(request_id, self.content(value)):
                return await self._created_before(change, value.id)
            if await change.get(self.kind, value.id) is not None:
                raise AlreadyExists(f"{self._name(value.id)} exists already.")
            return await change.put(await self.admit(change, value))

    async def get(self, organization: str, id_: str) -> Stored[N]:
        """Raises NotFound."""
        stored = await self._changes.store.get(organization, self.kind, id_)
        if stored is None:
            raise self.not_found(organization, id_)
        return stored

    async def list(
        self, organization: str, page_size: int, after: str, only: Sequence[str] | None = None
    ) -> Page[Stored[N]]:
        """By id. `only`: of these ids. Raises OrganizationNotFound."""
        return await self._changes.store.list(organization, self.kind, page_size, after, only)

    async def update(
        self,
        organization: str,
        id_: str,
        evolve: Callable[[N], N],
        *,
        etag: str = "",
        otherwise: Callable[[], N] | None = None,
    ) -> Stored[N]:
        """Replaces the resource by `evolve` of it; where there is none, creates what `otherwise` returns.

        Both run while the organization's configuration is locked: they must be quick and keep the id.
        Raises NotFound, OrganizationNotFound, EtagMismatch, InvalidRequest.
        """
        await self.prepare(organization)
        async with self._changes.change(organization) as change:
            stored = await change.get(self.kind, id_)
            if stored is None:
                if otherwise is None or etag:
                    raise self.not_found(organization, id_)
                require_id(id_, f"{self.field}.name")
                return await change.put(await self.admit(change, otherwise()))
            require_etag(etag, stored.etag, self._name(id_))
            value = await self.admit(change, evolve(stored.value))
            return stored if value == stored.value else await change.put(value)

    async def delete(self, organization: str, id_: str, etag: str = "") -> None:
        """Raises NotFound, OrganizationNotFound, EtagMismatch, ResourceInUse."""
        async with self._changes.change(organization) as change:
            stored = await change.get(self.kind, id_)
            if stored is None:
                raise self.not_found(organization, id_)
            require_etag(etag, stored.etag, self._name(id_))
            require_unused(self._name(id_), await self.referrers(change, id_))
            await change.delete(self.kind, id_)

    async def _created_before(self, change: Change, id_: str) -> Stored[N]:
        stored = await change.get(self.kind, id_)
        if stored is None:
            raise self.missing(
                f"{self._name(id_)} was created under this request_id and has been deleted since."
            )
        return stored

    def _name(self, id_: str) -> str:
        return f"{self.singular} “{id_}”"

    @classmethod
    def not_found(cls, organization: str, id_: str) -> NotFound:
        """What is told of one that does not exist."""
        return cls.missing(f"There is no {cls.singular} “{id_}” in organization “{organization}”.")


def refuse_repeats(ids: Sequence[str], field: str) -> None:
    """Raises InvalidRequest where an id is listed twice."""
    repeated = [index for index, id_ in enumerate(ids) if id_ in ids[:index]]
    if repeated:
        raise InvalidRequest(
            *(FieldProblem(f"{field}[{index}]", f"“{ids[index]}” is listed twice") for index in repeated)
        )
