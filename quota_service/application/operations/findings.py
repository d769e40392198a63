"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How bad it is. The numbers are the contract's."""

    OK = 1
    WARNING = 2
    FAILURE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found, and what to do about it. `organization` "": it is about all."""

    check: str
    level: Level
    found: str
    advice: str = ""
    organization: str = ""


def fine(check: str, found: str) -> Finding:
    return Finding(check=check, level=Level.OK, found=found)


def warning(check: str, found: str, advice: str, organization: str = "") -> Finding:
    return Finding(check=check, level=Level.WARNING, found=found, advice=advice, organization=organization)


def failure(check: str, found: str, advice: str, organization: str = "") -> Finding:
    return Finding(check=check, level=Level.FAILURE, found=found, advice=advice, organization=organization)
