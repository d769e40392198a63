"""The file of callers: who they are, by what they are known, what they may do. Read again when it changes."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from quota_service.domain.caller import EVERY_ORGANIZATION, Caller, Role
from quota_service.domain.subject import ID_PATTERN

if TYPE_CHECKING:
    from quota_service.edge.access.tokens import Issuer, KeySource

LOOK_S = 1.0
"""How often the file is looked at."""

_OF_TEAMS = (Role.TEAM_LEAD, Role.VIEWER)
"""Roles that can be bound to teams."""

_SHA256 = re.compile("[0-9a-f]{64}")

log = structlog.get_logger(__name__)


class CallersFault(Exception):
    """The file cannot be used. The text says why, and where."""


class _Jwt(msgspec.Struct, forbid_unknown_fields=True):
    issuer: str
    claims: dict[str, str]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    role: Role
    organization: str
    teams: str | list[str] | None = None
    user: str | None = None
    user_claim: str | None = None
    token_sha256: str | list[str] = []
    san: str | list[str] = []
    jwt: _Jwt | None = None


class _Issuer(msgspec.Struct, forbid_unknown_fields=True):
    issuer: str
    audience: str
    jwks: str
    algorithms: list[str]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    callers: dict[str, _Entry]
    issuers: list[_Issuer] = []


class Claimed(NamedTuple):
    """A caller that is known by what a token of an issuer says. `user_claim`: where it says which user of the
    directory it is; "": nobody asks.
    """

    caller: Caller
    issuer: str
    claims: Mapping[str, str]
    user_claim: str = ""

    def said_by(self, issuer: str, claims: Mapping[str, object]) -> Caller | None:
        """The caller, if a token with these claims is its."""
        if issuer != self.issuer or not all(_has(claims, *each) for each in self.claims.items()):
            return None
        if not self.user_claim:
            return self.caller
        user = claims.get(self.user_claim)
        # Whoever is no user is nobody here: without a user a caller would see the whole organization.
        if not (isinstance(user, str) and ID_PATTERN.fullmatch(user)):
            return None
        return self.caller._replace(user=user)


class Known(NamedTuple):
    """Callers by the SHA-256 (hex) of their token, by a name of their certificate, and by claims."""

    by_token: Mapping[str, Caller]
    by_san: Mapping[str, Caller]
    by_claims: Sequence[Claimed] = ()
    issuers: Mapping[str, Issuer] = {}


class Callers:
    """The callers of a file, as it is now. A file that has become unusable changes nothing, and is logged.

    Raises CallersFault at the beginning.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._look()
        self._sources: dict[str, KeySource] = {}  # stay when the file is read again
        self._known = read(file, self._source)
        for source in self._sources.values():
            source.wait()
        self._looked_s = time.monotonic()

    def known(self) -> Known:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._read_again()
        return self._known

    def _read_again(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._known = read(self._file, self._source)
            log.info("callers were read again", file=str(self._file))
        except CallersFault as fault:
            log.error("callers stay as they were", fault=str(fault))

    def _source(self, source: str) -> KeySource:
        from quota_service.edge.access.tokens import KeySource

        if source not in self._sources:
            self._sources[source] = KeySource(source)
            self._sources[source].fetch()
        return self._sources[source]

    def _look(self) -> tuple[int, int, int]:
        try:
            found = self._file.stat()
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_size, found.st_ino


def _has(claims: Mapping[str, object], name: str, value: str) -> bool:
    said = claims.get(name)
    return value == said or (isinstance(said, list) and value in said)


def token_hash(token: str) -> str:
    """As the file has it."""
    return hashlib.sha256(token.encode()).hexdigest()


def read(file: Path, source: Callable[[str], KeySource] | None = None) -> Known:
    """The callers of a file. `source`: the keys of an issuer. Raises CallersFault."""
    try:
        found = msgspec.convert(YAML(typ="safe").load(file.read_text()), _File)
    except (OSError, UnicodeDecodeError) as error:
        raise CallersFault(f"{file} cannot be read: {error}") from None
    except YAMLError as error:
        raise CallersFault(f"{file} is not YAML: {error}") from None
    except msgspec.ValidationError as error:
        raise CallersFault(f"{file}: {error}") from None
    try:
        return _known(found, source)
    except ValueError as error:
        raise CallersFault(f"{file}: {error}") from None


def _known(found: _File, source: Callable[[str], KeySource] | None) -> Known:
    """Raises ValueError."""
    issuers: dict[str, Issuer] = {}
    for each in found.issuers:
        _require(each.issuer not in issuers, f"issuers, {each.issuer!r}: stands here twice")
        issuers[each.issuer] = _issuer(each, source)
    known = Known({}, {}, [], issuers)
    for name, entry in found.callers.items():
        try:
            _add(known, name, entry)
        except ValueError as error:
            raise ValueError(f"callers.{name}: {error}") from None
    return known


def _issuer(each: _Issuer, source: Callable[[str], KeySource] | None) -> Issuer:
    # Here, because it takes 0.15 s that who has no issuers need not wait for.
    from quota_service.edge.access.tokens import ALGORITHMS, Issuer, KeySource, is_source

    place = f"issuers, {each.issuer!r}"
    _require(bool(each.issuer and each.audience), f"{place}: needs an issuer and an audience")
    _require(is_source(each.jwks), f"{place}: jwks must be a file or an https URL")
    wrong = [name for name in each.algorithms if name not in ALGORITHMS]
    allowed = ", ".join(sorted(ALGORITHMS))
    _require(bool(each.algorithms) and not wrong, f"{place}: algorithms must be some of {allowed}")
    return Issuer(each.issuer, each.audience, (source or KeySource)(each.jwks), each.algorithms)


def _add(known: Any, name: str, entry: _Entry) -> None:
    own = entry.organization
    _require(bool(ID_PATTERN.fullmatch(name)), "is no id")
    is_own = own == EVERY_ORGANIZATION or bool(ID_PATTERN.fullmatch(own))
    _require(is_own, f"{own!r} is no organization's id")
    caller, hashes, sans = _caller(name, entry), _list(entry.token_sha256), _list(entry.san)
    ways = [bool(hashes), bool(sans), entry.jwt is not None]
    _require(sum(ways) == 1, "needs one of token_sha256, san and jwt")
    for each in hashes:
        _require(bool(_SHA256.fullmatch(each)), "token_sha256 must be 64 hex digits")
    for each, others in (*((h, known.by_token) for h in hashes), *((s, known.by_san) for s in sans)):
        _require(bool(each) and each not in others, "has a credential that another caller has")
        others[each] = caller
    if entry.jwt is not None:
        issuer, claims = entry.jwt.issuer, entry.jwt.claims
        _require(issuer in known.issuers, f"there is no issuer {issuer!r}")
        _require(bool(claims), "needs claims that tell it from others of its issuer")
        known.by_claims.append(Claimed(caller, issuer, claims, entry.user_claim or ""))


def _caller(name: str, entry: _Entry) -> Caller:
    """With the teams that it is bound to, where it is to any. Raises ValueError."""
    told = [each for each in (entry.teams, entry.user, entry.user_claim) if each is not None]
    _require(len(told) < 2, "needs one of teams, user and user_claim, not several")
    if not told:
        _require(entry.role is not Role.TEAM_LEAD, "a team_lead needs teams, user or user_claim: whose it is")
        return Caller(name, entry.role, entry.organization)
    _require(
        entry.role in _OF_TEAMS, f"is bound to teams, but what role {entry.role} may do is the organization's"
    )
    _require(entry.organization != EVERY_ORGANIZATION, "is bound to teams, so name their organization")
    _require(
        entry.user_claim is None or entry.jwt is not None, "user_claim is one of a token's claims: needs jwt"
    )
    teams = _list(entry.teams or [])
    for each in (*teams, entry.user):
        _require(each is None or bool(ID_PATTERN.fullmatch(each)), f"{each!r} is no team's or user's id")
    _require(bool(teams or entry.user or entry.user_claim), "is bound to teams, but names none")
    return Caller(name, entry.role, entry.organization, tuple(sorted(set(teams))), entry.user or "")


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise ValueError(fault)
