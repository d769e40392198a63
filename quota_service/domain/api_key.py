"""API keys: whose they are, until when they are good, and what is known of their secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

SECRET_PREFIX = "qk_"
"""What every secret begins with, so that people and scanners of source code recognize one."""

SECRET_PATTERN = re.compile(SECRET_PREFIX + "[0-9A-Za-z]{43}", re.ASCII)
START_LENGTH = len(SECRET_PREFIX) + 8
"""What is kept of a secret in the clear: enough to find it by, and 208 bits are left to guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySecret:
    """What is kept of a secret: its start, and a digest (hex) that only whoever has the pepper of that name
    can make. `end_ms`: when it ends by itself; `None`: with its key.
    """

    start: str
    digest: str
    pepper: str
    create_ms: int
    end_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """Belongs to a user or to a team: exactly one of both is set. `secrets`: the current one first."""

    id: str
    display_name: str = ""
    user: str = ""
    team: str = ""
    disabled: bool = False
    end_ms: int | None = None
    revoke_ms: int | None = None
    secrets: tuple[KeySecret, ...] = ()

    def has_ended(self, now_ms: int) -> bool:
        return self.end_ms is not None and now_ms >= self.end_ms

    def end_of(self, secret: KeySecret) -> int | None:
        """Until when one of its secrets is good; `None`: no end is known."""
        ends = [end_ms for end_ms in (self.end_ms, secret.end_ms) if end_ms is not None]
        return min(ends, default=None)


def rotated(key: ApiKey, secret: KeySecret, now_ms: int, grace_ms: int) -> ApiKey:
    """With another secret: the one before stays for the grace time, and none that had been left before it."""
    before = tuple(replace(each, end_ms=now_ms + grace_ms) for each in key.secrets[:1] if grace_ms)
    return replace(key, secrets=(secret, *before))
