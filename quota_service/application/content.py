"""Hashes that tell a repeat of a call from another call under the same key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

_encode = msgspec.json.Encoder().encode


def content_hash(*parts: str | int | bool | Sequence[object] | None) -> str:
    """32 hexadecimal digits that depend on every part and on nothing else."""
    raw = _encode(parts)
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
