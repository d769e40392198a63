"""A hash of what somebody wants to create: tells a repeat from another request under the same request_id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any


def resource_hash(*parts: object) -> str:
    """SHA-256, in hex, of domain values.

    Parts that have their default value are left out, so that a field added by a later version does not turn
    old repeats into conflicts.
    """
    canonical = json.dumps([_canonical(part) for part in parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: object) -> Any:
    if is_dataclass(value):
        named = {
            field.name: getattr(value, field.name) for field in fields(value) if not _is_default(value, field)
        }
        return {"": type(value).__name__, **{name: _canonical(part) for name, part in named.items()}}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {
            name: _canonical(part)
            for name, part in zip(value._fields, value, strict=True)
            if part is not None
        }
    if isinstance(value, tuple):
        return [_canonical(part) for part in value]
    return value


def _is_default(value: object, field: Field[Any]) -> bool:
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return default is not MISSING and getattr(value, field.name) == default
