"""The standard methods of one kind of resource: from messages to the use case and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from quota_service.application.administration.resources import Resources
from quota_service.application.ports import Stored
from quota_service.domain.api_key import ApiKey
from quota_service.domain.budget import Budget
from quota_service.domain.model_policy import ModelPolicy
from quota_service.domain.ratelimit import RateLimit
from quota_service.domain.subject import Project, Team, User
from quota_service.edge import masks, names, paging
from quota_service.edge.access import control as access


class Named(Protocol):
    """What every resource's message has."""

    name: str
    etag: str


N = TypeVar("N", Team, User, ApiKey, Project, Budget, RateLimit, ModelPolicy)
P = TypeVar("P", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection(Generic[N, P]):
    """One kind of resource. `collection` as names say it, `field` as requests do.

    `decode` takes a message, the organization's id and the resource's id.
    """

    resources: Resources[N]
    collection: str
    field: str
    encode: Callable[[str, Stored[N]], P]
    decode: Callable[[P, str, str], N]

    async def create(self, parent: str, id_: str, message: P, request_id: str) -> P:
        organization = names.parse_organization(parent, "parent")
        stored = await self.resources.create(
            organization, self.decode(message, organization, id_), request_id
        )
        return self.encode(organization, stored)

    async def get(self, name: str) -> P:
        organization, id_ = names.parse(name, self.collection, "name")
        return self._shown(organization, await self.resources.get(organization, id_))

    async def list(self, parent: str, request: Message) -> tuple[list[P], str]:
        """The messages of one page, and the token of the next."""
        organization = names.parse_organization(parent, "parent")
        size, position = paging.page_size(request), paging.position(request)
        only = access.sight().ids(self.collection)
        page = await self.resources.list(organization, size, position, only)
        return [self._shown(organization, stored) for stored in page.items], paging.token(request, page.next)

    async def update(self, message: P, named: Named, mask: FieldMask, allow_missing: bool) -> P:
        """`named` is the message again, for its name and etag."""
        organization, id_ = names.parse(named.name, self.collection, f"{self.field}.name")
        masks.check(mask, cast("Descriptor", message.DESCRIPTOR))

        def evolve(current: N) -> N:
            before = self.encode(organization, Stored(value=current, etag="", create_ms=0, update_ms=0))
            return self.decode(masks.merged(before, message, mask), organization, id_)

        def otherwise() -> N:
            return self.decode(message, organization, id_)

        stored = await self.resources.update(
            organization, id_, evolve, etag=named.etag, otherwise=otherwise if allow_missing else None
        )
        return self.encode(organization, stored)

    async def delete(self, name: str, etag: str) -> None:
        organization, id_ = names.parse(name, self.collection, "name")
        await self.resources.delete(organization, id_, etag)

    def _shown(self, organization: str, stored: Stored[N]) -> P:
        value = access.sight().shown(self.collection, stored.value.id, stored.value)
        return self.encode(organization, replace(stored, value=value))
