"""The file that says what Envoy's calls mean here: who spends, and what may be done about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from quota_service.domain.subject import ID_PATTERN

TTL_MS = 60_000
MIN_OUTPUT_TOKENS = 256

PARTS = ("organization", "team", "user", "project")
"""Of a subject, that claims, certificates and headers can say."""

_HEADER = re.compile("[a-z0-9-]{1,64}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+|:-]{0,63}")
_NEVER_TRUSTED = "x-quota-"


class GatewayFault(Exception):
    """The file cannot be used. The text says why, and where."""


class Jwt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Claims of a token that Envoy's jwt_authn has verified and put into metadata as `metadata`. Each part is
    the name of a claim; "" for none.
    """

    metadata: str
    organization: str = ""
    team: str = ""
    user: str = ""
    project: str = ""


class Who(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parts of a subject, as ids, or the headers that say them; "" for none."""

    organization: str = ""
    team: str = ""
    user: str = ""
    project: str = ""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of: a verified token, names of client certificates (each with who it is), headers."""

    jwt: Jwt | None = None
    certificates: Mapping[str, Who] | None = None
    headers: Who | None = None


ApiKeys = Literal["api_key"]
"""The secret of an API key, in `authorization`, `x-api-key` or `x-goog-api-key`."""


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`subjects`: asked in this order; the first that says anything counts. `organization`: whose calls are
    those of which nothing else says it. `tags`: which header says a tag. `remove_key`: what the caller showed
    does not travel on. `other_calls`: what becomes of calls that spend nothing as far as is known.
    """

    organization: str = ""
    subjects: tuple[ApiKeys | Source, ...] = ("api_key",)
    tags: Mapping[str, str] = {}
    remove_key: bool = True
    min_output_tokens: int = MIN_OUTPUT_TOKENS
    ttl_ms: int = TTL_MS
    other_calls: Literal["pass", "deny"] = "pass"


DEFAULT = Gateway()


def read(file: Path) -> Gateway:
    """Raises GatewayFault."""
    try:
        gateway = msgspec.convert(YAML(typ="safe").load(file.read_text()) or {}, Gateway)
        _require_sensible(gateway)
    except (OSError, UnicodeDecodeError) as error:
        raise GatewayFault(f"{file} cannot be read: {error}") from None
    except YAMLError as error:
        raise GatewayFault(f"{file} is not YAML: {error}") from None
    except (msgspec.ValidationError, ValueError) as error:
        raise GatewayFault(f"{file}: {error}") from None
    return gateway


def _require_sensible(gateway: Gateway) -> None:
    """Raises ValueError."""
    _require_id("organization", gateway.organization)
    _require(bool(gateway.subjects), "subjects: name at least one")
    for position, source in enumerate(gateway.subjects):
        if isinstance(source, Source):
            _require_source(f"subjects[{position}]", source)
    _require(len(gateway.tags) <= 16, "tags: at most 16")
    for tag, header in gateway.tags.items():
        _require(bool(_TAG.fullmatch(tag)), f"tags: {tag!r} is no name of a tag")
        _require_header(f"tags.{tag}", header)
    _require(0 <= gateway.min_output_tokens <= 1_000_000_000, "min_output_tokens must be 0–1,000,000,000")
    _require(5_000 <= gateway.ttl_ms <= 86_400_000, "ttl_ms must be 5,000–86,400,000")


def _require_source(place: str, source: Source) -> None:
    ways = [each for each in (source.jwt, source.certificates, source.headers) if each is not None]
    _require(len(ways) == 1, f"{place}: needs one of jwt, certificates and headers")
    if source.jwt is not None:
        claims = [getattr(source.jwt, part) for part in PARTS]
        _require(bool(source.jwt.metadata), f"{place}.jwt: metadata is the name that jwt_authn puts it under")
        _require(any(claims), f"{place}.jwt: needs a claim for one of {', '.join(PARTS)}")
    if source.certificates is not None:
        _require(bool(source.certificates), f"{place}.certificates: name at least one")
        for principal, who in source.certificates.items():
            _require_who(f"{place}.certificates.{principal}", who)
    if source.headers is not None:
        said = {part: header for part in PARTS if (header := getattr(source.headers, part))}
        _require(bool(said), f"{place}.headers: needs a header for one of {', '.join(PARTS)}")
        for part, header in said.items():
            _require_header(f"{place}.headers.{part}", header)


def _require_who(place: str, who: Who) -> None:
    said = {part: value for part in PARTS if (value := getattr(who, part))}
    _require(bool(said), f"{place}: says nobody")
    for part, value in said.items():
        _require_id(f"{place}.{part}", value)


def _require_id(place: str, value: str) -> None:
    _require(not value or bool(ID_PATTERN.fullmatch(value)), f"{place}: {value!r} is no id")


def _require_header(place: str, name: str) -> None:
    _require(bool(_HEADER.fullmatch(name)), f"{place}: {name!r} is no header, in lower case")
    _require(not name.startswith(_NEVER_TRUSTED), f"{place}: headers {_NEVER_TRUSTED}… are never trusted")


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
