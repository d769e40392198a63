"""Who calls the service: gateways, and people with a role. Not who spends."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

EVERY_ORGANIZATION = "*"

TOKEN_PREFIX = "qt_"
"""What every token made here begins with, so that it is recognized where none should be."""

TOKEN_PATTERN = re.compile(TOKEN_PREFIX + "[0-9A-Za-z_-]{43}", re.ASCII)


class Role(StrEnum):
    """What a caller may do, in the organization that it is bound to."""

    GATEWAY = "gateway"
    VIEWER = "viewer"
    TEAM_LEAD = "team_lead"
    FINANCE = "finance"
    ADMIN = "admin"


class Caller(NamedTuple):
    """`organization`: the only one that the caller knows of; `*`: every one, and what has none.

    `teams`, or `user` for the teams that this user leads: all that the caller sees there; without both
    everything.
    """

    name: str
    role: Role
    organization: str
    teams: tuple[str, ...] = ()
    user: str = ""

    @property
    def is_bound(self) -> bool:
        return self.organization != EVERY_ORGANIZATION

    @property
    def is_of_teams(self) -> bool:
        return bool(self.teams or self.user)
