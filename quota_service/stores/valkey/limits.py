"""Changes of windows' limits: each command is one run of one script."""

from __future__ import annotations

from typing import Any, cast

from quota_service.domain.amounts import NOTHING
from quota_service.domain.ledger import LimitChange, hold_of_changes
from quota_service.domain.limit_changes import (
    Adjust,
    AdjustAnswer,
    Changed,
    OutOfRange,
    Reallocate,
    ReallocateAnswer,
    Short,
)
from quota_service.domain.terms import Term
from quota_service.stores import hold_documents
from quota_service.stores.valkey import codec, replies, scripts, terms
from quota_service.stores.valkey.codec import Body
from quota_service.stores.valkey.events import REMEMBER_MS
from quota_service.stores.valkey.runner import Runner
from quota_service.stores.valkey.scripts import Code, Script


class ValkeyLimitStore:
    """Implements `LimitStore`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._keys = runner.keys

    async def adjust(self, command: Adjust) -> AdjustAnswer:
        change = LimitChange(command.term.window, added=command.amounts)
        return cast(AdjustAnswer, await self._change(scripts.ADJUST, command, (command.term,), (change,)))

    async def reallocate(self, command: Reallocate) -> ReallocateAnswer:
        source, destination = command.source, command.destination
        changes = (
            LimitChange(source.window, moved=NOTHING.minus(command.amounts)),
            LimitChange(destination.window, moved=command.amounts),
        )
        return await self._change(scripts.REALLOCATE, command, (source, destination), changes)

    async def claim(self, organization: str, key: str, content_hash: str) -> bool:
        marker = self._keys.record(organization, key)
        known = await self._runner.connection.call(
            "SET", marker, content_hash, "NX", "GET", "PX", REMEMBER_MS
        )
        return known is None or known.decode() == content_hash

    async def _change(
        self,
        script: Script,
        command: Adjust | Reallocate,
        changed: tuple[Term, ...],
        changes: tuple[LimitChange, ...],
    ) -> ReallocateAnswer:
        organization = command.basis.organization
        hold = hold_of_changes(organization, changes)
        body = Body(
            key=command.key,
            content_hash=command.content_hash,
            reason=command.reason,
            actor=command.actor,
            changes=changes,
        )
        windows = [term.window for term in changed]
        keys = (
            self._keys.record(organization, command.key),
            *(self._keys.window(organization, window) for window in windows),
            *(self._keys.values(organization, window) for window in windows),
        )
        arguments = (
            *replies.basis(command.basis),
            command.content_hash,
            codec.pack(command.amounts),
            terms.encode_places((term.window, term.keeping) for term in changed),
            codec.pack([terms.encode_limits(term.limits) for term in changed]),
            hold_documents.encode_document(hold),
            hold_documents.encode_live(hold),
            codec.encode_body(body),
        )
        reply = await self._runner.run(organization, script, keys, arguments)
        if reply[0] != Code.OK:
            return _refusal(reply)
        event = replies.event(reply[2:5], hold, body)
        return Changed(now_ms=reply[1], counters=replies.counters(reply[5:]), event=event)


def _refusal(reply: list[Any]) -> ReallocateAnswer:
    code, now_ms, *windows = reply
    match code:
        case Code.REPLAYED:
            return Changed(now_ms=now_ms, replayed=True)
        case Code.SHORT:
            return Short(now_ms=now_ms, counters=replies.counters(windows))
        case Code.OUT_OF_RANGE:
            return OutOfRange(now_ms=now_ms, counters=replies.counters(windows))
        case _:
            return cast(ReallocateAnswer, replies.refusal(reply))
