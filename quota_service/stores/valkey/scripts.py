"""The Lua scripts, loaded once: each verb's file with the shared prelude behind its first line."""

from __future__ import annotations

import hashlib
from enum import IntEnum
from importlib import resources


class Code(IntEnum):
    """The first element of every reply; mirrors `CODE` in `scripts/_prelude.lua`."""

    OK = 1
    REPLAYED = 2
    REFUSED = 3
    DENIED = -1
    STALE = -2
    OUTSIDE = -3
    SWEEP = -4
    CONFLICT = -5
    ENDED = -6
    UNKNOWN = -7
    TOO_LARGE = -8
    PRICE_REFUSED = -9
    UNOPENED = -10


class Script:
    """One verb: its source and the hash that Valkey knows it by."""

    def __init__(self, verb: str) -> None:
        folder = resources.files("quota_service.stores.valkey") / "scripts"
        shebang, _, body = (folder / f"{verb}.lua").read_text().partition("\n")
        prelude = (folder / "_prelude.lua").read_text()
        self.verb = verb
        self.source = f"{shebang}\n{prelude}\n{body}"
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


AUTHORIZE = Script("authorize")
COMMIT = Script("commit")
RELEASE = Script("release")
EXTEND = Script("extend")
RECORD = Script("record")
INSPECT = Script("inspect")
GET = Script("get")
RESTORE = Script("restore")
SWEEP = Script("sweep")
PUBLISH = Script("publish")
ACKNOWLEDGE = Script("acknowledge")

ALL = (AUTHORIZE, COMMIT, RELEASE, EXTEND, RECORD, INSPECT, GET, RESTORE, SWEEP, PUBLISH, ACKNOWLEDGE)
