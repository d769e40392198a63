"""Hypothesis strategies for messages that nobody in their right mind would send."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

DEPTH_MAX = 4

EDGES = (0, 1, -1, 2**31 - 1, 2**53, 2**53 + 1, 9 * 10**14 + 1, 2**63 - 1, -(2**63))
_INTEGERS = st.one_of(st.sampled_from(EDGES), st.integers(-9, 999))
_NAMES = ("", "acme", "acme-1", "organizations/acme", "organizations/acme/budgets/acme-1", "organizations//")
_NASTY = ("\0", "a\nb", "../..", "{acme}", "%s%n", "'; DROP TABLE resources; --", "🜁" * 50, "é", "x" * 10_000)
_ODD = ("name", "limits.cost_micros", "UTC", "Europe/Berlin", "9" * 400, "1e999", "-0", "nan", "-", "*")
ODD_TEXTS = _NAMES + _NASTY + _ODD
_TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(st.characters(codec="utf-8"), max_size=20))


@st.composite
def messages(draw: st.DrawFn, kind: Descriptor, depth: int = 0) -> Any:
    """Any message of a kind: of its fields some, with anything in them that the wire format allows."""
    message: Any = GetMessageClass(kind)()
    known: tuple[Any, ...] = tuple(kind.fields)
    some = st.lists(st.sampled_from(known or (None,)), max_size=5 * bool(known), unique_by=_number)
    for field in draw(some):
        fill(draw, message, field, depth)
    return message


def _number(field: Any) -> int:
    number: int = field.number
    return number


def fill(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int = 0) -> None:
    """Puts anything into a field."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key, value in draw(st.dictionaries(_TEXTS, _TEXTS, max_size=20)).items():
            getattr(message, field.name)[key] = value
    elif field.is_repeated:
        values = draw(st.lists(_values(field, depth), max_size=3))
        getattr(message, field.name).extend(values)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(draw(_values(field, depth)))
    else:
        setattr(message, field.name, draw(_values(field, depth)))


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        if depth >= DEPTH_MAX:
            return st.builds(GetMessageClass(field.message_type))
        return messages(field.message_type, depth + 1)
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return _TEXTS if field.type == FieldDescriptor.TYPE_STRING else st.binary(max_size=50)
        case FieldDescriptor.CPPTYPE_INT32:
            return _INTEGERS.map(lambda number: max(-(2**31), min(2**31 - 1, number)))
        case FieldDescriptor.CPPTYPE_INT64:
            return _INTEGERS
        case FieldDescriptor.CPPTYPE_ENUM:
            return st.one_of(st.integers(0, 12), st.sampled_from((-1, 999, 2**31 - 1)))
        case FieldDescriptor.CPPTYPE_BOOL:
            return st.booleans()
        case _:
            return _INTEGERS.map(abs)


@st.composite
def spoilt(draw: st.DrawFn, message: Message) -> Any:
    """A message with anything in some of its fields, wherever they are."""
    result: Any = type(message)()
    result.CopyFrom(message)
    for _ in range(draw(st.integers(1, 3))):
        part: Any = result
        while True:
            fields = tuple(part.DESCRIPTOR.fields)
            if not fields:
                break
            field = draw(st.sampled_from(fields))
            inner = field.message_type is not None and not field.is_repeated
            if inner and draw(st.booleans()):
                part = getattr(part, field.name)
                part.SetInParent()
                continue
            fill(draw, part, field)
            break
    return result
