"""The Lua scripts, loaded once: each verb's file with the shared parts behind its first line."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
    SHORT = -11
    OUT_OF_RANGE = -12
    FENCED = -13
    FULL = -14
    FAILED = -15


SHARED = ("_prelude", "_kept", "_windows", "_gauges", "_holds", "_prices", "_admission")
TOGETHER = (*SHARED, "_together")
"""Files put in front of every verb, in an order in which each uses only those before it."""


class Script:
    """One verb: its source and the hash that Valkey knows it by."""

    def __init__(self, verb: str, *, shared: Sequence[str] = SHARED) -> None:
        """`shared`: what is put in front. Without `_prelude` nothing looks at the fence."""
        folder = resources.files("quota_service.stores.valkey") / "scripts"
        shebang, _, body = (folder / f"{verb}.lua").read_text().partition("\n")
        shared = "\n".join((folder / f"{name}.lua").read_text() for name in shared)
        self.verb = verb
        self.source = f"{shebang}\n{shared}\n{body}"
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


AUTHORIZE = Script("authorize", shared=TOGETHER)
COMMIT = Script("commit", shared=TOGETHER)
RELEASE = Script("release")
EXTEND = Script("extend")
RECORD = Script("record")
OPEN = Script("open")
INSPECT = Script("inspect")
GET = Script("get")
RESTORE = Script("restore")
SWEEP = Script("sweep")
PUBLISH = Script("publish")
ACKNOWLEDGE = Script("acknowledge")
ADJUST = Script("adjust")
REALLOCATE = Script("reallocate")
APPLY = Script("apply")
LEFT_BEHIND = Script("left_behind")
LOOK = Script("look")
FENCE = Script("fence", shared=())
DROP = Script("drop", shared=())
FORGET_WINDOWS = Script("forget_windows", shared=())
FORGET_COUNTED = Script("forget_counted", shared=("_kept",))
PEEK = Script("peek", shared=("_kept",))

ALONE = (FENCE, DROP, FORGET_WINDOWS, FORGET_COUNTED, PEEK)
"""Scripts that do not look at the fence: for whoever makes an organization's keys anew, or only looks."""

ALL = (
    AUTHORIZE,
    COMMIT,
    RELEASE,
    EXTEND,
    RECORD,
    OPEN,
    INSPECT,
    GET,
    RESTORE,
    SWEEP,
    PUBLISH,
    ACKNOWLEDGE,
    ADJUST,
    REALLOCATE,
    APPLY,
    LEFT_BEHIND,
    LOOK,
    *ALONE,
)
