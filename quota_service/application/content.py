"""Hashes that tell a repeat of a call from another call under the same key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def content_hash(*parts: str | int | bool | Sequence[object] | None) -> str:
    """32 hexadecimal digits that depend on every part and on nothing else."""
    raw = _encode(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
