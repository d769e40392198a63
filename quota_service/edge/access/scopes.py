"""Which organizations a request is about, found by its descriptor: no method has to remember to look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from quota.v1.types_pb2 import Subject

NAMES = frozenset({"name", "parent", "names", "source", "destination"})
"""Fields of requests that hold resource names, `organizations/{organization}/…`."""

IDS = frozenset({"organization", "organization_id"})
"""Fields that hold an organization's id."""

DEPTH_MAX = 4


@cache
def paths(request: Descriptor) -> tuple[tuple[str, ...], ...]:
    """Where a request may name an organization. With a `parent`, names inside of what is created mean
    nothing.
    """
    has_parent = "parent" in request.fields_by_name
    return tuple(
        path for path in _paths(request, ()) if not (has_parent and len(path) > 1 and path[-1] == "name")
    )


def _paths(message: Descriptor, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for field in message.fields:
        path = (*before, field.name)
        if field.type == FieldDescriptor.TYPE_STRING and field.name in NAMES | IDS:
            yield path
        elif (inner := field.message_type) is not None and _is_ours(inner) and len(path) < DEPTH_MAX:
            yield from _paths(inner, path)


def _is_ours(message: Descriptor) -> bool:
    return message.full_name.startswith("quota.v1.") and not message.GetOptions().map_entry


def resource_names(request: Message) -> list[str]:
    """The names of all resources that it names."""
    return [
        value
        for path in paths(request.DESCRIPTOR)
        if path[-1] in NAMES
        for value in _values(request, path)
        if value
    ]


def parts(request: Any) -> Sequence[Message]:
    """The requests that it is made of; itself, if it is none of those."""
    return request.requests if "requests" in request.DESCRIPTOR.fields_by_name else (request,)


def organizations(request: Message) -> list[str]:
    """The ids of all organizations that it names."""
    found = []
    for path in paths(request.DESCRIPTOR):
        for value in _values(request, path):
            if value:
                found.append(_organization(value) if path[-1] in NAMES else value)
    return found


def _values(message: Any, path: Sequence[str]) -> Iterator[str]:
    value = getattr(message, path[0])
    items: Iterable[Any] = (value,) if isinstance(value, (str, Message)) else value
    if len(path) == 1:
        yield from items
        return
    for item in items:
        yield from _values(item, path[1:])


def _organization(name: str) -> str:
    """The organization of a resource name; the whole of what is none, which is no organization's id."""
    collection, _, rest = name.partition("/")
    return rest.partition("/")[0] if collection == "organizations" else name


def name_organization(request: Any, organization: str) -> None:
    """Says in a request without an organization which one it is about, where its subject can say it."""
    if isinstance(getattr(request, "subject", None), Subject):
        request.subject.organization = organization
