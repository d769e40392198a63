"""The file of callers: who they are, by what they are known, what they may do. Read again when it changes."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from quota_service.domain.caller import EVERY_ORGANIZATION, Caller, Role
from quota_service.domain.subject import ID_PATTERN

LOOK_S = 1.0
"""How often the file is looked at."""

_SHA256 = re.compile("[0-9a-f]{64}")

log = structlog.get_logger(__name__)


class CallersFault(Exception):
    """The file cannot be used. The text says why, and where."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    role: Role
    organization: str
    token_sha256: str | list[str] = []
    san: str | list[str] = []


class _File(msgspec.Struct, forbid_unknown_fields=True):
    callers: dict[str, _Entry]


class Known(NamedTuple):
    """Callers by the SHA-256 (hex) of their token, and by a name of their certificate."""

    by_token: Mapping[str, Caller]
    by_san: Mapping[str, Caller]


class Callers:
    """The callers of a file, as it is now. A file that has become unusable changes nothing, and is logged.

    Raises CallersFault at the beginning.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._look()
        self._known = read(file)
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
            self._known = read(self._file)
            log.info("callers were read again", file=str(self._file))
        except CallersFault as fault:
            log.error("callers stay as they were", fault=str(fault))

    def _look(self) -> tuple[int, int, int]:
        try:
            found = self._file.stat()
        except OSError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_size, found.st_ino


def token_hash(token: str) -> str:
    """As the file has it."""
    return hashlib.sha256(token.encode()).hexdigest()


def read(file: Path) -> Known:
    """The callers of a file. Raises CallersFault."""
    try:
        document = YAML(typ="safe").load(file.read_text())
        entries = msgspec.convert(document, _File).callers
    except (OSError, UnicodeDecodeError) as error:
        raise CallersFault(f"{file} cannot be read: {error}") from None
    except YAMLError as error:
        raise CallersFault(f"{file} is not YAML: {error}") from None
    except msgspec.ValidationError as error:
        raise CallersFault(f"{file}: {error}") from None
    by_token: dict[str, Caller] = {}
    by_san: dict[str, Caller] = {}
    for name, entry in entries.items():
        _require(bool(ID_PATTERN.fullmatch(name)), file, name, "is no id")
        own = entry.organization
        _require(
            own == EVERY_ORGANIZATION or bool(ID_PATTERN.fullmatch(own)),
            file,
            name,
            f"{own!r} is no organization's id",
        )
        hashes, sans = _list(entry.token_sha256), _list(entry.san)
        _require(bool(hashes) != bool(sans), file, name, "needs a token_sha256 or a san, and not both")
        for each in hashes:
            _require(bool(_SHA256.fullmatch(each)), file, name, "token_sha256 must be 64 hex digits")
        for each, known in (*((h, by_token) for h in hashes), *((s, by_san) for s in sans)):
            _require(bool(each) and each not in known, file, name, "has a credential that another caller has")
            known[each] = Caller(name, entry.role, own)
    return Known(by_token, by_san)


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _require(holds: bool, file: Path, name: str, fault: str) -> None:
    if not holds:
        raise CallersFault(f"{file}: callers.{name}: {fault}")
