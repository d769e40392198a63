"""Inputs made of others: something else in one of a request's fields, wherever it is, or other bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from tests.fuzz.memory import ID
from tests.support.callers import COLLECTIONS
from tests.support.messages import EDGES, ODD_TEXTS

BYTES_RATE = 0.1
"""How often bytes are changed, whatever they mean: most of what comes of it is no message."""

GOOD_TEXTS = (
    *("acme", ID, "openai", "gpt-4o", "Europe/Berlin", "openai/*", "feature", "https://acme.example", "*"),
    *("organizations/acme", *(f"organizations/acme/{each}/{ID}" for each in COLLECTIONS.values())),
)
"""What many fields take: of nothing but odd values little would be let through."""

REPEATED_MAX = 3

MutateBytes = Callable[[bytes, int], bytes]
"""Changes bytes, up to a length."""


def mutated(kind: type[Message], raw: bytes, size_max: int, random: Random, mutate: MutateBytes) -> bytes:
    """Another request of a kind."""
    if random.random() < BYTES_RATE:
        return mutate(raw, size_max)
    message = kind()
    try:
        message.ParseFromString(raw)
    except DecodeError:
        return mutate(raw, size_max)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        _spoil(message, random, mutate)
    changed = message.SerializeToString()
    return changed if len(changed) <= size_max else raw


def flipped(random: Random) -> MutateBytes:
    """Changes bytes without knowing what has come of others."""

    def flip(raw: bytes, size_max: int) -> bytes:
        place = random.randint(0, len(raw))
        fresh = random.randbytes(random.randint(0, 4))
        return (raw[:place] + fresh + raw[place + random.randint(0, 4) :])[:size_max]

    return flip


def _spoil(message: Any, random: Random, mutate: MutateBytes) -> None:
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    if not fields:
        return
    field = random.choice(fields)
    if random.random() < 0.2:
        message.ClearField(field.name)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        getattr(message, field.name)[_text("", random, mutate)] = _text("", random, mutate)
    elif field.is_repeated:
        _spoil_repeated(getattr(message, field.name), field, random, mutate)
    elif field.message_type is not None:
        inner = getattr(message, field.name)
        inner.SetInParent()
        _spoil(inner, random, mutate)
    else:
        before = getattr(message, field.name)
        setattr(message, field.name, _value(field, before, random, mutate))


def _spoil_repeated(values: Any, field: Any, random: Random, mutate: MutateBytes) -> None:
    if len(values) >= REPEATED_MAX:
        del values[random.randrange(len(values))]
    elif field.message_type is None:
        values.append(_value(field, values[-1] if values else None, random, mutate))
    else:
        inner = values[-1] if values and random.random() < 0.5 else values.add()
        _spoil(inner, random, mutate)


def _value(field: Any, before: Any, random: Random, mutate: MutateBytes) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return mutate(before or b"", 64)
        case FieldDescriptor.CPPTYPE_STRING:
            return _text(before or "", random, mutate)
        case FieldDescriptor.CPPTYPE_BOOL:
            return random.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return random.choice((*range(6), 11, -1, 2**31 - 1))
        case FieldDescriptor.CPPTYPE_INT64:
            return _number(random)
        case FieldDescriptor.CPPTYPE_INT32:
            return max(-(2**31), min(2**31 - 1, _number(random)))
        case _:
            return abs(_number(random)) % 2**31


def _number(random: Random) -> int:
    if random.random() < 0.5:
        return random.choice(EDGES)
    return random.randint(-9, 99) * random.choice((1, 1_000, 1_000_000))


def _text(before: str, random: Random, mutate: MutateBytes) -> str:
    match random.randrange(4):
        case 0:
            return random.choice(ODD_TEXTS)
        case 1:
            return mutate(before.encode(), 200).decode(errors="replace")
        case _:
            return random.choice(GOOD_TEXTS)
