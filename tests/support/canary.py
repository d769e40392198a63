"""Secrets to be sent wherever a caller can put something, and to be looked for wherever it could end up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jwt
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

ISSUER = "https://login.acme.example"
DEPTH_MAX = 6
NEEDLE = slice(16, 32)
"""Enough of a digest to know it by where a secret was cut off; behind what is kept of a key's secret."""


def _digest(label: str) -> str:
    return hashlib.sha256(label.encode()).hexdigest()


def needle(label: str) -> str:
    """What to look for."""
    return _digest(label)[NEEDLE]


def _token(label: str) -> str:
    """A JSON Web Token, of which the signature is looked for."""
    claims = jwt.encode({"iss": ISSUER, "aud": "quota", "exp": 2**33}, "k" * 32)
    return f"{claims.rpartition('.')[0]}.{_digest(label)}"


KINDS: Mapping[str, Callable[[str], str]] = {
    "the secret of an API key": lambda label: f"qk_{_digest(label)[:43]}",
    "a service token": lambda label: f"qt_{_digest(label)[:43]}",
    "a JSON Web Token": _token,
    "a model provider's key": lambda label: f"sk-proj-{_digest(label)}",
}
"""Secrets of every kind that is known by its shape, each for a label."""


def paths(message: Descriptor, depth: int = 1) -> Iterator[tuple[str, ...]]:
    """Every field that takes text or bytes, wherever it is."""
    for field in message.fields:
        inner = field.message_type
        if inner is None:
            if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
                yield (field.name,)
        elif depth < DEPTH_MAX:
            yield from ((field.name, *rest) for rest in paths(inner, depth + 1))


def put(message: Message, path: tuple[str, ...], secret: str) -> Message:
    """The message, with the secret there: as the last part, where there is a resource's name."""
    _put(message, path, secret)
    return message


def _put(message: Any, path: tuple[str, ...], secret: str) -> None:
    name, *rest = path
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (secret, "value") if rest == ["key"] else ("key", secret)
        getattr(message, name)[key] = value
    elif rest:
        inner = getattr(message, name)
        if field.is_repeated:
            inner = inner.add()
        inner.SetInParent()
        _put(inner, tuple(rest), secret)
    elif field.is_repeated:
        getattr(message, name).append(secret)
    elif field.type == FieldDescriptor.TYPE_STRING:
        collection, slash, _ = getattr(message, name).rpartition("/")
        setattr(message, name, f"{collection}{slash}{secret}")
    else:
        setattr(message, name, secret.encode())
