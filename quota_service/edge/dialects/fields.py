"""The fields of a request's body that a price depends on, and what they may be. JSON null means absent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from quota_service.edge.dialects.calls import CallMalformed

Fields = Mapping[str, Any]
"""An object of JSON, as it came."""

TOKENS_MAX = 1_000_000_000
CHOICES_MAX = 128

_MODEL = re.compile(r"[!-~]{1,256}")
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def parsed(body: bytes) -> dict[str, Any]:
    """The body as an object. Raises CallMalformed where it is none."""
    value = _decoded(body)
    if not isinstance(value, dict):
        raise CallMalformed("The body must be a JSON object.")
    return value


def raw_members(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object, each with its very bytes. Raises CallMalformed where there is no object."""
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError):
        return _mended_members(body)


def without_lone_surrogates(body: bytes) -> bytes:
    """The same JSON, with U+FFFD for every half of a character: programs that cut texts leave such halves
    behind, and many providers read over them.
    """
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)


def model_of(named: object) -> str:
    """A model's name. Raises CallMalformed for what is none."""
    if named is None:
        raise CallMalformed("model is required.", "model")
    if not isinstance(named, str) or not _MODEL.fullmatch(named):
        raise CallMalformed("model must be 1 to 256 printable ASCII characters without spaces.", "model")
    return named


def count_of(fields: Fields, name: str, most: int, *, least: int = 1) -> int | None:
    """The whole number of that field. Raises CallMalformed for anything else than `least` to `most`."""
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:  # true is an int, too
        raise CallMalformed(f"{name} must be a whole number from {least} to {most}.", name)
    return value


def largest(fields: Fields, names: Iterable[str], most: int = TOKENS_MAX) -> int | None:
    """The largest of those fields; `None` where all are absent. Raises CallMalformed as `count_of` does."""
    given = [value for name in names if (value := count_of(fields, name, most)) is not None]
    return max(given, default=None)


def fields_of(value: object) -> Fields:
    """That object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items_of(value: object) -> list[Any]:
    """That list, a single value as a list, nothing for null."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def text_of(value: object) -> str:
    """That text, or "" for anything else."""
    return value if isinstance(value, str) else ""


def _decoded(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise CallMalformed("The body is nested too deeply.") from None
    except ValueError as error:
        mended = without_lone_surrogates(body)
        if mended == body:
            raise CallMalformed(f"The body is not JSON: {error}.") from None
        return _decoded(mended)


def _mended_members(body: bytes) -> dict[str, msgspec.Raw]:
    parsed(body)  # says what is wrong, if anything but halves of characters is
    return msgspec.json.decode(without_lone_surrogates(body), type=dict[str, msgspec.Raw])
