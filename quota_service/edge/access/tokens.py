"""JSON Web Tokens: verified with the keys of those who issue them, which are fetched beside the calls."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import structlog

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures that only the issuer can make. Never HS256 and the like, whose key whoever verifies has too, and
never none.
"""

LEEWAY_S = 30
FETCH_EVERY_S = 60.0
FETCH_PAUSE_S = 5.0
"""At least so long between two fetches: tokens with made-up keys, which anybody can send, cause no more."""

FETCH_TIMEOUT_S = 5.0
KEYS_BYTES_MAX = 1024 * 1024

log = structlog.get_logger(__name__)


class TokenFault(Exception):
    """A token is not good. The text is for the log, not for whoever sent it."""


class KeySource:
    """The public keys of an issuer, from a file or a URL. Those that were read last stay, where a later
    reading fails.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._begun_s: float | None = None
        self._work: threading.Thread | None = None

    def keys(self) -> Mapping[str, jwt.PyJWK]:
        """By their ids, "None" for one without; fetches them anew, beside this call, where it is time to."""
        self.fetch(FETCH_EVERY_S)
        return self._keys

    def fetch(self, pause_s: float = 0) -> None:
        """Begins to fetch them, unless that is under way or was begun less than `pause_s` ago."""
        now_s = time.monotonic()
        is_free = self._work is None or not self._work.is_alive()
        if is_free and (self._begun_s is None or now_s - self._begun_s >= pause_s):
            self._begun_s = now_s
            self._work = threading.Thread(target=self._fetch, name="jwks", daemon=True)
            self._work.start()

    def wait(self) -> None:
        """For what is under way."""
        if self._work is not None:
            self._work.join(2 * FETCH_TIMEOUT_S)

    def _fetch(self) -> None:
        try:
            self._keys = parsed(_content(self.source))
        except Exception as error:  # whatever it is: those that are known stay
            log.error("keys of an issuer cannot be read", source=self.source, error=type(error).__name__)


def parsed(content: bytes) -> Mapping[str, jwt.PyJWK]:
    """The public keys of a JWKS that may verify signatures. Raises ValueError."""
    found = {}
    for each in json.loads(content)["keys"]:
        if each.get("kty") == "oct" or each.get("use", "sig") != "sig":
            continue
        try:
            found[str(each.get("kid"))] = jwt.PyJWK(each)
        except jwt.PyJWTError:
            continue  # of a kind that is not known here
    if not found:
        raise ValueError("there is no key that verifies signatures")
    return found


def _content(source: str) -> bytes:
    if "://" not in source:
        return Path(source).read_bytes()
    with urllib.request.urlopen(source, timeout=FETCH_TIMEOUT_S) as answer:
        content: bytes = answer.read(KEYS_BYTES_MAX)
    return content


def is_source(source: str) -> bool:
    """Whether keys may come from there: a file, or a URL that nobody on the way can change."""
    if "://" not in source:
        return bool(source)
    parts = urlsplit(source)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    )


class Issuer:
    """One who issues tokens."""

    def __init__(self, issuer: str, audience: str, keys: KeySource, algorithms: Sequence[str]) -> None:
        self.issuer = issuer
        self._audience = audience
        self._keys = keys
        self._algorithms = tuple(algorithms)

    def claims(self, token: str, header: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a token of this issuer says. Raises TokenFault."""
        key = self._key(header)
        try:
            found: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[each for each in self._algorithms if _is_for(key, each)],
                audience=self._audience,
                issuer=self.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except Exception as error:  # whatever a stranger makes of it
            raise TokenFault(f"{type(error).__name__}: {error}") from None
        return found

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        """The one that a token names; where it names none, the only one there is. Raises TokenFault."""
        keys, named = self._keys.keys(), header.get("kid")
        only = next(iter(keys.values())) if named is None and len(keys) == 1 else None
        key = only or keys.get(str(named))
        if key is None:
            self._keys.fetch(FETCH_PAUSE_S)  # it may be new; whoever sent it tries again
            raise TokenFault("the key is not known")
        return key


def _is_for(key: jwt.PyJWK, algorithm: str) -> bool:
    """Whether a key is of the kind that an algorithm takes: none is tried with another's."""
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
    return kinds[algorithm[:2]] == key.key_type


def unverified(token: str) -> tuple[Mapping[str, Any], str]:
    """The header of a token, and who is said to have issued it. Raises TokenFault."""
    try:
        header = jwt.get_unverified_header(token)
        said = jwt.decode(token, options={"verify_signature": False}).get("iss")
    except Exception as error:  # whatever a stranger makes of it
        raise TokenFault(f"{type(error).__name__}: {error}") from None
    return header, said if isinstance(said, str) else ""
