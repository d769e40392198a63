"""Field masks: which fields of a resource an Update changes."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from quota_service.domain.errors import FieldProblem, InvalidRequest
from quota_service.domain.faults import did_you_mean

P = TypeVar("P", bound=Message)
EVERYTHING = "*"


def check(mask: FieldMask, descriptor: Descriptor) -> None:
    """Raises InvalidRequest on `update_mask` for every path that does not lead to a field."""
    problems = [_problem(path, descriptor) for path in mask.paths if path != EVERYTHING]
    found = [problem for problem in problems if problem is not None]
    if found:
        raise InvalidRequest(*found)


def merged(current: P, new: P, mask: FieldMask) -> P:
    """`current` with the mask's fields replaced by those of `new`; one without a value there is cleared.

    Without paths: every field that has a value in `new`. `*`: all fields.
    """
    if EVERYTHING in mask.paths:
        return new
    result = type(current)()
    result.CopyFrom(current)
    for path in mask.paths or [field.name for field, _ in new.ListFields()]:
        _replace(path.split("."), new, result)
    return result


def _problem(path: str, descriptor: Descriptor) -> FieldProblem | None:
    container: Descriptor | None = descriptor
    for name in path.split("."):
        if container is None:
            return FieldProblem(
                "update_mask", f"“{path}” leads into a field that can only be replaced as a whole"
            )
        field = container.fields_by_name.get(name)
        if field is None:
            hint = did_you_mean(name, container.fields_by_name)
            return FieldProblem("update_mask", f"“{path}”: {container.name} has no field “{name}”{hint}")
        container = None if field.is_repeated else field.message_type
    return None


def _replace(path: list[str], source: Message, target: Message) -> None:
    name, *rest = path
    if rest:
        _replace(rest, getattr(source, name), getattr(target, name))
        return
    field = target.DESCRIPTOR.fields_by_name[name]
    target.ClearField(name)
    if field.is_repeated:
        getattr(target, name).MergeFrom(getattr(source, name))
    elif not field.has_presence:
        setattr(target, name, getattr(source, name))
    elif source.HasField(name):
        _set(target, name, getattr(source, name))


def _set(target: Message, name: str, value: object) -> None:
    if isinstance(value, Message):
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)
